"""A tiny folder in VOC's layout, to be read whole or spoiled by a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.datasets.dataset import DatasetOptions, find
from semiseg_lib.datasets.labels import write_mask

CLASSES = ("background", "cat", "dog")
WIDTH, HEIGHT = 14, 10


@dataclass(frozen=True)
class VOCFolder:
    """A folder with the images ``one`` and ``two`` of 14x10 pixels."""

    path: Path
    classes: tuple[str, ...] = CLASSES

    def file(self, kind: str, name: str) -> Path:
        suffix = {"JPEGImages": "jpg", "Annotations": "xml"}.get(kind, "png")
        return self.path / kind / f"{name}.{suffix}"

    def write_list(self, image_set: str, text: str) -> Path:
        path = self.path / "ImageSets" / "Segmentation" / f"{image_set}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def write_boxes(self, name: str, *boxes: tuple) -> Path:
        """Write (class name, xmin, ymin, xmax, ymax) as they stand."""
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
            f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
            for label, a, b, c, d in boxes
        )
        path = self.file("Annotations", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<annotation>{objects}</annotation>", encoding="utf-8")
        return path


@dataclass(frozen=True)
class Asked:
    """A request that names no list, for a dataset's ``open``."""

    dataset: str
    candidates: str = ""
    unlabelled: str = ""
    val: str = ""
    test: str = ""
    keep: tuple[str, ...] = ()
    options: DatasetOptions = DatasetOptions()


@pytest.fixture
def ask() -> Callable[..., Asked]:
    """Make the request for a dataset, with its own options as they are by default."""
    return lambda dataset, **fields: Asked(
        dataset, **{"options": find(dataset).options(), **fields})


@pytest.fixture
def voc(tmp_path: Path) -> VOCFolder:
    folder = VOCFolder(tmp_path / "VOC2012")
    generator = np.random.default_rng(0)
    for name in ("one", "two"):
        image = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        path = folder.file("JPEGImages", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=95)
        mask = generator.choice([0, 1, 2, 255], (HEIGHT, WIDTH)).astype(np.uint8)
        write_mask(mask, folder.file("SegmentationClass", name))
        folder.write_boxes(name, ("cat", 2, 3, 5, 9), ("dog", 1, 1, WIDTH, HEIGHT))
    folder.write_list("train", "one\ntwo\n")
    return folder
