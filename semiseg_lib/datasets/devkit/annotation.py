"""Boxes in PASCAL VOC's format: one XML file per image, 1-based, both ends included."""

from __future__ import annotations

from pathlib import Path

from defusedxml import ElementTree

from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.datasets.labels import LabelError, decoding

make_torchvision_importable()

from torchvision.datasets import VOCDetection  # noqa: E402

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_annotation(path: Path) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Return (class name, (xmin, ymin, xmax, ymax)) of each object, unchanged.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: it is not well-formed XML, or an object lacks its name or box.
    """
    with decoding(
        path, "Each <object> needs a <name> and a <bndbox> with xmin, ymin, xmax and ymax.",
        missing="Add the annotation, or read the list without boxes.",
    ):
        root = ElementTree.parse(path).getroot()
        if root.tag == "annotation" and not len(root):
            return []
        parsed = VOCDetection.parse_voc_xml(root)
        return [
            (entry["name"], tuple(float(entry["bndbox"][side]) for side in _SIDES))
            for entry in parsed["annotation"].get("object", [])
        ]


def half_open(box: tuple[float, ...], size: tuple[int, int], path: Path) -> tuple[float, ...]:
    """Convert a VOC box (1-based, both ends included) to a half-open, 0-based box.

    Raises:
        LabelError: the box is not inside the image of ``size`` (H, W).
    """
    height, width = size
    x0, y0, x1, y1 = box[0] - 1, box[1] - 1, box[2], box[3]
    if not (-1 < x0 < x1 < width + 1 and -1 < y0 < y1 < height + 1):
        raise LabelError(
            f"{path} has the box {box}, which does not lie in its image of {width}x{height} "
            "pixels (VOC counts from 1). Correct the coordinates."
        )
    return max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)
