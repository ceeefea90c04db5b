"""Small files of every shipped dataset, in each of its layouts.

They are written without loss, images as PNG under whatever name the reader wants, and from
arithmetic alone: they are the same on every machine and with every library of random numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.batches.options import DataConfig
from semiseg_lib.datasets import camvid, cifar10, minivoc, voc

WIDTH, HEIGHT = 14, 10


def pattern(number: int, *shape: int) -> np.ndarray:
    """Return uint8 values that differ from image to image and from pixel to pixel."""
    places = np.arange(np.prod(shape), dtype=np.int64)
    return ((places * 37 + places // 7 * 11 + number * 101) % 256).astype(np.uint8).reshape(shape)


def save(path: Path, pixels: np.ndarray, palette: bool = False) -> None:
    """Write a PNG, whatever the name ends in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette(bytes(range(256)) * 3)
    image.save(path, format="PNG")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def annotation(*boxes: tuple) -> str:
    """Return VOC's XML of boxes (class name, xmin, ymin, xmax, ymax)."""
    objects = "".join(
        f"<object><name>{name}</name><difficult>{number % 2}</difficult><bndbox><xmin>{x0}</xmin>"
        f"<ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for number, (name, x0, y0, x1, y1) in enumerate(boxes)
    )
    return f"<annotation><filename>an image</filename>{objects}</annotation>"


def ids(number: int, count: int) -> np.ndarray:
    """Return a mask of ``count`` ids, with void."""
    mask = pattern(number, HEIGHT, WIDTH) % count
    mask[0, : number + 2] = 255
    return mask


def voc_folder(folder: Path, classes: tuple[str, ...], lists: dict[str, int]) -> None:
    """Write images, both kinds of masks, boxes and lists in VOC's layout."""
    number = 0
    for name, count in lists.items():
        members = [f"{name}_{i}" for i in range(count)]
        write(folder / f"ImageSets/Segmentation/{name}.txt", "".join(f"{m}\n" for m in members))
        for member in members:
            number += 1
            save(folder / f"JPEGImages/{member}.jpg", pattern(number, HEIGHT, WIDTH, 3))
            save(folder / f"SegmentationClass/{member}.png", ids(number, len(classes)), True)
            save(folder / f"SegmentationClassAug/{member}.png", ids(number + 50, len(classes)))
            write(folder / f"Annotations/{member}.xml", annotation(
                (classes[1], 1, 1, WIDTH, HEIGHT), (classes[-1], 2 + number % 3, 3, 7.5, 8),
            ))


Request = tuple[DataConfig, Path]
"""What to open, and the folder that holds it."""


def make_minivoc(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Request]:
    """Files that are read as if they had been drawn; the drawing has a version of its own."""
    classes = ("background", *minivoc.WORLDS["hurried"].classes)
    voc_folder(root, classes, {"labelled": 2, "unlabelled": 2, "val": 1, "test": 1})
    patch.setattr(minivoc, "prepare", lambda world, sizes: root)
    patch.setattr(minivoc, "verify_generated", lambda folder: None)  # these files were not drawn
    yield DataConfig("minivoc"), root
    yield DataConfig("minivoc", keep=("background", "tree")), root


def make_voc(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Request]:
    """Lists with official masks and lists with those of SBD."""
    lists = {"train": 2, "train_aug": 2, "sbd_extra": 1, "val": 1}
    voc_folder(root / "VOCdevkit" / "VOC2012", voc.VOC_CLASSES, lists)
    yield DataConfig("voc"), root
    yield DataConfig("voc", candidates="sbd_extra", keep=("background", "tvmonitor")), root


def make_cityscapes(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Request]:
    """All 34 ids or the 19 train ids, and objects of two kinds beside a crowd."""
    for split, city in (("train", "aachen"), ("val", "munster")):
        for number in range(3):
            name = f"{city}_00000{number}_000019"
            image = root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png"
            save(image, pattern(number, HEIGHT, WIDTH, 3))
            kind, count = ("labelTrainIds", 19) if number == 2 else ("labelIds", 34)
            labels = root / f"gtFine/{split}/{city}"
            save(labels / f"{name}_gtFine_{kind}.png", pattern(number, HEIGHT, WIDTH) % count)
            objects = np.full((HEIGHT, WIDTH), 7, np.uint16)
            objects[1:4, 2:6], objects[5:9, 3:9], objects[2:8, 10:13] = 24001, 26000 + number, 33
            save(labels / f"{name}_gtFine_instanceIds.png", objects)
    yield DataConfig("cityscapes"), root
    yield DataConfig("cityscapes", keep=("road", "car", "person")), root


