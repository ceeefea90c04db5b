"""Boxes in PASCAL VOC's format: one XML file per image, 1-based, both ends included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from defusedxml import ElementTree

from semiseg_lib.core.escaping import listed, visible
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.labels import LabelError, decoding
from semiseg_lib.datasets.sample import Boxes

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_annotation(path: Path) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Return (class name, (xmin, ymin, xmax, ymax)) of each object, unchanged.

    Args:
        path: an XML file of VOCdevkit.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: it is not well-formed XML, or an object lacks its name or box.
    """
    with decoding(
        path, "Each <object> needs a <name> and a <bndbox> with xmin, ymin, xmax and ymax.",
        missing="Add the annotation, or read the list without boxes.",
    ):
        root = ElementTree.parse(Path(path).expanduser()).getroot()
        if root.tag != "annotation":
            raise ValueError(f"<{root.tag}> instead of <annotation>")
        return [(_text(one, "name"), tuple(float(_text(one, f"bndbox/{side}")) for side in _SIDES))
                for one in root.findall("object")]


def _text(element: Element, tag: str) -> str:
    text = element.findtext(tag)
    if text is None or not text.strip():
        raise ValueError(f"an <{element.tag}> without <{tag}>")
    return text.strip()


def half_open(box: tuple[float, ...], size: tuple[int, int], path: Path) -> tuple[float, ...]:
    """Convert a VOC box (1-based, both ends included) to a half-open, 0-based box.

    Raises:
        LabelError: the box is not inside the image of ``size`` (H, W).
    """
    height, width = size
    x0, y0, x1, y1 = box[0] - 1, box[1] - 1, box[2], box[3]
    if not (-1 < x0 < x1 < width + 1 and -1 < y0 < y1 < height + 1):
        raise LabelError(
            f"{shown(path)} has the box {box}, which does not lie in its image of {width}x{height} "
            "pixels (VOC counts from 1). Correct the coordinates."
        )
    return max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)


def boxes_of(
    drawn: Sequence[tuple[str, tuple[float, ...]]], classes: Sequence[str], path: Path, name: str,
    crowds: tuple[int, ...] = (),
) -> Boxes:
    """Return the half-open boxes of an image with indices into ``classes``, background first.

    Args:
        drawn: class name and box of each object.
        classes: C names.
        path, name: their file and the image, for the message.
        crowds: see :class:`Boxes`.

    Raises:
        LabelError: the class of a box is not among them.
    """
    if unknown := [label for label, _ in drawn if label not in classes[1:]]:
        raise LabelError(
            f"{shown(path)} has a box of class {unknown[0]!r} on {visible(name)}, but the classes "
            f"are {listed(classes[1:])} (after the background, {visible(classes[0])}). Correct the "
            "name, or add the class."
        )
    return Boxes(
        np.asarray([box for _, box in drawn], np.float32).reshape(-1, 4),
        np.asarray([classes.index(label) for label, _ in drawn], np.int64), crowds,
    )
