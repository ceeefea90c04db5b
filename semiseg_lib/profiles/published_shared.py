"""What the published recipes share: how epochs become steps, how many images systems had."""

from __future__ import annotations

import math
from dataclasses import replace

from semiseg_lib.methods import MethodConfig, SupervisedConfig
from semiseg_lib.profiles.profile import Profile

TRAIN_AUG, EIGHTH_OF_TRAIN_AUG = 10_582, 1_323
EIGHTH_OF_TRAIN = 183  # of VOC's own 1,464
CITYSCAPES, EIGHTH_OF_CITYSCAPES = 2_975, 372


def steps(epochs: int, images: int, batch: int, keep_last: bool = False) -> int:
    """The steps of so many epochs.

    Args:
        epochs: passes over the images.
        images: images of one pass.
        batch: images a step.
        keep_last: a pass ends with an incomplete batch; else its images are left out.
    """
    return epochs * (math.ceil(images / batch) if keep_last else images // batch)


def broken_off(lr: float, lr_end: float, epochs: int, wave: int) -> float:
    """Where a cosine from ``lr`` to ``lr_end`` over ``wave`` epochs stands after ``epochs``.

    Published schedules that stop there stay high for long. Ours falls to the same rate along half a
    wave of its own: it starts and ends as theirs do, and is up to 15 % of ``lr`` lower in between.
    """
    return lr_end + (lr - lr_end) * (1 + math.cos(math.pi * epochs / wave)) / 2


BASE = {
    "name": "paper", "judges": False, "seeds": (11, 12, 13), "warm": False, "unlabelled": {},
    "supervised": SupervisedConfig(ema_decay=0.0),
}


def in_pairs(name: str, profile: Profile, options: MethodConfig) -> Profile:
    """The recipe of a method that learns from labelled and unlabelled images together.

    Its supervised baseline sees twice as many labelled images a step in place of both.
    """
    both = profile.train_unlabelled
    images = both.batch_labelled + both.batch_unlabelled
    alone = replace(both, batch_labelled=images, batch_unlabelled=0)
    return replace(profile, train_supervised=alone, unlabelled={name: options})
