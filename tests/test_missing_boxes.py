"""Images without boxes: refused before anything is trained, or taken for what a reader says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from semiseg_lib import recipes
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.experiments import Machine, resolve
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.experiments.identity import need_boxes
from semiseg_lib.recipes import Profile

LISTS = {"labelled": range(4), "val": range(4, 6), "test": range(6, 8), "unlabelled": range(8, 12)}


def folder(root: Path, without_boxes: set[int] = frozenset(), classes: str = "ground") -> Path:
    """A folder of one's own, a disc on each image; some images have no file of boxes."""
    for name in ("images", "masks", "boxes"):
        (root / name).mkdir(parents=True)
    (root / "classes.txt").write_text(f"{classes}\ndisc\n", encoding="utf-8")
    rng = np.random.default_rng(0)
    for which, numbers in LISTS.items():
        (root / f"{which}.txt").write_text("".join(f"p{n}\n" for n in numbers), encoding="utf-8")
        for number in numbers:
            noise = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / "images" / f"p{number}.png")
            if which != "unlabelled":
                mask = np.zeros((40, 48), np.uint8)
                mask[10:20, 12:30] = 1
                Image.fromarray(mask).save(root / "masks" / f"p{number}.png")
            if number not in without_boxes:
                write_box(root / "boxes" / f"p{number}.xml")
    if not list((root / "boxes").iterdir()):
        (root / "boxes").rmdir()
    return root


def write_box(path: Path) -> None:
    annotation = ElementTree.Element("annotation")
    entry = ElementTree.SubElement(annotation, "object")
    ElementTree.SubElement(entry, "name").text = "disc"
    box = ElementTree.SubElement(entry, "bndbox")
    for side, edge in {"xmin": 13, "ymin": 11, "xmax": 30, "ymax": 20}.items():
        ElementTree.SubElement(box, side).text = str(edge)
    ElementTree.ElementTree(annotation).write(path)


def data_on(root: Path, **options) -> Data:
    return Data(DataConfig("folder", **options), 0, root)


def profile(**options) -> Profile:
    return replace(recipes.load("smoke", "folder"), data=DataConfig("folder", **options))


@pytest.mark.parametrize("number, words", [
    (1, "no boxes on 1 of its 4 labelled images, such as p1"),
    (5, "no boxes on 1 of its 2 val images, such as p5"),
    (6, "no boxes on 1 of its 2 test images, such as p6"),
])
def test_one_image_without_boxes_is_named_before_anything_is_trained(
    tmp_path, monkeypatch, number, words
):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    root = folder(tmp_path / "own", {number})
    for part in ("labelled", "unlabelled"):
        with pytest.raises(ValueError, match=words):
            need_boxes(data_on(root), part)
    for make in (story.ancillary, story.half_ancillary, story.logits, story.primary,
                 story.warm_primary, story.second_round):
        with pytest.raises(ValueError, match=words):
            resolve(make(profile(), 0), Machine("cpu", root))
    assert not (tmp_path / "work" / "runs").exists()
    need_boxes(data_on(root, unboxed="empty"), "unlabelled")


def test_unlabelled_images_without_boxes_are_left_to_methods_that_need_none(tmp_path):
    root = folder(tmp_path / "own", {8, 9})
    data = data_on(root)
    assert len(data.unlabelled) == 4 and data.boxed.names == ("p10", "p11")
    assert len(data_on(root, unboxed="empty").boxed) == 4
    need_boxes(data, "unlabelled")
    none = data_on(folder(tmp_path / "other", set(LISTS["unlabelled"])))
    need_boxes(none, "labelled")
    with pytest.raises(ValueError, match="no unlabelled images with boxes"):
        need_boxes(none, "unlabelled")


def test_a_primary_learns_from_the_unlabelled_images_with_boxes_alone(tmp_path, monkeypatch):
    """Those without have no part in it; a method that needs no boxes learns from them too."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    root = folder(tmp_path / "own", {8, 9})
    machine = Machine("cpu", root)
    small = replace(
        recipes.load("smoke"), data=DataConfig("folder"),
        augment=replace(recipes.load("smoke").augment, crop=32),
    )
    primary = resolve(story.primary(small, 0), machine)
    assert resolve(story.logits(small, 0), machine).names == ("p10", "p11")
    names = {role: images.names for role, images
             in primary.inputs.image_sets(primary.run).items()}
    assert names == {"labelled": ("p0", "p1", "p2", "p3"), "unlabelled": ("p10", "p11")}
    write_box(root / "boxes" / "p8.xml")
    other = resolve(story.primary(small, 0), machine)
    assert other.folder.path != primary.folder.path
    assert resolve(story.logits(small, 0), machine).names == ("p8", "p10", "p11")


@pytest.mark.parametrize("without", [set(range(12)), set(range(8)), set()])
def test_without_the_background_no_boxes_are_read_and_the_masks_still_are(tmp_path, without):
    """Channel 0 of the box maps means "outside every box"; masks alone do not need it."""
    root = folder(tmp_path / "own", without, classes="void\nground")
    # Ids move by one: the discs are ground here, and everything else is void's class 0.
    data = data_on(root, keep=("ground", "disc"))
    part = data.labelled.part([0])
    assert part.masks is not None and part.box_maps is None
    with pytest.raises(ValueError, match="the background must be the first class"):
        need_boxes(data, "labelled")
