"""Where real datasets differ from tidy ones: no boxes, odd names, lists that nobody reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from semiseg_lib.batches.weak_view import ViewConfig
from semiseg_lib.datasets.labels import write_mask
from semiseg_lib.batches.data import Data, DataConfig
from semiseg_lib.batches.loader import Loader

MINIVOC = DataConfig("minivoc", labelled=8, at_most=6)


def own_folder(root, masks: int, boxed: range):
    """Eight images whose names hold spaces, some with masks, some with boxes."""
    (root / "images").mkdir(parents=True)
    (root / "boxes").mkdir()
    (root / "classes.txt").write_text("background\ncat\n", encoding="utf-8")
    for i in range(8):
        image = Image.fromarray(np.full((32, 40, 3), 30 * i, np.uint8))
        image.save(root / f"images/my cat {i}.png")
        if i < masks:
            mask = np.zeros((32, 40), np.uint8)
            mask[4:20, 4:20] = 1
            write_mask(mask, root / f"masks/my cat {i}.png")
        if i in boxed:
            (root / f"boxes/my cat {i}.xml").write_text(
                "<annotation><object><name>cat</name><bndbox><xmin>5</xmin><ymin>5</ymin>"
                "<xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>", encoding="utf-8",
            )
    return root


def test_the_upper_bound_learns_from_labelled_and_unlabelled_images_in_one_batch():
    data = Data(MINIVOC, 5)
    loader = Loader(data.everything, None, 14, 0, ViewConfig(crop=32), seed=1)
    part = loader.batch(0).labelled
    assert set(part.names) == {*data.labelled.names, *data.unlabelled.names}
    assert part.masks.shape == (14, 32, 32) and part.box_maps is None


def test_without_boxes_the_same_views_are_drawn():
    data = Data(MINIVOC, 5)
    views = ViewConfig(crop=32)
    boxed = Loader(data.labelled, None, 4, 0, views, 1).batch(0).labelled
    bare = Loader(data.labelled.without_boxes(), None, 4, 0, views, 1).batch(0).labelled
    assert torch.equal(boxed.images, bare.images) and torch.equal(boxed.masks, bare.masks)
    assert boxed.box_maps is not None and bare.box_maps is None
    assert data.labelled.sample(0).boxes is not None  # the pool itself still reads them


def test_names_with_spaces_survive_the_drawn_list_and_a_written_one(tmp_path):
    root = own_folder(tmp_path / "own", masks=6, boxed=range(8))
    config = DataConfig("folder", labelled=2)
    for _ in range(2):  # drawn, then read back
        names = Data(config, 1, root).labelled.names
        assert len(names) == 2 and all(name.startswith("my cat ") for name in names)
    chosen = tmp_path / "mine.txt"
    chosen.write_text("\n".join(names) + "\n", encoding="utf-8")
    again = Data(replace(config, labelled=0, published=str(chosen)), 1, root)
    assert again.labelled.names == names


def test_an_ancillary_needs_boxes_wherever_it_is_trained_or_scored(tmp_path):
    everywhere = own_folder(tmp_path / "a", masks=6, boxed=range(8))
    assert Data(DataConfig("folder"), 1, everywhere).source.has_boxes
    lists = Data(DataConfig("folder"), 1, everywhere).names
    test = int(lists["test"][0].split()[-1])
    gaps = own_folder(tmp_path / "b", masks=6, boxed=[i for i in range(8) if i != test])
    assert not Data(DataConfig("folder"), 1, gaps).source.has_boxes


@pytest.mark.parametrize("config, field", [
    (replace(MINIVOC, unlabelled="val"), "unlabelled"), (DataConfig("folder", val="x"), "val"),
    (DataConfig("cityscapes", candidates="x"), "candidates"),
    (DataConfig("camvid", unlabelled="x"), "unlabelled"),
])
def test_a_list_that_a_dataset_does_not_read_is_refused(config, field, tmp_path):
    with pytest.raises(ValueError, match=rf"{config.dataset} takes no list .* data\.{field}"):
        Data(config, 1, tmp_path)


def test_boxes_need_the_background_to_be_kept():
    with pytest.raises(ValueError, match="must start with the background"):
        _ = Data(replace(MINIVOC, keep=("car", "tree")), 1).labelled
