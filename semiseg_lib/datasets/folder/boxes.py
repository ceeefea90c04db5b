"""Boxes of your own images: one VOC XML per image, or one COCO JSON for all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np

from semiseg_lib.datasets.devkit.annotation import half_open, read_annotation
from semiseg_lib.datasets.labels import LabelError, decoding
from semiseg_lib.datasets.sample import Boxes

COCO_FILES = ("boxes.json", "annotations.json")

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FolderBoxes:
    """The boxes of a folder.

    Attributes:
        file: the COCO file, or the folder of XML files; None without boxes.
        xml: {image name: XML file}.
        coco: {image name: ((class name, half-open box), ...)}.
        crowds: {image name: classes of its crowds, which have no boxes}; COCO only.
    """

    file: Path | None
    xml: Mapping[str, Path]
    coco: Mapping[str, tuple[tuple[str, Box], ...]]
    crowds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def names(self) -> set[str]:
        """Return the images that were annotated with boxes, including those without objects."""
        return {*self.xml, *self.coco}

    def digest(self, name: str) -> str:
        """Return the SHA-256 of an image's boxes in the COCO file as read."""
        said = json.dumps([self.coco[name], self.crowds.get(name, ())])
        return hashlib.sha256(said.encode()).hexdigest()

    def read(self, name: str, classes: Sequence[str], size: tuple[int, int]) -> Boxes | None:
        """Return the boxes of an image of ``size`` (H, W), with indices into ``classes``.

        None if the image was not annotated.

        Raises:
            LabelError: a box has an unknown class, or is not inside the image.
        """
        if name not in self.names:
            return None
        if name in self.xml:
            path = self.xml[name]
            drawn = [(label, half_open(box, size, path)) for label, box in read_annotation(path)]
        else:
            path = self.file
            drawn = [(label, _inside(box, size, name, path)) for label, box in self.coco[name]]
        for label, _ in drawn:
            if label not in classes[1:]:
                raise LabelError(
                    f"{path} has a box of class {label!r} on {name}, but classes.txt names "
                    f"{', '.join(classes[1:])} (after the background, {classes[0]}). Correct the "
                    "name, or add the class at the end of classes.txt."
                )
        return Boxes(
            np.asarray([box for _, box in drawn], np.float32).reshape(-1, 4),
            np.asarray([classes.index(label) for label, _ in drawn], np.int64),
            tuple(classes.index(label) for label in self.crowds.get(name, ()) if label in classes),
        )


def find_boxes(root: Path, images: Mapping[str, Path]) -> FolderBoxes:
    """Return the boxes of the images in ``root``.

    Raises:
        ValueError: there are several sources, or boxes of missing images.
        LabelError: the COCO file is invalid.
    """
    folder = root / "boxes"
    files = [root / name for name in COCO_FILES if lexists(root / name)]
    files += sorted(folder.glob("*.json"))
    xml = {path.stem: path for path in sorted(folder.glob("*.xml"))}
    if len(files) + bool(xml) > 1:
        sources = ", ".join([f.name for f in files] + (["boxes/*.xml"] if xml else []))
        raise ValueError(f"{root} has boxes in {sources}. Keep one of them.")
    if lexists(folder) and not xml and not files:
        raise ValueError(
            f"{folder} holds neither NAME.xml (VOC) nor a JSON file (COCO). Export the boxes in "
            "one of the two formats, or remove the folder."
        )
    coco = read_coco(files[0]) if files else {}
    crowds = read_crowds(files[0]) if files else {}
    boxes = FolderBoxes(files[0] if files else folder if xml else None, xml, coco, crowds)
    if strangers := sorted(boxes.names - set(images)):
        raise ValueError(
            f"{boxes.file} has boxes of {len(strangers)} images that are not in "
            f"{root / 'images'}, such as {strangers[0]}. Add the images, or remove the boxes."
        )
    return boxes


def read_coco(path: Path) -> dict[str, tuple[tuple[str, Box], ...]]:
    """Return COCO's (x, y, width, height) boxes as {image name: ((class, half-open box), ...)}.

    COCO is 0-based, so x + width is the open end. Crowds, whose box covers many objects, are left
    out.

    Raises:
        LabelError: the file is not in COCO's format, or two images share a name.
    """
    path = Path(path)
    with decoding(
        path, "Export the boxes again in COCO's format: images (id, file_name), categories "
        "(id, name) and annotations (image_id, category_id, bbox of four numbers).",
    ):
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        kinds = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        names = {entry["id"]: _stem(entry["file_name"]) for entry in content["images"]}
        drawn = {name: [] for name in names.values()}
        for entry in content["annotations"]:
            if entry.get("iscrowd"):
                continue
            drawn[names[entry["image_id"]]].append((kinds[entry["category_id"]], _corners(entry)))
    if len(drawn) < len(names):
        raise LabelError(f"{path} lists two images of the same name; rename one of the files.")
    return {name: tuple(boxes) for name, boxes in drawn.items()}


def read_crowds(path: Path) -> dict[str, tuple[str, ...]]:
    """Return {image name: classes of its crowds} of a valid COCO file."""
    crowds: dict[str, set[str]] = {}
    with decoding(Path(path)):
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        kinds = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        names = {entry["id"]: _stem(entry["file_name"]) for entry in content["images"]}
        for entry in content["annotations"]:
            if entry.get("iscrowd"):
                crowds.setdefault(names[entry["image_id"]], set()).add(kinds[entry["category_id"]])
    return {name: tuple(sorted(labels)) for name, labels in crowds.items()}


def _stem(file_name: str) -> str:
    return Path(file_name.replace("\\", "/")).stem


def _corners(entry: Mapping[str, Any]) -> Box:
    x, y, width, height = (float(number) for number in entry["bbox"])
    return x, y, x + width, y + height


def _inside(box: Box, size: tuple[int, int], name: str, path: Path) -> Box:
    """Return a box clipped to its image; raise LabelError if it is a pixel or more outside."""
    height, width = size
    x0, y0, x1, y1 = box
    if not (-1 < x0 < x1 < width + 1 and -1 < y0 < y1 < height + 1):
        raise LabelError(
            f"{path} has the box x {x0:g}, y {y0:g}, width {x1 - x0:g}, height {y1 - y0:g} on "
            f"{name}, which does not lie in its image of {width}x{height} pixels. COCO's bbox "
            "is (x, y, width, height) in pixels, not two corners and not fractions of the width."
        )
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
