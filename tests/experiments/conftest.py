"""A small folder of one's own on disk, and profiles that train on it in a moment."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.batches.options import DataConfig, ViewConfig
from semiseg_lib.datasets.labels import write_mask
from semiseg_lib.experiments import Machine, training
from semiseg_lib.recipes import Profile, load
from semiseg_lib.training.options import TrainConfig

LISTS = {
    "labelled": range(4), "unlabelled": range(4, 8), "val": range(8, 10), "test": range(10, 12),
}
SIDE = 32


def draw(root: Path) -> None:
    """Twelve images with a mask and boxes each: a cat on the left, a dog on the right."""
    (root / "images").mkdir(parents=True)
    (root / "boxes").mkdir()
    (root / "classes.txt").write_text("background\ncat\ndog\n", encoding="utf-8")
    for number in range(12):
        rng = np.random.default_rng(number)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        annotation = ElementTree.Element("annotation")
        for label, name in enumerate(("cat", "dog"), 1):
            top, left = (int(one) for one in rng.integers(2, 6, 2) + [0, (label - 1) * 14])
            mask[top:top + 12, left:left + 9] = label
            entry = ElementTree.SubElement(annotation, "object")
            ElementTree.SubElement(entry, "name").text = name
            box = ElementTree.SubElement(entry, "bndbox")
            edges = {"xmin": left + 1, "ymin": top + 1, "xmax": left + 9, "ymax": top + 12}
            for side, edge in edges.items():
                ElementTree.SubElement(box, side).text = str(edge)
        colours = np.stack([90 * mask, 60 + 0 * mask, 180 - 60 * mask], axis=-1)
        noise = rng.integers(0, 50, colours.shape, dtype=np.uint8)
        Image.fromarray(colours + noise).save(root / "images" / f"p{number}.png")
        write_mask(mask, root / "masks" / f"p{number}.png")
        ElementTree.ElementTree(annotation).write(root / "boxes" / f"p{number}.xml")
    for name, numbers in LISTS.items():
        text = "".join(f"p{number}\n" for number in numbers)
        (root / f"{name}.txt").write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """The folder, not to be changed."""
    root = tmp_path_factory.mktemp("drawn") / "own"
    draw(root)
    return root


@pytest.fixture
def own(drawn, tmp_path) -> Path:
    """A copy of the folder, to be changed."""
    shutil.copytree(drawn, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A work folder of its own, with nothing in it, and no shared ones."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    monkeypatch.delenv("SEMISEG_SHARED", raising=False)
    monkeypatch.delenv("SEMISEG_DATA", raising=False)
    return tmp_path / "work"


@pytest.fixture
def machine(own) -> Machine:
    """The CPU, with the folder that may be changed."""
    return Machine("cpu", own)


def tiny_profile(validate_every: int = 0) -> Profile:
    """The smoke profile for the folder; every training has four steps."""
    alone = TrainConfig(
        steps=4, batch_labelled=4, batch_unlabelled=0, log_every=2, validate_every=validate_every
    )
    both = replace(alone, batch_labelled=2, batch_unlabelled=2)
    smoke = load("smoke")
    return replace(
        smoke, data=DataConfig("folder"), augment=ViewConfig(shift=4, border="mirror"),
        train_supervised=alone, train_ancillary=alone, train_start=alone, train_primary=both,
        train_unlabelled=both, rounds=replace(smoke.rounds, pretrain=alone, finetune=alone),
    )


@pytest.fixture
def tiny() -> Profile:
    """A profile whose runs are not validated."""
    return tiny_profile()


@pytest.fixture
def scored() -> Profile:
    """The same profile with a score after the second step and at the end."""
    return tiny_profile(validate_every=2)


@pytest.fixture
def trainings(monkeypatch) -> list[str]:
    """The folders that were trained in meanwhile."""
    seen, fit = [], training.fit

    def noted(method, loader, config, folder, *rest, **options):
        seen.append(folder.path.name)
        return fit(method, loader, config, folder, *rest, **options)

    monkeypatch.setattr(training, "fit", noted)
    return seen


def repaint(path: Path) -> None:
    """Change one pixel of an image."""
    with Image.open(path) as image:
        pixels = np.array(image)
    pixels[16, 16] ^= 255
    Image.fromarray(pixels).save(path)


def relabel(path: Path) -> None:
    """Change one pixel of a mask."""
    with Image.open(path) as image:
        mask = np.array(image)
    mask[16, 16] = (mask[16, 16] + 1) % 3
    write_mask(mask, path)


def rebox(path: Path) -> None:
    """Move a side of a box."""
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<ymin>", "<ymin>1", 1), encoding="utf-8")


def reverse(path: Path) -> None:
    """Turn a list round."""
    lines = path.read_text(encoding="utf-8").split()
    path.write_text("\n".join(lines[::-1]) + "\n", encoding="utf-8")


@pytest.fixture
def change() -> Callable[[Path], None]:
    """Change a file of the folder a little, whatever it is."""
    def changed(path: Path) -> None:
        kind = "classes" if path.stem == "classes" else path.parent.name
        {"images": repaint, "masks": relabel, "boxes": rebox, "classes": rename}.get(
            kind, reverse
        )(path)

    return changed


def rename(path: Path) -> None:
    """Give the last class another name, in the boxes too."""
    path.write_text("background\ncat\nwolf\n", encoding="utf-8")
    for boxes in (path.parent / "boxes").iterdir():
        text = boxes.read_text(encoding="utf-8")
        boxes.write_text(text.replace(">dog<", ">wolf<"), encoding="utf-8")
