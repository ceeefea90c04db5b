"""Labels of images that are computed from other labels or from boxes, not predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch

from semiseg_lib.batches.box_labels import as_logits, drawn_labels
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.evaluation.predict import logits_of
from semiseg_lib.experiments.identity import blueprint
from semiseg_lib.experiments.trained import Trained
from semiseg_lib.experiments.values import BoxLabels
from semiseg_lib.methods.self_correcting.method import linear_correction
from semiseg_lib.stores.logits import LogitsStore


def mixed(
    primary: Trained, ancillary: LogitsStore, images: ImageSet, numbers: Sequence[int],
    alpha: float,
) -> Iterator[torch.Tensor]:
    """Yield the linear correction (C, h, w) of a primary's and an ancillary's logits, per image."""
    own = logits_of(primary.method, images.take(numbers))
    for number, one in zip(numbers, own, strict=True):
        yield linear_correction(one[None].float(), ancillary[number][None].float(), alpha)[0]


def drawn(
    value: BoxLabels, images: ImageSet, numbers: Sequence[int]
) -> Iterator[torch.Tensor]:
    """Yield the logits (C, h, w) of labels that are drawn from boxes, per image."""
    count = len(images.classes)
    stride = cast(int, blueprint(value.run, count).network.stride)
    for number in numbers:
        labels = drawn_labels(images.sample(number), value.rule)
        yield as_logits(labels, count, stride, value.sure)
