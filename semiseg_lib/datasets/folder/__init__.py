"""Your own images: a folder with some masks, some boxes, and images with neither.

::

    classes.txt         one class per line; the first is the background, id 0
    images/NAME.jpg     all images, in any usual format
    masks/NAME.png      ids as pixel values, 255 = void; only for annotated images
    boxes/NAME.xml      VOC's XML, 1-based; or boxes.json / annotations.json in COCO's format
    labelled.txt unlabelled.txt val.txt test.txt                 lists of names, each optional
"""

from __future__ import annotations

from collections.abc import Sequence
from os.path import lexists
from pathlib import Path

from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.audit import Entry, Finding, Layout, NamedBoxes, Rules
from semiseg_lib.datasets.dataset import Dataset, Request
from semiseg_lib.datasets.devkit.annotation import read_annotation
from semiseg_lib.datasets.files import ReaderSource
from semiseg_lib.datasets.lists import read_published_list

from .lists import LISTS, folder_lists
from .reader import Contents, FolderDataset, read_classes, scan_folder

__all__ = [
    "DATASET",
    "LISTS",
    "Contents",
    "FolderDataset",
    "FolderSource",
    "audit_folder",
    "folder_lists",
    "open_folder",
    "read_classes",
    "scan_folder",
]


class FolderSource(ReaderSource):
    """Source of your own folder; its lists and boxes are those when it was opened.

    Args:
        root: the folder.
        keep: the classes to use; empty for all.
        seed: samples the lists that the folder does not have.
    """

    def __init__(self, root: Path, keep: Sequence[str], seed: int) -> None:
        self._lists, self._keep = folder_lists(root, seed), tuple(keep) or None
        contents = scan_folder(root)
        first, *objects = contents.classes
        # Box maps need the background as class 0; without it, or without boxes, none are read.
        has_background = not keep or keep[0] == first
        self._with_boxes = contents.boxes.names if has_background else set()
        boxed = objects if self._with_boxes else ()
        super().__init__(root, contents.classes, keep, boxed, self._reader)

    def names(self, which: str) -> Sequence[str]:
        """Return the image names of a list; the labelled ones are the candidates."""
        return self._lists[{"candidates": "labelled", "hidden": "unlabelled"}.get(which, which)]

    def has_boxes(self, name: str) -> bool:
        """Return whether the box files list the image."""
        return name in self._with_boxes

    def _reader(self, which: str, masks: bool, boxes: bool) -> FolderDataset:
        # Not self.classes: a reader names what classes.txt lists now, and a difference is refused.
        return FolderDataset(self.folder, self.names(which), self._keep, masks, boxes)


def open_folder(request: Request, folder: Path, seed: int) -> FolderSource:
    """Return the source of a folder; ``seed`` samples the lists that it does not have.

    Raises:
        FileNotFoundError: the folder, its images or its classes are missing.
        ValueError: the folder is invalid; see :func:`folder_lists`.
    """
    return FolderSource(folder, request.keep, seed)


def audit_folder(folder: Path, lists: Sequence[Path]) -> Layout:
    """Return the layout to audit; errors of the reader become findings."""
    title, findings = f"Own images in {shown(folder)}", []
    try:
        contents = scan_folder(folder)
    except ValueError as error:
        return Layout(title, {}, (Finding("FAIL", "folder", str(error)),))
    try:
        names = dict(folder_lists(folder, seed=0))
        sampled = [name for name in ("val", "test") if not lexists(folder / f"{name}.txt")]
        if sampled:
            findings.append(Finding(
                "NOTE", ", ".join(sampled), "sampled by the seed of each run; here by seed 0",
                hint=f"Write {'.txt and '.join(sampled)}.txt to always use the same images.",
            ))
    except ValueError as error:
        findings.append(Finding("FAIL", "lists", str(error)))
        names = {"all images": tuple(contents.images)}
    names |= {Path(path).stem: read_published_list(Path(path)) for path in lists}
    rules = Rules(
        ids=dict(enumerate(contents.classes)), box_classes=frozenset(contents.classes[1:]),
        read_boxes=lambda entry: _named_boxes(entry, contents),
    )
    found = {
        where: tuple(_entry(name, rules, contents) for name in members)
        for where, members in names.items() if members
    }
    return Layout(title, found, tuple(findings))


def _entry(name: str, rules: Rules, contents: Contents) -> Entry:
    image = contents.images.get(name, contents.root / "images" / f"{name}.jpg")
    coco = contents.boxes.file if name in contents.boxes.coco else None
    return Entry(name, rules, image, contents.masks.get(name), contents.boxes.xml.get(name, coco))


def _named_boxes(entry: Entry, contents: Contents) -> NamedBoxes:
    """Return boxes in VOC's convention: 1-based, both ends included."""
    if entry.name in contents.boxes.xml:
        return read_annotation(entry.boxes)
    drawn, _ = contents.boxes.coco[entry.name]
    return [(label, (x0 + 1, y0 + 1, x1, y1)) for label, (x0, y0, x1, y1) in drawn]


DATASET = Dataset(
    name="folder",
    title="your own images",
    open=open_folder,
    licence="yours.",
    audit=audit_folder,
)
