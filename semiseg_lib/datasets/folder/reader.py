"""The reader of your own folder: each image with its available labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import lexists
from pathlib import Path

import numpy as np

from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.files import FileReader
from semiseg_lib.datasets.labels import VOID, LabelError, decoding, present_ids
from semiseg_lib.datasets.lists import (
    IMAGE_SUFFIXES,
    can_be_listed,
    check_known,
    check_no_duplicates,
    read_lines,
)
from semiseg_lib.datasets.sample import Boxes

from .boxes import FolderBoxes, find_boxes

_IGNORED = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Contents:
    """The contents of your own folder.

    Attributes:
        root: the folder.
        classes: C names, the background first.
        images, masks: {name: file}, sorted by name.
        boxes: the boxes.
    """

    root: Path
    classes: tuple[str, ...]
    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    boxes: FolderBoxes


class FolderDataset(FileReader):
    """Images of a folder as :class:`Sample`, each with its available labels.

    Args:
        root: the folder.
        names: image names; None for all.
        keep: the classes to use, background first; None for all. Others become void.
        masks: read the available masks.
        boxes: read the available boxes. An image that the COCO file lists, or that has an XML,
            counts as annotated: without objects it has zero boxes instead of None.

    Raises:
        FileNotFoundError, ValueError, LabelError: see :func:`scan_folder`; or a name is unknown.
    """

    def __init__(
        self, root: Path, names: Sequence[str] | None = None, keep: Sequence[str] | None = None,
        masks: bool = True, boxes: bool = True,
    ) -> None:
        self.contents = contents = scan_folder(root)
        names = list(contents.images if names is None else names)
        check_known(names, contents.images, "the choice", contents.root / "images")
        super().__init__(
            names, contents.classes, keep, masks, boxes, contents.root, contents.classes[1:]
        )

    @property
    def decoding(self) -> str:
        """Return the classes of ``classes.txt`` when the folder was opened."""
        return "\n".join(self.file_classes)

    def image_path(self, name: str) -> Path:
        """Return the file of an image."""
        return self.contents.images[name]

    def mask_path(self, name: str) -> Path | None:
        """Return the file of its mask, if any."""
        return self.contents.masks.get(name)

    def read_mask(self, path: Path) -> np.ndarray:
        """Return a mask; raise LabelError if it holds 255, void, where 1 is meant."""
        mask = super().read_mask(path)
        if len(self.file_classes) == 2 and present_ids(mask) == {0, VOID}:
            raise LabelError(
                f"{shown(path)} holds only 0 and {VOID}, and {VOID} means void. If white is "
                f"{visible(self.file_classes[1])}, save it as 1; if it is void, leave the mask "
                "out, it shows only background."
            )
        return mask

    def boxes_content(self, name: str) -> Path | str | None:
        """Return the XML of its boxes, or their SHA-256 in the COCO file, if any."""
        return self.contents.boxes.content(name)

    def read_boxes(self, name: str, image: np.ndarray) -> Boxes | None:
        """Return its boxes, if any."""
        return self.contents.boxes.read(name, self.file_classes, image.shape[1:])


def scan_folder(root: Path) -> Contents:
    """Return the contents of a folder, without opening images.

    Raises:
        FileNotFoundError: ``images`` or ``classes.txt`` is missing.
        ValueError: there are no images, two of the same name, a name with a line break, masks or
            boxes without an image, files that are not images, or ``classes.txt`` is invalid.
        LabelError: the COCO file is invalid.
    """
    root = Path(root).expanduser()
    if not (root / "images").is_dir():
        raise FileNotFoundError(f"{shown(root)} has no folder images. Put the images into it.")
    classes = read_classes(root / "classes.txt")
    images = _files(root / "images", IMAGE_SUFFIXES, "images; convert them to PNG or JPEG")
    if not images:
        raise ValueError(f"{shown(root / 'images')} is empty. Put the images directly into it.")
    masks = {}
    if lexists(root / "masks"):
        masks = _files(root / "masks", (".png",), "PNG files; JPEG would blur the ids")
    if strangers := sorted(set(masks) - set(images)):
        raise ValueError(
            f"{len(strangers)} masks have no image of the same name in images, such as "
            f"{shown(masks[strangers[0]])}. Name each mask like its image (cat1.jpg, cat1.png)."
        )
    return Contents(root, classes, images, masks, find_boxes(root, images))


def read_classes(path: Path) -> tuple[str, ...]:
    """Return the class names of ``classes.txt``, background first.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it has fewer than two names, more than 255, or a name twice.
    """
    lines = read_lines(
        path, "Write one class name per line, the background (id 0) first; the line number, "
        "counted from 0, is the id in the masks."
    )
    classes = tuple(line.strip() for line in lines if line.strip())
    if not 2 <= len(classes) <= VOID or len(set(classes)) < len(classes):
        raise ValueError(
            f"{shown(path)} names {len(classes)} classes, {len(set(classes))} of them different. "
            f"It needs the background and 1 to {VOID - 1} more, each once."
        )
    return classes


def _files(folder: Path, suffixes: Sequence[str], what: str) -> dict[str, Path]:
    """Return {stem: file}; hidden files and system files are skipped."""
    with decoding(folder, "Put the folder back."):
        files = [p for p in sorted(folder.iterdir())
                 if not p.name.startswith(".") and p.name.lower() not in _IGNORED]
    if wrong := [p for p in files if p.is_dir() or p.suffix.lower() not in suffixes]:
        raise ValueError(
            f"{len(wrong)} entries of {shown(folder)} cannot be read, such as "
            f"{visible(wrong[0].name)}. It may hold only {what}, and no folders."
        )
    if unlisted := [p for p in files if not can_be_listed(p.stem)]:
        raise ValueError(
            f"no list can name {visible(unlisted[0].name)} in {shown(folder)}: a name is one line "
            "of UTF-8. Rename the file."
        )
    check_no_duplicates([p.stem for p in files], shown(folder))
    return {p.stem: p for p in files}
