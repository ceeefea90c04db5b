"""Labels drawn from boxes: filled ones against a loop, GrabCut against a known shape."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from semiseg_lib.batches.box_labels import as_logits, drawn_labels
from semiseg_lib.datasets.sample import Boxes, Sample

BOXES = Boxes(np.array([[4, 6, 12, 14], [2.4, 3, 18, 17], [10, 9, 16.5, 30]], np.float32),
              np.array([1, 2, 3], np.int64))


def sample(image: np.ndarray, boxes: Boxes | None) -> Sample:
    return Sample(name="drawn", image=np.moveaxis(image, -1, 0), mask=None, boxes=boxes)


def test_filled_labels_are_the_smallest_box_over_each_pixel():
    labels = drawn_labels(sample(np.zeros((20, 24, 3), np.uint8), BOXES), "filled")
    for row, column in np.ndindex(20, 24):
        over = [
            ((x1 - x0) * (y1 - y0), label)
            for (x0, y0, x1, y1), label in zip(BOXES.coordinates, BOXES.classes, strict=True)
            if x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1
        ]
        assert labels[row, column] == (min(over)[1] if over else 0)


def test_grabcut_finds_the_shape_within_a_loose_box():
    image = np.random.default_rng(0).integers(60, 90, (40, 40, 3)).astype(np.uint8)
    rows, columns = np.mgrid[:40, :40]
    disc = (rows - 20) ** 2 + (columns - 18) ** 2 <= 81
    image[disc] = np.random.default_rng(1).integers(170, 200, (disc.sum(), 3))
    loose = Boxes(np.array([[3, 5, 33, 36]], np.float32), np.array([2], np.int64))
    labels = drawn_labels(sample(image, loose), "grabcut")
    assert np.array_equal(labels, 2 * disc)
    assert np.array_equal(drawn_labels(sample(image, loose), "grabcut"), labels)
    whole = Boxes(np.array([[0, 0, 40, 40]], np.float32), np.array([1], np.int64))
    assert (drawn_labels(sample(image, whole), "grabcut") == 1).all()
    for rule in ("filled", "grabcut"):
        for boxes in (None, Boxes()):
            assert not drawn_labels(sample(image, boxes), rule).any()


def test_without_opencv_the_message_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    image = np.zeros((20, 24, 3), np.uint8)
    with pytest.raises(ImportError, match="pip install opencv-python-headless"):
        drawn_labels(sample(image, BOXES), "grabcut")


def test_logits_of_drawn_labels_are_the_shares_of_each_cell():
    labels = np.random.default_rng(0).integers(0, 4, (6, 7)).astype(np.uint8)
    found = as_logits(labels, 4, stride=2, sure=0.9).softmax(dim=0)
    assert found.shape == (4, 3, 4)
    for row, column in np.ndindex(3, 4):
        cell = labels[2 * row:2 * row + 2, 2 * column:2 * column + 2].ravel()
        expected = [0.9 * np.mean(cell == label) + 0.1 / 4 for label in range(4)]
        np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-6)
    assert torch.equal(as_logits(labels, 4, 1, 0.9).argmax(dim=0), torch.from_numpy(labels).long())
