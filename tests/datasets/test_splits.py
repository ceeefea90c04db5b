"""Who is labelled: every class is covered, the seed decides, no image is learnt and scored."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import pytest

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.splits import (
    check_disjoint,
    choose_labelled,
    class_shares,
    sample_evenly,
)


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


def one_class_each(*classes: int) -> list[np.ndarray]:
    """Masks that show one class, one of them with a rim of void."""
    masks = [np.full((2, 2), label, np.uint8) for label in classes]
    masks[0][0] = VOID
    return masks


def test_where_every_image_shows_one_class_the_classes_take_turns():
    classes = [0] * 30 + [1] * 3 + [2] * 20
    masks = one_class_each(*classes)
    for seed in range(5):
        chosen = choose_labelled(masks, 9, 3, seed)
        assert np.bincount([classes[i] for i in chosen]).tolist() == [3, 3, 3]
        assert chosen == sorted(set(chosen)) == choose_labelled(masks, 9, 3, seed)
        drawn = sample_evenly(np.array(classes), 9, np.random.default_rng([seed, 77]))
        assert chosen == drawn.tolist()
    assert len({tuple(choose_labelled(masks, 9, 3, seed)) for seed in range(5)}) == 5
    with pytest.raises(ValueError, match="2 labelled images of one class each cannot cover all 3"):
        choose_labelled(masks, 2, 3, 0)
    with pytest.raises(ValueError, match=r"class 3 occurs in 0 of 53\. Label more images"):
        choose_labelled(masks, 9, 4, 0)


def test_one_image_of_two_classes_is_enough_for_the_draw_at_random():
    """The draws are those of before there were images of one class each."""
    masks = [*one_class_each(*[0] * 10, *[1] * 10), np.array([[0, 1]], np.uint8)]
    for seed in range(5):
        generator = np.random.default_rng([seed, 77])
        chosen = np.sort(generator.choice(21, size=6, replace=False))
        while len({int(value) for i in chosen for value in masks[i].ravel()} - {VOID}) < 2:
            chosen = np.sort(generator.choice(21, size=6, replace=False))
        assert choose_labelled(masks, 6, 2, seed) == chosen.tolist()


def test_the_classes_take_turns():
    labels = np.repeat([0, 1, 2], [50, 3, 20]).astype(np.uint8)

    def drawn(count, seed):
        chosen = sample_evenly(labels, count, np.random.default_rng(seed))
        assert len(set(chosen)) == len(chosen) and (np.diff(chosen) > 0).all()
        return np.bincount(labels[chosen], minlength=3).tolist()

    assert drawn(9, 0) == [3, 3, 3] and drawn(15, 0) == [6, 3, 6] and drawn(73, 0) == [50, 3, 20]
    assert drawn(100, 0) == [50, 3, 20] and drawn(0, 0) == [0, 0, 0]
    # Of four images some class has two, and which one is drawn.
    assert {tuple(drawn(4, seed)) for seed in range(20)} == {(2, 1, 1), (1, 2, 1), (1, 1, 2)}
