"""PASCAL VOC's folder layout, shared by VOC and mini-VOC: reader, source, audit.

::

    VOC2012/JPEGImages/NAME.jpg             the images
            SegmentationClass/NAME.png      masks of class ids, 255 = void
            SegmentationClassAug/NAME.png   ground truth of unlabelled images, for evaluation only
            Annotations/NAME.xml            boxes
            ImageSets/Segmentation/SET.txt  lists of names
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.audit import Entry, Finding, Layout, Rules
from semiseg_lib.datasets.devkit.annotation import boxes_of, half_open, read_annotation
from semiseg_lib.datasets.files import FileReader, ReaderSource
from semiseg_lib.datasets.labels import voc_palette
from semiseg_lib.datasets.lists import check_no_duplicates, read_lines, read_published_list
from semiseg_lib.datasets.sample import Boxes

MASKS, HIDDEN_MASKS = "SegmentationClass", "SegmentationClassAug"
PALETTE = np.reshape(voc_palette(), (256, 3)).astype(np.uint8)
"""VOC's colours, uint8 ``(256, 3)``."""


class VOCDataset(FileReader):
    """The images that one list of a VOC folder names, as :class:`Sample`.

    Args:
        folder: the year's folder, such as ``VOCdevkit/VOC2012``.
        image_set: a list in ``ImageSets/Segmentation``, without ``.txt``.
        classes: names in the order of the ids in the masks; the first is the background.
        keep: the classes to use (background included), None for all.
        masks: the folder to read masks from; None to read none.
        boxes: read ``Annotations`` too.

    Raises:
        FileNotFoundError: the list is missing.
        ValueError: the list is empty or names an image twice, or ``keep`` an unknown class;
            or, with boxes, it does not start with the background.
    """

    def __init__(
        self, folder: Path, image_set: str, classes: Sequence[str],
        keep: Sequence[str] | None = None, masks: str | None = MASKS, boxes: bool = True,
    ) -> None:
        self.folder = Path(folder).expanduser()
        names = read_list(_list_path(self.folder, image_set))
        super().__init__(names, classes, keep, masks, boxes, self.folder, classes[1:])

    @property
    def decoding(self) -> str:
        """Return the classes in the order of the ids in the masks."""
        return " ".join(self.file_classes)

    def image_path(self, name: str) -> Path:
        """Return the file of an image."""
        return self.folder / "JPEGImages" / f"{name}.jpg"

    def mask_path(self, name: str) -> Path:
        """Return the file of its mask."""
        return self.folder / self.masks / f"{name}.png"

    def boxes_content(self, name: str) -> Path:
        """Return the file of its boxes."""
        return self.folder / "Annotations" / f"{name}.xml"

    def read_boxes(self, name: str, image: np.ndarray) -> Boxes:
        """Return its boxes."""
        path = self.boxes_content(name)
        drawn = [(label, half_open(box, image.shape[1:], path))
                 for label, box in read_annotation(path)]
        return boxes_of(drawn, self.file_classes, path, name)


def voc_source(
    folder: Path, file_classes: Sequence[str], keep: Sequence[str], lists: Mapping[str, str],
    masks: Mapping[str, str], reader_type: type[VOCDataset] = VOCDataset,
) -> ReaderSource:
    """Return the source of a folder in VOC's layout.

    Args:
        folder: the year's folder.
        file_classes: all classes, in the order of the ids in the masks.
        keep: the classes to use; empty for all.
        lists: {list: its file, without ``.txt``}.
        masks: {list: folder of its masks}, if not ``SegmentationClass``.
        reader_type: the class of the readers.
    """
    def reader(which: str, with_masks: bool, boxes: bool) -> VOCDataset:
        where = masks.get(which, MASKS) if with_masks else None
        return reader_type(folder, lists[which], file_classes, keep, where, boxes)

    return ReaderSource(folder, file_classes, keep, file_classes[1:], reader)


def _list_path(folder: Path, image_set: str) -> Path:
    return folder / "ImageSets" / "Segmentation" / f"{image_set}.txt"


def read_list(path: Path) -> list[str]:
    """Return the image names of a list, one per line.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is empty or names an image twice.
    """
    there = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt")))
    lines = read_lines(path, f"Name a list that is there: {there or 'none'}.")
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise ValueError(f"the list {shown(path)} is empty. Write one image name per line.")
    check_no_duplicates(names, f"the list {shown(path)}")
    return names


def voc_layout(folder: Path, classes: Sequence[str], lists: Sequence[Path] = ()) -> Layout:
    """Return the layout to audit, with each mask from the folder intended for its list.

    Args:
        folder: a VOC2012 folder.
        classes: names, background first.
        lists: lists to audit beside the folder's own, files of image names.

    Raises:
        FileNotFoundError: the folder has no lists, or one of ``lists`` is missing.
    """
    folder = Path(folder).expanduser()
    rules = Rules(
        ids=dict(enumerate(classes)), palette=PALETTE,
        read_boxes=lambda entry: read_annotation(entry.boxes),
        box_classes=frozenset(classes[1:]),
    )
    found, findings = {}, []
    own = sorted((folder / "ImageSets" / "Segmentation").glob("*.txt"))
    for path in [*own, *map(Path, lists)]:
        try:
            names = read_list(path) if path in own else read_published_list(path)
        except ValueError as error:
            findings.append(Finding("FAIL", path.stem, str(error)))
            continue
        masks = _mask_folders(folder, path.stem)
        entries = tuple(_voc_entry(folder, name, masks, rules) for name in names)
        found[path.stem], findings = entries, findings + _other_folders(path.stem, entries, masks)
    if not found and not findings:
        raise FileNotFoundError(
            f"{shown(folder)} has no lists. Write one image name per line into "
            "ImageSets/Segmentation/train.txt and val.txt."
        )
    return Layout(f"VOC layout in {shown(folder)}", found, tuple(findings))


def _mask_folders(folder: Path, image_set: str) -> list[str]:
    """Return the existing mask folders, SBD's first for its lists, else the official first."""
    order = [MASKS, HIDDEN_MASKS]
    augmented = any(word in image_set for word in ("aug", "sbd", "unlabel"))
    order = order[::-1] if augmented else order
    return [name for name in order if (folder / name).is_dir()] or order[:1]


def _voc_entry(folder: Path, name: str, mask_folders: Sequence[str], rules: Rules) -> Entry:
    masks = [folder / one / f"{name}.png" for one in mask_folders]
    mask = next((path for path in masks if path.is_file()), masks[0])
    boxes = folder / "Annotations" / f"{name}.xml"
    return Entry(name, rules, folder / "JPEGImages" / f"{name}.jpg", mask, boxes)


def _other_folders(
    name: str, entries: Sequence[Entry], mask_folders: Sequence[str]
) -> list[Finding]:
    files = [e.mask for e in entries if e.mask.is_file() and e.mask.parent.name != mask_folders[0]]
    if not files:
        return []
    return [Finding(
        "NOTE", name, f"{len(files)} masks lie in {visible(files[0].parent.name)}, the others in "
        f"{mask_folders[0]}", (shown(files[0]),),
        f"Copy them to {mask_folders[0]} to read all masks of this list.",
    )]