def make_camvid(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Request]:
    """Both layouts, masks of ids and masks of 32 colours, with frames that nobody labelled."""
    merged, original = root / "merged", root / "original"
    for split in camvid.SPLITS:
        for number in range(2):
            save(merged / split / f"{split}{number}.png", pattern(number, 4, 8, 3))
            save(merged / f"{split}_labels" / f"{split}{number}.png", pattern(number, 4, 8) % 12)
    colours = np.array(list(camvid.CAMVID_COLOURS.values()), np.uint8)
    for number, name in enumerate(("0001TP_006690", "0016E5_07959", "Seq05VD_f00000")):
        save(original / f"701_StillsRaw_full/{name}.png", pattern(number, 4, 8, 3))
        mask = np.roll(colours, number, axis=0).reshape(4, 8, 3)
        save(original / f"LabeledApproved_full/{name}_L.png", mask)
    save(original / "frames/0006R0/0006R0_00500.png", pattern(9, 4, 8, 3))
    yield DataConfig("camvid"), merged
    yield DataConfig("camvid", keep=("road", "car")), merged
    for recipe in ("merged", "exact"):
        asked = DataConfig("camvid", unlabelled="frames").with_options(recipe=recipe)
        yield asked, original


def make_folder(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Request]:
    """Boxes in VOC's XML, and boxes and a crowd in COCO's JSON."""
    names = [f"image{number}" for number in range(6)]
    for kind in ("xml", "coco"):
        write(root / kind / "classes.txt", "background\ncat\ndog\n")
        for number, name in enumerate(names):
            save(root / kind / f"images/{name}.jpg", pattern(number, HEIGHT, WIDTH, 3))
            if number < 4:
                save(root / kind / f"masks/{name}.png", ids(number, 3))
        for which, name in (("val", "image2"), ("test", "image3")):
            write(root / kind / f"{which}.txt", f"{name}\n")
    for number, name in enumerate(names[1:]):
        boxes = (("cat", 2, 3, 7.5, 8), ("dog", 1, 1, WIDTH, HEIGHT))[: number % 3]
        write(root / f"xml/boxes/{name}.xml", annotation(*boxes))
    write(root / "coco" / "boxes.json", json.dumps({
        "images": [{"id": n, "file_name": f"{name}.jpg"} for n, name in enumerate(names)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 8, "name": "cat"}],
        "annotations": [
            {"image_id": 0, "category_id": 7, "bbox": [1, 2, 3.5, 4]},
            {"image_id": 0, "category_id": 8, "bbox": [-0.5, 0, 14, 10]},
            {"image_id": 4, "category_id": 8, "bbox": [1, 1, 4, 4], "iscrowd": 1},
        ],
    }))
    for kind in ("xml", "coco"):
        yield DataConfig("folder"), root / kind
        yield DataConfig("folder", keep=("background", "dog")), root / kind


def make_digits(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Request]:
    """The images that come with scikit-learn."""
    yield DataConfig("digits"), root
    yield DataConfig("digits", keep=("3", "7")), root


def make_cifar10(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Request]:
    """Both forms, with few images: binary files and mosaics."""
    patch.setattr(cifar10, "RECORDS", 10)
    patch.setattr(cifar10, "TILES", {"train": 100, "test": 100})
    patch.setattr(cifar10, "HELD_OUT", (10, 0))
    for number, name in enumerate(cifar10.BATCHES):
        records = pattern(number, 10, 1 + 3 * 32 * 32)
        records[:, 0] = np.arange(10)
        (root / "binary").mkdir(exist_ok=True)
        (root / "binary" / name).write_bytes(records.tobytes())
    for number, name in enumerate(cifar10.CIFAR10_CLASSES):
        for split in ("train", "test"):
            save(root / f"mosaics/{split}_{name}.jpg", pattern(number, 32, 3200, 3))
    for form in ("binary", "mosaics"):
        yield DataConfig("cifar10"), root / form


MAKERS: dict[str, Callable[[Path, pytest.MonkeyPatch], Iterator[Request]]] = {
    "minivoc": make_minivoc, "voc": make_voc, "cityscapes": make_cityscapes,
    "camvid": make_camvid, "folder": make_folder, "digits": make_digits, "cifar10": make_cifar10,
}
