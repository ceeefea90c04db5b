"""Box maps and allowed classes against a loop over pixels that knows nothing of slices."""

from __future__ import annotations

import numpy as np
import pytest

from semiseg_lib.batches.boxes import allowed_by_boxes, class_maps, covered_pixels, heat_map
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.batches.weak_view import View
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.minivoc import BoxStyle, MiniVOCOptions, Sizes
from semiseg_lib.datasets.sample import Boxes

SIZE = (11, 17)


def boxes_of(*rows: tuple[int, float, float, float, float]) -> Boxes:
    return Boxes(
        np.array([row[1:] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[0] for row in rows], np.int64),
    )


def maps_by_a_loop(boxes: Boxes, num_classes: int, size: tuple[int, int]) -> np.ndarray:
    maps = np.zeros((num_classes, *size), np.uint8)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = column + 0.5, row + 0.5
            for (x0, y0, x1, y1), label in zip(boxes.coordinates, boxes.classes, strict=True):
                if x0 <= x < x1 and y0 <= y < y1:
                    maps[label, row, column] = 1
            maps[0, row, column] = not maps[1:, row, column].any()
    return maps


def random_boxes(generator: np.random.Generator, whole: bool) -> Boxes:
    """Boxes at least a pixel wide, their sides on whole, half or odd fractions of a pixel."""
    height, width = SIZE
    rows = []
    for _ in range(generator.integers(1, 6)):
        x0, y0 = generator.uniform(0, width - 1), generator.uniform(0, height - 1)
        x1, y1 = generator.uniform(x0 + 1, width), generator.uniform(y0 + 1, height)
        sides = np.array([x0, y0, x1, y1])
        if whole:
            sides = np.round(sides)
        elif len(rows) % 2:
            sides = np.round(2 * sides) / 2
        rows.append((generator.integers(1, 5), *sides))
    return boxes_of(*rows)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "fractions"])
def test_class_maps_are_those_of_a_loop_over_pixels(whole):
    generator = np.random.default_rng(0)
    overlaps = 0
    for _ in range(30):
        boxes = random_boxes(generator, whole)
        maps, expected = class_maps(boxes, 5, SIZE), maps_by_a_loop(boxes, 5, SIZE)
        assert maps.dtype == np.uint8 and np.array_equal(maps, expected)
        assert np.array_equal(heat_map(boxes, SIZE)[0], 1 - expected[0])
        overlaps += int((expected[1:].sum(axis=0) > 1).any())
    assert overlaps > 5, "the boxes of different classes were meant to overlap"


def test_an_image_without_boxes_is_all_background():
    assert np.array_equal(class_maps(Boxes(), 3, SIZE)[0], np.ones(SIZE))
    assert not class_maps(Boxes(), 3, SIZE)[1:].any() and not heat_map(Boxes(), SIZE).any()


@pytest.mark.parametrize("low, high, pixel", [
    (3.6, 3.9, 4), (3.1, 3.4, 3), (4.0, 4.2, 4), (0.0, 0.1, 0), (9.9, 10.0, 9), (9.6, 9.7, 9),
])
def test_a_box_thinner_than_a_pixel_keeps_one(low, high, pixel):
    """Also where it lies at the far edge: 9.9 to 10 in an image of 10 pixels."""
    across = class_maps(boxes_of((1, low, 0, high, 10)), 2, (10, 10))
    down = class_maps(boxes_of((1, 0, low, 10, high)), 2, (10, 10))
    for maps in (across, down.swapaxes(1, 2)):
        columns = np.flatnonzero(maps[1].all(axis=0))
        assert len(columns) == 1 and maps[1].sum() == 10, "one column of pixels, and no other"
        assert abs(columns[0] - pixel) <= 1 and maps[0].sum() == 90


def test_a_box_on_one_pixel_marks_that_pixel():
    maps = class_maps(boxes_of((2, 3, 2, 4, 3)), 3, SIZE)
    assert np.argwhere(maps[2]).tolist() == [[2, 3]] and not maps[1].any()


def test_a_box_of_the_background_is_refused():
    with pytest.raises(ValueError, match="box of class 0"):
        boxes_of((0, 0, 0, 2, 2))


@pytest.mark.parametrize("size", [1, 7, 10])
def test_covered_pixels_are_those_whose_centres_lie_between(size):
    """One at least, and always within the image."""
    for low, high in np.random.default_rng(0).uniform(-1, size + 1, (500, 2)):
        low, high = np.clip(sorted((low, high)), 0, size)
        found = list(range(size))[covered_pixels(low, high, size)]
        expected = [pixel for pixel in range(size) if low <= pixel + 0.5 < high]
        assert found == expected if expected else len(found) == 1


# Allowed classes


