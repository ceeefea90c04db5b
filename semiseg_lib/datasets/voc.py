"""The reader of PASCAL VOC's folder layout, for the real images and for mini-VOC alike.

::

    VOC2012/JPEGImages/NAME.jpg             the images
            SegmentationClass/NAME.png      masks of class ids, 255 = void
            SegmentationClassAug/NAME.png   hidden truth of the unlabelled images, to measure only
            Annotations/NAME.xml            boxes
            ImageSets/Segmentation/SET.txt  lists of names
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from defusedxml import ElementTree
from torchvision.datasets import VOCDetection

from semiseg_lib.datasets.labels import (
    VOC_CLASSES,
    VOID,
    LabelError,
    check_same_size,
    packed_ids,
    read_image,
    read_mask,
)
from semiseg_lib.datasets.sample import Boxes, Sample


class VOCDataset:
    """The images that one list of a VOC folder names, as :class:`Sample`.

    Args:
        folder: the year's folder, such as ``VOCdevkit/VOC2012``.
        image_set: a list in ``ImageSets/Segmentation``, without ``.txt``.
        classes: names in the order of the ids in the masks; the first is the background.
        keep: the classes to tell apart (background included), None for all. The ids are packed
            in this order, and every other class becomes void.
        masks: the folder to read masks from; None to read none (unlabelled and unlabelled images).
        boxes: read ``Annotations`` too.

    Raises:
        FileNotFoundError: the list is missing.
        ValueError: the list is empty or names an image twice, or ``keep`` an unknown class;
            or it does not start with the background, though boxes are read.
    """

    def __init__(
        self,
        folder: Path,
        image_set: str,
        classes: Sequence[str] = VOC_CLASSES,
        keep: Sequence[str] | None = None,
        masks: str | None = "SegmentationClass",
        boxes: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.image_set = image_set
        self.file_classes = tuple(classes)
        self.masks = masks
        self.boxes = boxes
        self.names = read_list(self.folder / "ImageSets" / "Segmentation" / f"{image_set}.txt")
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
        image_path = self.folder / "JPEGImages" / f"{name}.jpg"
        image = read_image(image_path)
        mask, boxes = None, None
        if self.masks is not None:
            mask_path = self.folder / self.masks / f"{name}.png"
            mask = read_mask(mask_path, len(self.file_classes))
            check_same_size(mask, image, mask_path, image_path)
            mask = self._new_id[mask]
        if self.boxes:
            boxes = self._read_boxes(self.folder / "Annotations" / f"{name}.xml", image.shape[1:])
        return Sample(name, image, mask, boxes)

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


def read_list(path: Path) -> list[str]:
    """Read a list of image names, one a line.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is empty or names an image twice.
    """
    if not path.is_file():
        there = sorted(p.stem for p in path.parent.glob("*.txt"))
        raise FileNotFoundError(f"the list {path} is missing; lists there: {there or 'none'}.")
    lines = path.read_text(encoding="utf-8").splitlines()
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise ValueError(f"the list {path} is empty. Write one image name a line.")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})[:3]
        raise ValueError(f"the list {path} names {', '.join(twice)} twice. Take one out.")
    return names


def read_annotation(path: Path) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Read one VOC annotation: (class name, (xmin, ymin, xmax, ymax)) per object, as written.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: it is not well-formed XML, or an object lacks its name or box.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. Add the annotation, or read the list without boxes."
        )
    try:
        root = ElementTree.parse(path).getroot()
        if root.tag == "annotation" and not len(root):
            return []
        parsed = VOCDetection.parse_voc_xml(root)
        return [
            (entry["name"], tuple(float(entry["bndbox"][side]) for side in _SIDES))
            for entry in parsed["annotation"].get("object", [])
        ]
    except (ElementTree.ParseError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise LabelError(
            f"{path} is not a VOC annotation ({error!r}). Each <object> needs a <name> and a "
            "<bndbox> with xmin, ymin, xmax and ymax."
        ) from error


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def half_open(box: tuple[float, ...], size: tuple[int, int], path: Path) -> tuple[float, ...]:
    """A box as VOC counts it (from 1, both ends included) as a half-open one that counts from 0.

    Raises:
        LabelError: it does not lie in its image of ``size`` (H, W).
    """
    height, width = size
    x0, y0, x1, y1 = box[0] - 1, box[1] - 1, box[2], box[3]
    if not (-1 < x0 < x1 < width + 1 and -1 < y0 < y1 < height + 1):
        raise LabelError(
            f"{path} has the box {box}, which does not lie in its image of {width}x{height} "
            "pixels (VOC counts from 1). Correct the coordinates."
        )
    return max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)
