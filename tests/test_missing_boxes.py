"""Images without boxes: refused before anything is trained, or taken for what a reader says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from semiseg_lib import profiles
from semiseg_lib.batches.data import Data, DataConfig
from semiseg_lib.launch import Machine
from semiseg_lib.stages import Pipeline

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


def pipeline_on(root: Path, **options) -> Pipeline:
    profile = replace(profiles.load("smoke", "folder"), data=DataConfig("folder", **options))
    return Pipeline(profile, 0, Machine("cpu", root))


@pytest.mark.parametrize("number, words", [
    (1, "no boxes on 1 of its 4 labelled images, such as p1"),
    (5, "no boxes on 1 of its 2 val images, such as p5"),
    (6, "no boxes on 1 of its 2 test images, such as p6"),
])
def test_one_image_without_boxes_is_named_before_anything_is_trained(tmp_path, number, words):
    root = folder(tmp_path / "own", {number})
    for part in ("labelled", "unlabelled"):
        with pytest.raises(ValueError, match=words):
            pipeline_on(root).need_boxes(part)
    pipeline_on(root, unboxed="empty").need_boxes("unlabelled")


def test_unlabelled_images_without_boxes_are_left_to_methods_that_need_none(tmp_path):
    root = folder(tmp_path / "own", {8, 9})
    data = Data(DataConfig("folder"), 0, root)
    assert len(data.unlabelled) == 4 and data.boxed.names == ("p10", "p11")
    assert len(Data(DataConfig("folder", unboxed="empty"), 0, root).boxed) == 4
    pipeline_on(root).need_boxes("unlabelled")
    none = folder(tmp_path / "other", set(LISTS["unlabelled"]))
    with pytest.raises(ValueError, match="no unlabelled images with boxes"):
        pipeline_on(none).need_boxes("unlabelled")


@pytest.mark.parametrize("without", [set(range(12)), set(range(8)), set()])
def test_without_the_background_no_boxes_are_read_and_the_masks_still_are(tmp_path, without):
    """Channel 0 of the box maps means "outside every box"; masks alone do not need it."""
    root = folder(tmp_path / "own", without, classes="void\nground")
    # Ids move by one: the discs are ground here, and everything else is void's class 0.
    pipeline = pipeline_on(root, keep=("ground", "disc"))
    part = pipeline.data.labelled.part([0])
    assert part.masks is not None and part.box_maps is None
    with pytest.raises(ValueError, match="the background must be the first class"):
        pipeline.need_boxes("labelled")
