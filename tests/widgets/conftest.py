"""Small inputs for every widget."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.evaluation.confidence import confidence_counts
from semiseg_lib.notebook.widgets import (
    AlphaExplorer,
    CutMixSampler,
    PseudoLabelBrowser,
    ThresholdExplorer,
)

CLASSES = ("background", "balloon", "car")


@pytest.fixture(scope="session")
def given():
    """Arguments of the widgets: pictures of 24 x 32 pixels, logits at a quarter of that."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 3, 24, 32), dtype=np.uint8)
    rough = torch.from_numpy(rng.normal(0, 4, (3, 3, 3, 4)))
    logits = interpolate(rough, (6, 8), mode="bicubic").half()
    logits[1] = torch.tensor([0.0, 0.0, -3e4])[:, None, None]  # a confidence of exactly one half
    truth = interpolate(rough + torch.from_numpy(rng.normal(0, 2, rough.shape)), (24, 32))
    truth = truth.argmax(1).numpy().astype(np.uint8)
    truth[:, 4:6] = VOID
    labels = {
        name: np.where(rng.random(truth.shape) < kept, rng.integers(0, 3, truth.shape), VOID)
        .astype(np.uint8) for name, kept in (("round 1", 1.0), ("round 2", 0.6), ("round 3", 0.3))
    }
    labels["round 3"][2] = VOID  # a picture of which nothing is kept
    masks = {name: rng.random((5, 24, 32)) < share for name, share in
             (("one box", 0.2), ("three boxes, XOR", 0.5))}
    return SimpleNamespace(pictures=pictures, logits=logits, truth=truth, labels=labels,
                           masks=masks, classes=CLASSES,
                           counts=confidence_counts(logits, truth, CLASSES))


@pytest.fixture
def widgets(given):
    """One of each, by its root class."""
    box = Boxes(np.array([[2, 3, 9, 8]], np.float32), np.array([1]))
    made = (
        ThresholdExplorer(given.pictures, given.logits, given.truth, given.counts, CLASSES),
        PseudoLabelBrowser(given.pictures, given.labels, given.truth, CLASSES),
        CutMixSampler(given.pictures, given.masks),
        AlphaExplorer(given.pictures, [box] * 3, given.logits, -given.logits, CLASSES, given.truth),
    )
    return {widget.root_class: widget for widget in made}
