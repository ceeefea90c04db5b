"""Scores of the labels of unlabelled images: of each source, and by the region of the image.

The sources are the labels that a primary was *given*, its *own* predictions, and their linear
mixtures at several alpha; each as it is and within what the boxes allow. So a mixture can be held
against both of its parents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from scipy.ndimage import maximum_filter, minimum_filter

from semiseg_lib.batches.boxes import class_maps
from semiseg_lib.batches.part import required
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.evaluation.metrics import Evaluation
from semiseg_lib.evaluation.predict import logits_of
from semiseg_lib.experiments import Trained, resolve
from semiseg_lib.experiments.labels import most_likely_classes
from semiseg_lib.methods.losses import restrict
from semiseg_lib.methods.self_correcting.method import linear_correction

ALPHAS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0)
"""Weights of the given labels in the mixtures."""
OUTLINE = 2
"""A pixel lies at an outline if another class is within this many pixels."""
IN_BOXES = ", in boxes"
"""Suffix of a source whose labels keep to the boxes."""

LabelScores = dict[str, dict[str, float]]
"""``{source: {score: percent}}``; the scores are ``mIoU`` and those of :func:`wrong_shares`."""


def at(alpha: float) -> str:
    """Return the name of the mixture with the weight ``alpha``."""
    return f"α {alpha:g}"


def label_scores(trained: Trained) -> LabelScores:
    """Return the scores of every source of labels of the unlabelled images with boxes, in percent.

    A run that learnt from stored logits has the sources ``given``, ``own`` and their mixtures; any
    other run has ``own`` alone. Hidden masks are read for this measurement only.

    Args:
        trained: the run.
    """
    images = trained.data.boxed
    truths = list(trained.data.truth_of(images))
    regions = [
        regions_of(truth, images.sample(i).boxes or Boxes()) for i, truth in enumerate(truths)
    ]
    labels: dict[str, list[np.ndarray]] = {}
    for truth, sources in zip(truths, _sources(trained), strict=True):
        for name, logits in sources.items():
            labels.setdefault(name, []).append(most_likely_classes(logits, truth.shape))
    return {
        name: {
            "mIoU": 100 * Evaluation.of(
                zip(truths, found, strict=True), trained.data.classes
            ).mean_iou,
            **wrong_shares(truths, found, regions),
        }
        for name, found in labels.items()
    }


def regions_of(truth: np.ndarray, boxes: Boxes) -> dict[str, np.ndarray]:
    """Return where the regions of an image lie, bool (H, W) each; they cover all but void.

    Args:
        truth: the mask (H, W), 255 = void. Void counts as another class, so the pixels beside a
            rim of void lie at an outline.
        boxes: of the image, as they were drawn.
    """
    side = 2 * OUTLINE + 1
    outline = maximum_filter(truth, side) != minimum_filter(truth, side)
    outside = class_maps(boxes, max([0, *boxes.classes]) + 1, truth.shape)[0] > 0
    known = truth != VOID
    return {"at outlines": known & outline, "inside boxes": known & ~outline & ~outside,
            "outside boxes": known & ~outline & outside}


def wrong_shares(
    truths: Sequence[np.ndarray], labels: Sequence[np.ndarray],
    regions: Sequence[Mapping[str, np.ndarray]],
) -> dict[str, float]:
    """Return the wrong pixels in percent of each region, and the objects' pixels of a wrong class.

    ``wrong class`` is the share of the pixels of objects that are labelled as another object.

    Args:
        truths: masks (H, W), 255 = void.
        labels: label maps of the same sizes.
        regions: of the same images; see :func:`regions_of`.
    """
    wrong = [truth != label for truth, label in zip(truths, labels, strict=True)]
    objects = [(truth != VOID) & (truth > 0) for truth in truths]
    renamed = [one & error & (label > 0)
               for one, error, label in zip(objects, wrong, labels, strict=True)]
    found = {
        name: (sum(int((error & of[name]).sum()) for error, of in zip(wrong, regions, strict=True)),
               sum(int(of[name].sum()) for of in regions))
        for name in regions[0]
    }
    found["wrong class"] = (sum(map(np.sum, renamed)), sum(map(np.sum, objects)))
    return {name: 100 * float(part) / max(float(whole), 1) for name, (part, whole) in found.items()}


@torch.no_grad()
def _sources(trained: Trained) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the logits (C, h, w) of every source, image by image."""
    run, images = trained.run, trained.data.boxed
    given = None if run.unlabelled_logits is None else resolve(
        run.unlabelled_logits, trained.machine
    )
    constrained = images.with_fields("allowed")
    for number, one in enumerate(logits_of(trained.method, images)):
        own = one[None].float().cpu()
        sources = {"own": own}
        if given is not None:
            labels = given[number][None].float()
            sources |= {"given": labels}
            sources |= {at(alpha): linear_correction(own, labels, alpha) for alpha in ALPHAS}
        allowed = required(constrained.part([number]).allowed, "allowed classes")
        sources |= {f"{name}{IN_BOXES}": restrict(each, allowed) for name, each in sources.items()}
        yield {name: each[0] for name, each in sources.items()}
