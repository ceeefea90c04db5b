"""The reader of CIFAR-10: the original binary files, or mosaics of one split and class each.

::

    cifar10/data_batch_1.bin ... data_batch_5.bin  test_batch.bin      10,000 records of 3,073 bytes
    cifar10/train_airplane.jpg ... test_truck.jpg                      tiles of 32x32, 100 a row

A record is a class (one byte) and 32x32 red, green and blue values. The pickles of the Python form
are never opened: a pickle can run code. Mosaics are JPEGs, so scores on them are not quite those on
the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from semiseg_lib.datasets.labels import read_image

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)
BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
RECORDS = 10_000  # in each of the binary files
SIDE, TILES_A_ROW = 32, 100
TILES = {"train": 5_000, "test": 1_000}  # in each mosaic
_MEND = "Fetch it again (semiseg data cifar10)."


@dataclass(frozen=True)
class Images:
    """Images of one class each.

    Attributes:
        names: N names.
        images: uint8 (N, 3, H, W).
        labels: uint8 (N,) class ids.
        is_test: bool (N,), the dataset's own test images.
    """

    names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    is_test: np.ndarray


def find_cifar10(root: Path | None) -> Path:
    """The folder ``cifar10`` below ``root``, or ``root`` where the files lie right there.

    Raises:
        FileNotFoundError: there are neither binary files nor mosaics.
    """
    folders = [] if root is None else [Path(root) / "cifar10", Path(root)]
    for folder in folders:
        if any((folder / name).is_file() for name in (*BATCHES, "train_airplane.jpg")):
            return folder.resolve()
    where = "no folder was named" if root is None else f"{root} holds no cifar10"
    raise FileNotFoundError(
        f"CIFAR-10 is not there: {where} with its binary files (data_batch_1.bin ...; pickles are "
        "not opened). Pass --root, or set SEMISEG_DATA to the folder that holds it; "
        "`semiseg data cifar10` gets it."
    )


@lru_cache(maxsize=1)
def read_cifar10(folder: Path) -> Images:
    """All 60,000 images; 185 MB, kept for the next call.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.
    """
    mosaics = not any((folder / name).is_file() for name in BATCHES)
    return _read_mosaics(folder) if mosaics else _read_batches(folder)


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One binary file: images uint8 (10000, 3, 32, 32) and labels uint8 (10000,).

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it has another length, or a label that is no class.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {_MEND}")
    length = 1 + 3 * SIDE * SIDE
    content = np.fromfile(path, np.uint8)
    if len(content) != RECORDS * length:
        raise ValueError(f"{path} has {len(content)} bytes, not {RECORDS * length}. {_MEND}")
    records = content.reshape(RECORDS, length)
    labels, images = records[:, 0], records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    if (labels >= len(CIFAR10_CLASSES)).any():
        raise ValueError(f"{path} holds the label {labels.max()}, which is no class. {_MEND}")
    return images, labels


def read_mosaic(path: Path, count: int) -> np.ndarray:
    """The ``count`` tiles of a mosaic, uint8 (count, 3, 32, 32), row after row.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged, or of another size.
    """
    mosaic = read_image(path)
    rows = count // TILES_A_ROW
    if mosaic.shape[1:] != (rows * SIDE, TILES_A_ROW * SIDE):
        raise ValueError(
            f"{path} has {mosaic.shape[2]}x{mosaic.shape[1]} pixels, not "
            f"{TILES_A_ROW * SIDE}x{rows * SIDE} ({count} tiles). Copy it again."
        )
    tiles = mosaic.reshape(3, rows, SIDE, TILES_A_ROW, SIDE).transpose(1, 3, 0, 2, 4)
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
