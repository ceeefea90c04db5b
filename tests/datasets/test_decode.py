"""What unchanged bytes mean: every shipped reader, held to its decode version.

The files are written without loss, images as PNG under whatever name the reader wants, and from
arithmetic alone: they are the same on every machine and with every library of random numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib import datasets
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.core.fingerprint import fingerprint
from semiseg_lib.datasets import camvid, cifar10, minivoc, voc
from semiseg_lib.datasets.dataset import LISTS, SHIPPED
from semiseg_lib.datasets.devkit.layout import VOCDataset
from semiseg_lib.datasets.sample import Sample

READ: dict[str, tuple[int, str]] = {
    "minivoc": (1, "be378817c2c78daa12126c7f2cff5ee31221deea51e973beeb047825add7cde5"),
    "voc": (1, "86732d7af5dbc325efb3be4a57e1bd08cf2d12a88cc328d1ba8bd05dfd8213d6"),
    "cityscapes": (1, "c77c3798374e30b03d19f51c335c814ed23565c229a229bea9210f3eb96d8030"),
    "camvid": (1, "73f4a8551d7f8d2a3bc0605432d06615d6e5569106bf1dcd9a55f72d5153c7f9"),
    "folder": (1, "6ca83267793ed17d76948c5b0308b0abbb80ffc7dd2791d4137d1b31cffb05cf"),
    "digits": (1, "7f96aa934ba893df9c1e58958c186ba10598512f0400bcf6150d3d3b15457a17"),
    "cifar10": (1, "6825499507180a20b5fa3812ec803d106e073860d62a9362b7f801169260e97f"),
}
"""{dataset: (decode version, SHA-256 of what is read of its files below)}."""

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


def sha(array: np.ndarray | None) -> str:
    """Return the SHA-256 of an array's type, shape and values; "" for None."""
    if array is None:
        return ""
    portable = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
    kind = f"{array.dtype.name} {array.shape} ".encode()
    return hashlib.sha256(kind + portable.tobytes()).hexdigest()


def said_of(sample: Sample) -> list:
    """Return everything that a reader says of an image."""
    labels = [sample.name, sha(sample.image), sha(sample.mask)]
    if sample.boxes is None:
        return [*labels, None]
    boxes = sample.boxes
    return [*labels, sha(boxes.coordinates), sha(boxes.classes), list(boxes.crowds)]


def read(name: str, root: Path, patch: pytest.MonkeyPatch) -> str:
    """Write a dataset's files and return the SHA-256 of all that its readers say of them.

    It does not depend on the order of images, nor on which of them were drawn for which list.
    """
    said = []
    for config, folder in MAKERS[name](root, patch):
        source = datasets.find(name).source(config, folder, 0)
        readers = [source.reader(which, which != "unlabelled", bool(source.boxed.any()))
                   for which in (*LISTS, "hidden")]
        samples = {json.dumps(said_of(reader[i])) for reader in readers for i in range(len(reader))}
        said.append([list(source.classes), source.boxed.tolist(), sorted(samples)])
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def refuse_another_reading(name: str, found: str) -> None:
    """Fail where files are read otherwise than their decode version says."""
    version, (known_version, known) = datasets.find(name).decode, READ.get(name, (0, ""))
    stored = f"tests/datasets/test_decode.py, READ: {name!r}: ({version}, {found!r})"
    assert version != known_version or found == known, (
        f"{name} reads unchanged bytes differently: raise its decode version and store the new "
        f"hash ({stored}, with the raised version)"
    )
    assert version == known_version, f"store the hash of the decode version {version} ({stored})"


def test_every_shipped_dataset_is_held_to_its_decode_version():
    assert MAKERS.keys() == READ.keys() == {*SHIPPED}


@pytest.mark.parametrize("name", SHIPPED)
def test_unchanged_bytes_are_read_as_the_decode_version_says(name, tmp_path, monkeypatch):
    refuse_another_reading(name, read(name, tmp_path, monkeypatch))


def mirrored(reader: VOCDataset, index: int, plain: Callable = VOCDataset.__getitem__) -> Sample:
    sample = plain(reader, index)
    return replace(sample, image=sample.image[..., ::-1])


@pytest.mark.parametrize("name", ["voc", "minivoc"])
def test_a_reader_that_reads_otherwise_must_raise_its_version(name, tmp_path, monkeypatch):
    monkeypatch.setattr(VOCDataset, "__getitem__", mirrored)
    found = read(name, tmp_path, monkeypatch)
    sentence = f"{name} reads unchanged bytes differently: raise its decode version and store the"
    with pytest.raises(AssertionError, match=sentence):
        refuse_another_reading(name, found)
    raise_version(name, monkeypatch)
    with pytest.raises(AssertionError, match="store the hash of the decode version 2"):
        refuse_another_reading(name, found)
    monkeypatch.setitem(READ, name, (2, found))
    refuse_another_reading(name, found)


def raise_version(name: str, patch: pytest.MonkeyPatch) -> None:
    module = {"voc": voc, "minivoc": minivoc}[name]
    patch.setattr(module, "DATASET", replace(module.DATASET, decode=module.DATASET.decode + 1))


def fingerprints_of(data: Data) -> dict[str, str]:
    """Return the fingerprint of what is made of each image set of a dataset, on unchanged bytes."""
    sets = {which: getattr(data, which)
            for which in ("labelled", "unlabelled", "val", "test", "boxed", "everything")}
    masks = list(data.unlabelled_truth)
    sets |= {"labels": data.unlabelled.with_masks(masks), "images": data.val.without_labels(),
             "first": data.labelled.take([0])}
    return {which: fingerprint({"images": images.digest}) for which, images in sets.items()}


@pytest.mark.parametrize("name", ["voc", "minivoc"])
def test_a_raised_decode_version_changes_every_fingerprint(name, tmp_path, monkeypatch):
    config, root = next(MAKERS[name](tmp_path, monkeypatch))
    data = Data(config, 0, root)
    before, image = fingerprints_of(data), data.labelled.sample(0).image
    assert fingerprints_of(Data(config, 0, root)) == before
    raise_version(name, monkeypatch)
    monkeypatch.setattr(VOCDataset, "__getitem__", mirrored)
    data = Data(config, 0, root)
    after = fingerprints_of(data)
    assert [which for which in before if before[which] == after[which]] == []
    # An image that the old version read and kept in memory is read again.
    np.testing.assert_array_equal(data.labelled.sample(0).image, image[..., ::-1])
