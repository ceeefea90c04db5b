"""Labels of unlabelled images, scored by source and by region, against loops and other routes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.evaluation.predict import predict_logits
from semiseg_lib.experiments import evaluate_unlabelled, resolve
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.methods.losses import restrict
from semiseg_lib.methods.self_correcting.method import linear_correction
from semiseg_lib.recipes import load
from semiseg_lib.studies.label_scores import (
    ALPHAS,
    IN_BOXES,
    OUTLINE,
    at,
    label_scores,
    regions_of,
    wrong_shares,
)

SMOKE = load("smoke")


def mask(seed: int) -> np.ndarray:
    """Two rectangles with a rim of void."""
    drawn = np.zeros((20, 22), np.uint8)
    drawn[3:12, 2:10], drawn[4:11, 3:9] = VOID, 1
    drawn[8 + seed:19, 12:21], drawn[9 + seed:18, 13:20] = VOID, 2
    return drawn


BOXES = Boxes(np.array([[1, 1, 13, 14], [11, 6, 22, 20]], np.float32), np.array([1, 2], np.int64))


def test_regions_are_those_of_a_loop_and_cover_every_pixel_but_void():
    truth, regions = mask(0), regions_of(mask(0), BOXES)
    for row, column in np.ndindex(truth.shape):
        near = truth[max(row - OUTLINE, 0):row + OUTLINE + 1,
                     max(column - OUTLINE, 0):column + OUTLINE + 1]
        boxed = any(x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1
                    for x0, y0, x1, y1 in BOXES.coordinates)
        name = ("at outlines" if len(np.unique(near)) > 1 else
                "inside boxes" if boxed else "outside boxes")
        found = [key for key, region in regions.items() if region[row, column]]
        assert found == ([] if truth[row, column] == VOID else [name])
    assert all(region.any() for region in regions.values())
    assert not regions_of(truth, Boxes())["inside boxes"].any()


def test_wrong_shares_are_counted_pixel_by_pixel():
    truths = [mask(0), mask(1)]
    generator = np.random.default_rng(0)
    labels = [np.where(generator.random(one.shape) < 0.3, generator.integers(0, 3, one.shape), one)
              for one in truths]
    labels = [np.where(one == VOID, 0, one) for one in labels]
    regions = [regions_of(one, BOXES) for one in truths]
    found = wrong_shares(truths, labels, regions)
    for name in regions[0]:
        pixels = [(t, g) for truth, label, region in zip(truths, labels, regions, strict=True)
                  for t, g in zip(truth[region[name]], label[region[name]], strict=True)]
        assert found[name] == pytest.approx(100 * np.mean([t != g for t, g in pixels]))
    objects = [(t, g) for truth, label in zip(truths, labels, strict=True)
               for t, g in zip(truth.ravel(), label.ravel(), strict=True) if 0 < t < VOID]
    assert found["wrong class"] == pytest.approx(
        100 * np.mean([g > 0 and g != t for t, g in objects])
    )


def test_sources_score_as_the_labels_themselves(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    trained = resolve(story.primary(SMOKE, 3, story.UNCORRECTED), "cpu")
    data, scores = trained.data, label_scores(trained)
    own = predict_logits(trained.method, data.boxed).float()
    given = resolve(story.logits(SMOKE, 3), "cpu").read().float()
    allowed = data.boxed.with_fields("allowed").part(list(range(len(data.boxed)))).allowed
    sources = {"own": own, "given": given,
               **{at(alpha): linear_correction(own, given, alpha) for alpha in ALPHAS}}
    sources |= {name + IN_BOXES: restrict(logits, allowed) for name, logits in sources.items()}
    assert scores.keys() == sources.keys()
    for name, logits in sources.items():
        expected = 100 * evaluate_unlabelled(data, logits, data.boxed).mean_iou
        assert scores[name]["mIoU"] == pytest.approx(expected, abs=0.2)  # batches differ
    alone = label_scores(resolve(story.supervised(SMOKE, 3), "cpu"))
    assert alone.keys() == {"own", f"own{IN_BOXES}"}
    assert torch.isfinite(torch.tensor([*scores["own"].values()])).all()
