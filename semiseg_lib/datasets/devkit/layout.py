"""PASCAL VOC's folder layout, shared by VOC and mini-VOC: reader, source, audit.

::

    VOC2012/JPEGImages/NAME.jpg             the images
            SegmentationClass/NAME.png      masks of class ids, 255 = void
            SegmentationClassAug/NAME.png   ground truth of unlabelled images, for evaluation only
            Annotations/NAME.xml            boxes
            ImageSets/Segmentation/SET.txt  lists of names
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.audit import Entry, Finding, Layout, Rules
from semiseg_lib.datasets.devkit.annotation import half_open, read_annotation
from semiseg_lib.datasets.labels import (
    VOID,
    LabelError,
    check_same_size,
    packed_ids,
    read_image,
    read_mask,
    voc_palette,
)
from semiseg_lib.datasets.lists import read_lines, read_published_list
from semiseg_lib.datasets.sample import Boxes, Sample

MASKS, HIDDEN_MASKS = "SegmentationClass", "SegmentationClassAug"
PALETTE = np.reshape(voc_palette(), (256, 3)).astype(np.uint8)
"""VOC's colours, uint8 ``(256, 3)``."""


class VOCDataset:
    """The images that one list of a VOC folder names, as :class:`Sample`.

    Args:
        folder: the year's folder, such as ``VOCdevkit/VOC2012``.
        image_set: a list in ``ImageSets/Segmentation``, without ``.txt``.
        classes: names in the order of the ids in the masks; the first is the background.
        keep: the classes to use (background included), None for all. New ids follow this order,
            and every other class becomes void.
        masks: the folder to read masks from; None to read none.
        boxes: read ``Annotations`` too.

    Raises:
        FileNotFoundError: the list is missing.
        ValueError: the list is empty or names an image twice, or ``keep`` an unknown class;
            or, with boxes, it does not start with the background.
    """

    canonical: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        folder: Path,
        image_set: str,
        classes: Sequence[str],
        keep: Sequence[str] | None = None,
        masks: str | None = MASKS,
        boxes: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.image_set = image_set
        self.file_classes = tuple(classes)
        self.masks = masks
        self.boxes = boxes
        self.names = read_list(_list_path(self.folder, image_set))
        self.classes, self._new_id = packed_ids(self.file_classes, keep, self.folder)
        if boxes and self.classes[0] != self.file_classes[0]:
            raise ValueError(
                f"keep starts with {self.classes[0]}; with boxes it must start with the "
                f"{self.file_classes[0]}, whose channel means 'outside every box'."
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image_path = self._image_path(name)
        image = read_image(image_path)
        mask, boxes = None, None
        if self.masks is not None:
            mask_path = self._mask_path(name)
            mask = read_mask(mask_path, len(self.file_classes))
            check_same_size(mask, image, mask_path, image_path)
            mask = self._new_id.take(mask)
        if self.boxes:
            boxes = self._read_boxes(self._boxes_path(name), image.shape[1:])
        return Sample(name, image, mask, boxes)

    @property
    def decoding(self) -> str:
        """The classes in the order of the ids in the masks."""
        return " ".join(self.file_classes)

    def content(self, index: int) -> Iterator[Path]:
        """Yield the files that ``self[index]`` reads: the image, its mask, its annotation."""
        name = self.names[index]
        yield self._image_path(name)
        if self.masks is not None:
            yield self._mask_path(name)
        if self.boxes:
            yield self._boxes_path(name)

    def _image_path(self, name: str) -> Path:
        return self.folder / "JPEGImages" / f"{name}.jpg"

    def _mask_path(self, name: str) -> Path:
        return self.folder / self.masks / f"{name}.png"

    def _boxes_path(self, name: str) -> Path:
        return self.folder / "Annotations" / f"{name}.xml"

    def _read_boxes(self, path: Path, size: tuple[int, int]) -> Boxes:
        coordinates, labels = [], []
        for name, box in read_annotation(path):
            if name not in self.file_classes:
                raise LabelError(
                    f"{path} has a box of class {name!r}, which is not among the classes "
                    f"{', '.join(self.file_classes[1:])}. Correct the name or add the class."
                )
            label = self._new_id[self.file_classes.index(name)]
            if label == VOID:
                continue
            coordinates.append(half_open(box, size, path))
            labels.append(label)
        return Boxes(
            np.asarray(coordinates, np.float32).reshape(-1, 4), np.asarray(labels, np.int64)
        )


class VOCSource:
    """Source of a folder in VOC's layout; see :class:`semiseg_lib.datasets.dataset.Source`.

    Args:
        folder: the year's folder.
        file_classes: all classes, in the order of the ids in the masks.
        keep: the classes to use; empty for all.
        lists: {list: its file, without ``.txt``}.
        masks: {list: folder of its masks}, if not ``SegmentationClass``.
        reader_type: the class of the readers.
    """

    def __init__(
        self,
        folder: Path,
        file_classes: Sequence[str],
        keep: Sequence[str],
        lists: Mapping[str, str],
        masks: Mapping[str, str],
        reader_type: type[VOCDataset] = VOCDataset,
    ) -> None:
        self.folder, self.file_classes = folder, tuple(file_classes)
        self.classes = packed_ids(file_classes, keep, folder)[0]
        self.boxed = np.arange(len(self.classes)) > 0
        self._lists, self._masks, self._reader_type = lists, masks, reader_type

    def names(self, which: str) -> Sequence[str]:
        """Return the image names of a list."""
        return read_list(_list_path(self.folder, self._lists[_images_of(which)]))

    def reader(self, which: str, masks: bool, boxes: bool) -> VOCDataset:
        """Return the reader of a list."""
        where = self._masks.get(_images_of(which), MASKS) if masks else None
        return self._reader_type(
            self.folder, self._lists[_images_of(which)], self.file_classes, self.classes, where,
            boxes,
        )

    def has_boxes(self, name: str) -> bool:
        """Return True: every image of the layout has an annotation."""
        return True


def _images_of(which: str) -> str:
    """Return the list of the images: ``hidden`` are the ``unlabelled`` ones."""
    return "unlabelled" if which == "hidden" else which


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
        raise ValueError(f"the list {path} is empty. Write one image name per line.")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})[:3]
        raise ValueError(f"the list {path} names {', '.join(twice)} twice. Take one out.")
    return names


def voc_layout(folder: Path, classes: Sequence[str], lists: Sequence[Path] = ()) -> Layout:
    """Return the layout to audit, with each mask from the folder intended for its list.

    Raises:
        FileNotFoundError: the folder has no lists, or one of ``lists`` is missing.
    """
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
        "NOTE", name, f"{len(files)} masks lie in {files[0].parent.name}, the others in "
        f"{mask_folders[0]}", (shown(files[0]),),
        f"Copy them to {mask_folders[0]} to read all masks of this list.",
    )]
