"""The reader of your own folder: each image with its available labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import lexists
from pathlib import Path
from types import MappingProxyType

import numpy as np

from semiseg_lib.datasets.labels import (
    VOID,
    LabelError,
    check_same_size,
    decoding,
    kept_boxes,
    packed_ids,
    present_ids,
    read_image,
    read_mask,
)
from semiseg_lib.datasets.lists import IMAGE_SUFFIXES, check_no_duplicates, read_lines
from semiseg_lib.datasets.sample import Sample

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


class FolderDataset:
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

    canonical: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        root: Path,
        names: Sequence[str] | None = None,
        keep: Sequence[str] | None = None,
        masks: bool = True,
        boxes: bool = True,
    ) -> None:
        self.contents = scan_folder(root)
        self.masks, self.boxes = masks, boxes
        self.classes, self._new_id = packed_ids(self.contents.classes, keep, self.contents.root)
        self.names = list(self.contents.images if names is None else names)
        check_known(self.names, self.contents, "the choice")
        if boxes and self.classes[0] != self.contents.classes[0]:
            raise ValueError(
                f"keep starts with {self.classes[0]}; with boxes it must start with the "
                f"background, {self.contents.classes[0]}, whose channel means 'outside every box'."
            )

    @property
    def has_boxes(self) -> bool:
        """Return whether every image has boxes."""
        return self.boxes and set(self.names) <= self.contents.boxes.names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image_path = self.contents.images[name]
        image = read_image(image_path)
        mask, boxes = None, None
        if self.masks and name in self.contents.masks:
            mask_path = self.contents.masks[name]
            mask = _read_ids(mask_path, self.contents.classes)
            check_same_size(mask, image, mask_path, image_path)
            mask = self._new_id.take(mask)
        if self.boxes:
            boxes = self.contents.boxes.read(name, self.contents.classes, image.shape[1:])
            boxes = None if boxes is None else kept_boxes(boxes, self._new_id)
        return Sample(name, image, mask, boxes)

    @property
    def decoding(self) -> str:
        """The classes of ``classes.txt`` when the folder was opened."""
        return "\n".join(self.contents.classes)

    def content(self, index: int) -> Iterator[Path | str]:
        """Yield the content of ``self[index]``: the image, its mask, its boxes."""
        name, contents = self.names[index], self.contents
        yield contents.images[name]
        if self.masks and name in contents.masks:
            yield contents.masks[name]
        if self.boxes and name in contents.boxes.names:
            yield contents.boxes.xml.get(name) or contents.boxes.digest(name)


def scan_folder(root: Path) -> Contents:
    """Return the contents of a folder, without opening images.

    Raises:
        FileNotFoundError: ``images`` or ``classes.txt`` is missing.
        ValueError: there are no images, two of the same name, masks or boxes without an image,
            files that are not images, or ``classes.txt`` is invalid.
        LabelError: the COCO file is invalid.
    """
    root = Path(root)
    if not (root / "images").is_dir():
        raise FileNotFoundError(f"{root} has no folder images. Put the images into it.")
    classes = read_classes(root / "classes.txt")
    images = _files(root / "images", IMAGE_SUFFIXES, "images; convert them to PNG or JPEG")
    if not images:
        raise ValueError(f"{root / 'images'} is empty. Put the images directly into it.")
    masks = {}
    if lexists(root / "masks"):
        masks = _files(root / "masks", (".png",), "PNG files; JPEG would blur the ids")
    if strangers := sorted(set(masks) - set(images)):
        raise ValueError(
            f"{len(strangers)} masks have no image of the same name in images, such as "
            f"{masks[strangers[0]]}. Name each mask like its image (cat1.jpg, cat1.png)."
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
            f"{path} names {len(classes)} classes, {len(set(classes))} of them different. It "
            f"needs the background and 1 to {VOID - 1} more, each once."
        )
    return classes


def _files(folder: Path, suffixes: Sequence[str], what: str) -> dict[str, Path]:
    """Return {stem: file}; hidden files and system files are skipped."""
    with decoding(folder, "Put the folder back."):
        files = [p for p in sorted(folder.iterdir())
                 if not p.name.startswith(".") and p.name.lower() not in _IGNORED]
    if wrong := [p for p in files if p.is_dir() or p.suffix.lower() not in suffixes]:
        raise ValueError(
            f"{len(wrong)} entries of {folder} cannot be read, such as {wrong[0].name}. It may "
            f"hold only {what}, and no folders."
        )
    check_no_duplicates([p.stem for p in files], str(folder))
    return {p.stem: p for p in files}


def check_known(names: Sequence[str], contents: Contents, what: str) -> None:
    """Raise ValueError if a name occurs twice or is not an image of the folder."""
    check_no_duplicates(names, what)
    if unknown := [name for name in names if name not in contents.images]:
        raise ValueError(
            f"{what} names {len(unknown)} images that are not in {contents.root / 'images'}, "
            f"such as {unknown[0]}. Names are written without folder and ending."
        )


def _read_ids(path: Path, classes: Sequence[str]) -> np.ndarray:
    mask = read_mask(path, len(classes))
    if len(classes) == 2 and present_ids(mask) == {0, VOID}:
        raise LabelError(
            f"{path} holds only 0 and {VOID}, and {VOID} means void. If white is {classes[1]}, "
            "save it as 1; if it is void, leave the mask out, it shows only background."
        )
    return mask
