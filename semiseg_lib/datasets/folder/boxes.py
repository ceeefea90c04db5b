"""Boxes of your own images: one VOC XML per image, or one COCO JSON for all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os.path import lexists
from pathlib import Path
from typing import Any

from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.devkit.annotation import boxes_of, half_open, read_annotation
from semiseg_lib.datasets.labels import LabelError, decoding
from semiseg_lib.datasets.sample import Boxes

COCO_FILES = ("boxes.json", "annotations.json")

Box = tuple[float, float, float, float]
Drawn = tuple[tuple[tuple[str, Box], ...], tuple[str, ...]]
"""Class name and half-open box of each object, and the classes of the crowds."""


@dataclass(frozen=True)
class FolderBoxes:
    """The boxes of a folder.

    Attributes:
        file: the COCO file, or the folder of XML files; None without boxes.
        xml: {image name: XML file}.
        coco: {image name: (((class name, half-open box), ...), classes of its crowds)}.
    """

    file: Path | None
    xml: Mapping[str, Path]
    coco: Mapping[str, Drawn]

    @cached_property
    def names(self) -> set[str]:
        """Return the images that were annotated with boxes, including those without objects."""
        return {*self.xml, *self.coco}

    def content(self, name: str) -> Path | str | None:
        """Return the XML of an image, or the SHA-256 of its boxes in the COCO file as read."""
        if name in self.coco:
            return hashlib.sha256(json.dumps(self.coco[name]).encode()).hexdigest()
        return self.xml.get(name)

    def read(self, name: str, classes: Sequence[str], size: tuple[int, int]) -> Boxes | None:
        """Return the boxes of an image of ``size`` (H, W), with indices into ``classes``.

        None if the image was not annotated.

        Raises:
            LabelError: a box has an unknown class, or is not inside the image.
        """
        if name not in self.names:
            return None
        crowds: tuple[str, ...] = ()
        if name in self.xml:
            path = self.xml[name]
            drawn = [(label, half_open(box, size, path)) for label, box in read_annotation(path)]
        else:
            path, (drawn, crowds) = self.file, self.coco[name]
            drawn = [(label, _inside(box, size, name, path)) for label, box in drawn]
        known = tuple(classes.index(label) for label in crowds if label in classes)
        return boxes_of(drawn, classes, path, name, known)


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
        raise ValueError(f"{shown(root)} has boxes in {sources}. Keep one of them.")
    if lexists(folder) and not xml and not files:
        raise ValueError(
            f"{shown(folder)} holds neither NAME.xml (VOC) nor a JSON file (COCO). Export the "
            "boxes in one of the two formats, or remove the folder."
        )
    coco = read_coco(files[0]) if files else {}
    boxes = FolderBoxes(files[0] if files else folder if xml else None, xml, coco)
    if strangers := sorted(boxes.names - set(images)):
        raise ValueError(
            f"{shown(boxes.file)} has boxes of {len(strangers)} images that are not in "
            f"{shown(root / 'images')}, such as {visible(strangers[0])}. Add the images, or remove "
            "the boxes."
        )
    return boxes


def read_coco(path: Path) -> dict[str, Drawn]:
    """Return COCO's (x, y, width, height) boxes as half-open ones, and the classes of the crowds.

    COCO is 0-based, so x + width is the open end. Crowds, whose box covers many objects, have no
    boxes.

    Raises:
        LabelError: the file is not in COCO's format, or two images share a name.
    """
    path = Path(path).expanduser()
    with decoding(
        path, "Export the boxes again in COCO's format: images (id, file_name), categories "
        "(id, name) and annotations (image_id, category_id, bbox of four numbers).",
    ):
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        kinds = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        names = {entry["id"]: _stem(entry["file_name"]) for entry in content["images"]}
        drawn = {name: [] for name in names.values()}
        crowds = {name: set() for name in names.values()}
        for entry in content["annotations"]:
            name, label = names[entry["image_id"]], kinds[entry["category_id"]]
            if entry.get("iscrowd"):
                crowds[name].add(label)
            else:
                drawn[name].append((label, _corners(entry)))
    if len(drawn) < len(names):
        raise LabelError(
            f"{shown(path)} lists two images of the same name; rename one of the files."
        )
    return {name: (tuple(boxes), tuple(sorted(crowds[name]))) for name, boxes in drawn.items()}


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
            f"{shown(path)} has the box x {x0:g}, y {y0:g}, width {x1 - x0:g}, height {y1 - y0:g} "
            f"on {visible(name)}, which does not lie in its image of {width}x{height} pixels. "
            "COCO's bbox is (x, y, width, height) in pixels, not two corners and not fractions of "
            "the width."
        )
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
