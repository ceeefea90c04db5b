"""A small folder of one's own: a red disc and a blue square on grey noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from semiseg_lib import recipes
from semiseg_lib.batches.options import DataConfig, ViewConfig
from semiseg_lib.models import ModelConfig
from semiseg_lib.recipes import Profile

CLASSES = ("background", "disc", "square")
HEIGHT, WIDTH = 40, 56
LISTS = {"labelled": range(4), "unlabelled": range(4, 6), "val": [6], "test": [7]}
STAGES = ("supervised", "ancillary", "start", "primary", "unlabelled")


def profile() -> Profile:
    """The smoke profile of a folder of one's own, with a network that trains in a second."""
    smoke = recipes.load("smoke", "folder")
    trains = {f"train_{stage}": replace(getattr(smoke, f"train_{stage}"), steps=2, log_every=1,
                                        validate_every=0) for stage in STAGES}
    return replace(smoke, data=DataConfig("folder"), model=ModelConfig(width=2),
                   augment=ViewConfig(crop=32), **trains)


def load_instead(own: Profile) -> Callable[..., Profile]:
    """Return a ``recipes.load`` that finds this profile in place of the one of its name."""
    shipped = recipes.load

    def load(name: str | None = None, dataset: str = "minivoc", method: str = "") -> Profile:
        asked = (name, dataset) == (own.name, own.data.dataset)
        return own if asked else shipped(name, dataset, method)

    return load


def draw(root: Path, count: int = 8, masked: int = 6, classes: tuple[str, ...] = CLASSES,
         offset: int = 0, boxes: bool = False, lists: bool = False) -> Path:
    """Write ``count`` images p0, p1, ...; the first ``masked`` have masks, all have boxes or none.

    Args:
        root: the folder to write.
        count, masked: how many images, and how many with masks.
        classes: background, the class of the disc, that of the square.
        offset: other pictures under the same names.
        boxes: whether there are boxes.
        lists: whether LISTS say which images have masks; those of the unlabelled are hidden.
    """
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
    for number in range(count):
        image, mask = scene(number + offset)
        Image.fromarray(image).save(root / "images" / f"p{number}.png")
        if number < masked:
            write_mask(root, number, mask)
        if boxes:
            write_boxes(root, number, mask, classes)
    for name, numbers in LISTS.items() if lists else ():
        text = "".join(f"p{number}\n" for number in numbers)
        (root / f"{name}.txt").write_text(text, encoding="utf-8")
    return root


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of an image and its mask."""
    image = np.random.default_rng(number).integers(90, 150, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    disc = (rows - 10 - number % 4) ** 2 + (columns - 12 - number % 5) ** 2 <= 49
    mask[disc], image[disc] = 1, (220, 20, 20)
    square = (slice(22 + number % 4, 36), slice(34 + number % 5, 50))
    mask[square], image[square] = 2, (20, 20, 220)
    return image, mask


def write_mask(root: Path, number: int, mask: np.ndarray) -> None:
    Image.fromarray(mask).save(root / "masks" / f"p{number}.png")


def exchange(root: Path, numbers=range(6)) -> None:
    """Exchange the classes of disc and square in masks."""
    for number in numbers:
        path = root / "masks" / f"p{number}.png"
        write_mask(root, number, np.array([0, 2, 1], np.uint8)[np.asarray(Image.open(path))])


def write_boxes(root: Path, number: int, mask: np.ndarray, classes: tuple[str, ...]) -> None:
    """Write the boxes around the objects of a mask, in the form of VOC."""
    annotation = ElementTree.Element("annotation")
    for index in (1, 2):
        if not (mask == index).any():
            continue
        rows, columns = np.nonzero(mask == index)
        entry = ElementTree.SubElement(annotation, "object")
        ElementTree.SubElement(entry, "name").text = classes[index]
        box = ElementTree.SubElement(entry, "bndbox")
        sides = {"xmin": columns.min() + 1, "ymin": rows.min() + 1, "xmax": columns.max() + 1,
                 "ymax": rows.max() + 1}
        for side, place in sides.items():
            ElementTree.SubElement(box, side).text = str(place)
    (root / "boxes").mkdir(exist_ok=True)
    ElementTree.ElementTree(annotation).write(root / "boxes" / f"p{number}.xml")
