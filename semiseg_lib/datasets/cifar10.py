"""CIFAR-10: the original binary files, or mosaics of one split and class each.

::

    cifar10/data_batch_1.bin ... data_batch_5.bin  test_batch.bin      10,000 records of 3,073 bytes
    cifar10/train_airplane.jpg ... test_truck.jpg                      tiles of 32x32, 100 per row

A record is a class id (one byte) and 32x32 red, green and blue values. The pickles of the Python
version are never opened: a pickle can run code. Mosaics are JPEGs, so scores on them differ
slightly from those on the original.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.acquire import Archive, Count, Download, count_files, get_archive
from semiseg_lib.datasets.dataset import Dataset, Request
from semiseg_lib.datasets.files import ReaderSource
from semiseg_lib.datasets.labels import decoding, read_image
from semiseg_lib.datasets.single_class import Images, single_class_source

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)
BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
RECORDS = 10_000  # in each of the binary files
SIDE, TILES_PER_ROW = 32, 100
TILES = {"train": 5_000, "test": 1_000}  # in each mosaic
HELD_OUT = (5_000, 0)
"""Number of images sampled for val and test; CIFAR-10 has its own test images."""

ARCHIVE = Archive(
    "cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    home="https://www.cs.toronto.edu/~kriz/cifar.html",
)
"""CIFAR-10 in its binary version (0.2 GB), plain bytes and no pickles."""

TERMS = (
    "for research; cite Learning Multiple Layers of Features from Tiny Images (technical report, "
    "University of Toronto, 2009)."
)
_FIX = "Fetch it again (semiseg data cifar10)."


def open_cifar10(request: Request, folder: Path, seed: int) -> ReaderSource:
    """Return the source of CIFAR-10, with its own test images.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or ``keep`` names an unknown class.
    """
    images = read_cifar10(folder.resolve())
    return single_class_source(images, CIFAR10_CLASSES, request.keep, *HELD_OUT, "cifar10")


def read_cifar10(folder: Path) -> Images:
    """Return all 60,000 images (185 MB); cached until a file changes.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.
    """
    files = {path.name: path.stat() for path in sorted(folder.iterdir()) if path.is_file()}
    stamps = tuple((n, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for n, s in files.items())
    return _read(folder, stamps)


@lru_cache(maxsize=1)
def _read(folder: Path, stamps: tuple[tuple, ...]) -> Images:
    mosaics = not any((folder / name).is_file() for name in BATCHES)
    return _read_mosaics(folder) if mosaics else _read_batches(folder)


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (10000, 3, 32, 32) and labels uint8 (10000,) of a binary file.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it has the wrong length, or a label that is not a class id.
    """
    length = 1 + 3 * SIDE * SIDE
    with decoding(path, _FIX):
        content = np.fromfile(path, np.uint8)
    if len(content) != RECORDS * length:
        raise ValueError(f"{shown(path)} has {len(content)} bytes, not {RECORDS * length}. {_FIX}")
    records = content.reshape(RECORDS, length)
    labels, images = records[:, 0], records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    if (labels >= len(CIFAR10_CLASSES)).any():
        raise ValueError(
            f"{shown(path)} holds the label {labels.max()}, which is not a class id. {_FIX}"
        )
    return images, labels


def read_mosaic(path: Path, count: int) -> np.ndarray:
    """Return the ``count`` tiles of a mosaic, uint8 (count, 3, 32, 32), row after row.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is damaged, or has the wrong size.
    """
    mosaic = read_image(path)
    rows = count // TILES_PER_ROW
    if mosaic.shape[1:] != (rows * SIDE, TILES_PER_ROW * SIDE):
        raise ValueError(
            f"{shown(path)} has {mosaic.shape[2]}x{mosaic.shape[1]} pixels, not "
            f"{TILES_PER_ROW * SIDE}x{rows * SIDE} ({count} tiles). Copy it again."
        )
    tiles = mosaic.reshape(3, rows, SIDE, TILES_PER_ROW, SIDE).transpose(1, 3, 0, 2, 4)
    return tiles.reshape(count, 3, SIDE, SIDE)


def _read_batches(folder: Path) -> Images:
    images, labels = zip(*(read_batch(folder / name) for name in BATCHES), strict=True)
    names = [f"{name.removesuffix('.bin')}_{i:04d}" for name in BATCHES for i in range(RECORDS)]
    is_test = np.repeat([name == "test_batch.bin" for name in BATCHES], RECORDS)
    return Images(tuple(names), np.concatenate(images), np.concatenate(labels), is_test)


def _read_mosaics(folder: Path) -> Images:
    names: list[str] = []
    images, labels, is_test = [], [], []
    for split, count in TILES.items():
        for label, name in enumerate(CIFAR10_CLASSES):
            images.append(read_mosaic(folder / f"{split}_{name}.jpg", count))
            names += [f"{split}_{name}_{i:04d}" for i in range(count)]
            labels.append(np.full(count, label, np.uint8))
            is_test.append(np.full(count, split == "test"))
    return Images(
        tuple(names), np.concatenate(images), np.concatenate(labels), np.concatenate(is_test)
    )


def get_cifar10(root: Path, progress: bool = True) -> list[Count]:
    """Download the binary files to ``cifar10`` below ``root`` if missing; return the file counts.

    An existing copy as 20 mosaics is only counted.
    """
    target = root / "cifar10"
    get_archive(ARCHIVE, "cifar-10-batches-bin", target, root, progress)
    if any(target.glob("*_airplane.jpg")):
        return [count_files(target, "train_*.jpg", 10), count_files(target, "test_*.jpg", 10)]
    return [
        count_files(target, "data_batch_[1-5].bin", 5), count_files(target, "test_batch.bin", 1)
    ]


DATASET = Dataset(
    name="cifar10",
    title="CIFAR-10",
    open=open_cifar10,
    place="cifar10",
    marks=(*BATCHES, "train_airplane.jpg"),
    cached=True,
    licence=TERMS,
    downloads={
        "cifar10": Download(
            "Download CIFAR-10, 60,000 images of 32x32, as plain bytes; unpack and count it "
            "(0.2 GB).",
            TERMS, get_cifar10,
        ),
    },
)
