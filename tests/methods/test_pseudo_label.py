"""Which pixels of a teacher's label are kept: against counting them one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semiseg_lib import methods
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import PseudoLabelConfig, SupervisedConfig
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.methods.pseudo_label.method import (
    LEVELS,
    balanced_thresholds,
    class_thresholds,
    select,
)
from semiseg_lib.models import ModelConfig

CLASSES = 4


def probabilities(images: int = 3, size=(11, 13), seed: int = 0, absent: int | None = None):
    """Of some images, softmax of noise; ``absent`` is never the most likely class."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, CLASSES, *size, generator=generator)
    if absent is not None:
        logits[:, absent] = -9.0
    return list(logits.softmax(dim=1))


def by_class(images) -> dict[int, list[float]]:
    """The confidence of every pixel, by its most likely class."""
    found: dict[int, list[float]] = {c: [] for c in range(CLASSES)}
    for one in images:
        for row, column in np.ndindex(*one.shape[1:]):
            values = one[:, row, column].tolist()
            best = max(range(CLASSES), key=values.__getitem__)
            found[best].append(values[best])
    return found


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.73, 0.99, 1.0])
def test_balanced_thresholds_keep_the_share_and_one_step_more_would_not(share):
    images = probabilities()
    thresholds = balanced_thresholds(images, CLASSES, share)
    assert thresholds.shape == (CLASSES,) and thresholds.dtype == torch.float64
    for number, confidence in by_class(images).items():
        threshold = thresholds[number].item()
        kept = sum(value >= threshold for value in confidence)
        assert kept >= share * len(confidence)
        step = round(threshold * LEVELS)
        higher = (step + 1) / LEVELS
        assert higher > 1 or sum(value >= higher for value in confidence) < share * len(confidence)
        assert threshold == pytest.approx(step / LEVELS, abs=1e-12)


def test_a_class_that_nobody_takes_has_a_threshold_and_breaks_nothing():
    images = probabilities(absent=2)
    thresholds = balanced_thresholds(images, CLASSES, 0.5)
    assert torch.isfinite(thresholds).all() and ((thresholds >= 0) & (thresholds <= 1)).all()
    others = balanced_thresholds(images, CLASSES, 0.5)[[0, 1, 3]]
    for number, threshold in zip((0, 1, 3), others, strict=True):
        confidence = by_class(images)[number]
        assert sum(value >= threshold for value in confidence) >= 0.5 * len(confidence)
    assert not any((select(one, thresholds) == 2).any() for one in images)


def test_half_of_each_class_is_kept_where_one_threshold_would_drop_a_class():
    """Images of one sure and one unsure class: confidence alone keeps the sure one."""
    sure = torch.linspace(0.91, 0.99, 200)
    unsure = torch.linspace(0.51, 0.59, 100)
    first = torch.cat([sure, 1 - unsure])
    image = torch.stack([first, 1 - first]).view(2, 15, 20)
    counts = {}
    for keep in ("all", "confident", "balanced"):
        selection = Selection(keep, threshold=0.9, share=0.5)
        label = select(image, class_thresholds(selection, [image], 2))
        counts[keep] = [int((label == c).sum()) for c in (0, 1, VOID)]
    assert counts["all"] == [200, 100, 0] and counts["confident"] == [200, 0, 100]
    kept = counts["balanced"]
    assert 100 <= kept[0] <= 103 and 50 <= kept[1] <= 57 and sum(kept) == 300


def test_a_label_is_the_most_likely_class_or_void_pixel_by_pixel():
    (image,) = probabilities(1)
    thresholds = torch.tensor([0.3, 0.6, 0.9, 0.0], dtype=torch.float64)
    label = select(image, thresholds)
    assert label.dtype == np.uint8 and label.shape == (11, 13)
    for row, column in np.ndindex(11, 13):
        values = image[:, row, column].tolist()
        best = max(range(CLASSES), key=values.__getitem__)
        expected = best if values[best] >= thresholds[best].item() else VOID
        assert label[row, column] == expected
    assert 0 < (label == VOID).sum() < label.size


def test_a_pixel_at_the_threshold_is_kept():
    image = torch.tensor([0.75, 0.25]).view(2, 1, 1)
    assert select(image, torch.tensor([0.75, 0.0], dtype=torch.float64)) == [[0]]
    assert select(image, torch.tensor([0.7500001, 0.0], dtype=torch.float64)) == [[VOID]]


def test_all_keeps_every_pixel_and_reads_no_image_for_it():
    def never():
        raise AssertionError("only `balanced` needs all images")
        yield

    for selection in (Selection(), Selection("confident", threshold=0.0)):
        thresholds = class_thresholds(selection, never(), CLASSES)
        for one in probabilities():
            label = select(one, thresholds)
            np.testing.assert_array_equal(label, one.argmax(dim=0).numpy())
    flat = torch.full((CLASSES, 2, 2), 1 / CLASSES)
    assert (select(flat, class_thresholds(Selection(), [], CLASSES)) != VOID).all()


@pytest.mark.parametrize("options", [{"threshold": 1.5}, {"share": -0.1}], ids=repr)
def test_selections_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=f"selection.{next(iter(options))} is"):
        Selection(**options)


@pytest.mark.parametrize("stage", ["pretrain", "fine-tune"])
def test_a_student_learns_as_one_with_masks_alone_does(stage, make_batch):
    """Bit by bit: what is pseudo about it is in the labels."""
    losses = []
    for config in (PseudoLabelConfig(stage), SupervisedConfig()):
        torch.manual_seed(0)
        method = methods.build(config, ModelConfig(width=4), 3).train()
        assert method.learns_from(config) == {"labelled"}
        losses.append(method.losses(make_batch(), 0.5))
    assert losses[0].keys() == {"labelled"} and torch.equal(*(one["labelled"] for one in losses))
