"""Who is labelled: every class is covered, the seed decides, no image is learnt and scored."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import pytest

from semiseg_lib.datasets.catalogue import Data, DataConfig
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.minivoc import Sizes
from semiseg_lib.datasets.splits import check_disjoint, choose_labelled, class_shares


def one_class_masks(*classes: int) -> list[np.ndarray]:
    """Masks of background and void with one pixel of a class each."""
    masks = [np.array([[0, 0], [VOID, label]], np.uint8) for label in classes]
    return masks


def test_the_chosen_cover_every_class_though_one_is_rare():
    masks = one_class_masks(*[1] * 20, *[2] * 20, 3)
    for seed in range(10):
        chosen = choose_labelled(masks, 6, 4, seed)
        assert len(set(chosen)) == 6 and chosen == sorted(chosen)
        assert {int(masks[i][1, 1]) for i in chosen} == {1, 2, 3}, "index 40 alone has class 3"


def test_masks_are_read_one_at_a_time_and_once():
    """The masks of a large dataset do not fit into memory."""
    stored, asked, alive = one_class_masks(*[1, 2] * 10), [], []

    class Lazy(Sequence):
        def __len__(self) -> int:
            return len(stored)

        def __getitem__(self, number: int) -> np.ndarray:
            if number >= len(stored):
                raise IndexError
            asked.append(number)
            mask = stored[number].copy()
            alive.append(weakref.ref(mask))
            assert sum(ref() is not None for ref in alive) <= 2
            return mask

    assert choose_labelled(Lazy(), 6, 3, 1) == choose_labelled(stored, 6, 3, 1)
    assert asked == list(range(20))


def test_the_seed_decides_who_is_labelled():
    masks = one_class_masks(*[1, 2] * 30)
    assert choose_labelled(masks, 8, 3, 5) == choose_labelled(masks, 8, 3, 5)
    assert len({tuple(choose_labelled(masks, 8, 3, seed)) for seed in range(6)}) == 6


def test_impossible_choices_say_why():
    with pytest.raises(ValueError, match="9 labelled images wanted, but only 2"):
        choose_labelled(one_class_masks(1, 1), 9, 2, 0)
    with pytest.raises(ValueError, match=r"class 3 occurs in 0 of 4\. Label more images"):
        choose_labelled(one_class_masks(1, 2, 1, 2), 3, 4, 0)


def test_a_image_that_is_learnt_and_scored_is_named():
    check_disjoint({"train": ["a", "b"], "unlabelled": ["c"], "val": ["d"]})
    with pytest.raises(ValueError, match=r"image b is in both 'train' and 'val'.*Take it out"):
        check_disjoint({"train": ["a", "b"], "unlabelled": ["c"], "val": ["d", "b"]})


def test_class_shares_leave_void_out():
    shares = class_shares(one_class_masks(1, 2), 4)
    assert shares.tolist() == pytest.approx([4 / 6, 1 / 6, 1 / 6, 0])


def test_the_data_refuse_a_leak_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    config = DataConfig(labelled=4, sizes=Sizes(labelled=20, unlabelled=2, val=2, test=2))
    data = Data(config, seed=0)
    lists = data.folder / "ImageSets" / "Segmentation"
    val = lists / "val.txt"
    unlabelled_name = (lists / "unlabelled.txt").read_text(encoding="utf-8").split()[0]
    val.write_text(val.read_text(encoding="utf-8") + unlabelled_name + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"{unlabelled_name} is in both 'unlabelled' and 'val'"):
        Data(config, seed=0)