def allowed_by_a_loop(boxes, boxed, unboxed, size) -> np.ndarray:
    allowed = np.zeros((len(boxed), *size), bool)
    for label in range(len(boxed)):
        for row in range(size[0]):
            for column in range(size[1]):
                if not boxed[label]:
                    possible = True
                elif boxes is None:
                    possible = unboxed == "unknown"
                else:
                    possible = any(
                        kind == label and x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1
                        for (x0, y0, x1, y1), kind in
                        zip(boxes.coordinates, boxes.classes, strict=True)
                    )
                allowed[label, row, column] = possible
    return allowed


@pytest.mark.parametrize("boxed", [
    [False, True, True, True, True],   # a background and objects
    [False, False, True, True, False],  # stuff beside things, as in Cityscapes
    [False] * 5,
], ids=["objects", "things", "none"])
@pytest.mark.parametrize("unboxed", ["unknown", "empty"])
def test_a_boxed_class_is_allowed_in_its_boxes_and_the_others_everywhere(boxed, unboxed):
    boxed, generator = np.array(boxed), np.random.default_rng(4)
    for boxes in (None, Boxes(), *(random_boxes(generator, False) for _ in range(8))):
        allowed = View.whole(SIZE).allowed(allowed_by_boxes(boxes, boxed, unboxed))
        assert allowed.dtype == bool
        np.testing.assert_array_equal(allowed, allowed_by_a_loop(boxes, boxed, unboxed, SIZE))


def test_an_image_that_nobody_looked_through_allows_anything_or_no_object():
    boxed = np.array([False, True, False, True])
    whole = View.whole(SIZE)
    assert whole.allowed(allowed_by_boxes(None, boxed)).all()
    empty = whole.allowed(allowed_by_boxes(None, boxed, "empty"))
    assert empty[[0, 2]].all() and not empty[[1, 3]].any()
    looked_through = whole.allowed(allowed_by_boxes(Boxes(), boxed, "unknown"))
    np.testing.assert_array_equal(looked_through, empty)


def test_padding_allows_every_class():
    boxed = np.array([False, True, True])
    view = View((10, 10), (10, 10), -3, 4, (12, 12))
    allowed = view.allowed(allowed_by_boxes(boxes_of((1, 0, 0, 10, 10)), boxed))
    assert allowed[:, ~view.inside()].all()
    assert allowed[:2].all() and not allowed[2, view.inside()].any()


SMALL = Sizes(labelled=20, unlabelled=40, val=4, test=4)


def drawn(world: str, style: BoxStyle | None, unboxed: str = "unknown") -> tuple:
    """The unlabelled images of a mini-VOC, their allowed classes, and their hidden masks."""
    options = MiniVOCOptions(world, SMALL, unlabelled_boxes=style)
    data = Data(DataConfig("minivoc", unboxed=unboxed, options=options), 0)
    part = data.unlabelled.with_fields("allowed").part(range(40))
    return part, np.asarray(data.unlabelled_truth)


def violations(part, truth: np.ndarray) -> np.ndarray:
    """Which pixels have a class that their label does not allow, bool (N, H, W)."""
    known = truth != VOID
    chosen = np.where(known, truth, 0)[:, None].astype(np.int64)
    return known & ~np.take_along_axis(part.allowed.numpy(), chosen, axis=1)[:, 0]


@pytest.mark.parametrize("world", ["harder", "hurried"])
def test_tight_boxes_allow_the_truth_and_loose_ones_more(world):
    tight, truth = drawn(world, BoxStyle())
    loose, same = drawn(world, BoxStyle(loose=(0.2, 0.5)))
    np.testing.assert_array_equal(truth, same)
    assert tight.box_maps is None and (truth != 0).any()
    assert not violations(tight, truth).any() and not violations(loose, truth).any()
    assert (loose.allowed >= tight.allowed).all()
    assert loose.allowed[:, 1:].sum() > 1.5 * tight.allowed[:, 1:].sum()
    assert not tight.allowed[:, 1:].all() and tight.allowed[:, 0].all()


def test_missed_boxes_forbid_the_truth_there_and_nowhere_else():
    missed, truth = drawn("hurried", BoxStyle(missed=0.5))
    tight, _ = drawn("hurried", BoxStyle())
    wrong = violations(missed, truth)
    assert 0.2 < wrong.any(axis=(1, 2)).mean() < 0.95
    assert (truth[wrong] > 0).all(), "the background is always allowed"
    assert (missed.allowed <= tight.allowed).all()
    every_box, _ = drawn("hurried", BoxStyle(missed=1.0))
    assert not every_box.allowed[:, 1:].any()
    np.testing.assert_array_equal(violations(every_box, truth), (truth > 0) & (truth != VOID))


def test_a_class_with_a_crowd_is_possible_everywhere():
    """The objects of a crowd have no boxes of their own."""
    boxed = np.array([False, True, True])
    boxes = Boxes(np.array([[0, 0, 2, 2]], np.float32), np.array([1]), crowds=(2,))
    assert allowed_by_boxes(boxes, boxed).everywhere.tolist() == [True, False, True]
