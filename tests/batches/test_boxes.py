"""Box maps against a loop over pixels that knows nothing of slices."""

from __future__ import annotations

import numpy as np
import pytest

from semiseg_lib.batches.boxes import class_maps, heat_map
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


def test_a_image_without_boxes_is_all_background():
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
