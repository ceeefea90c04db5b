"""Cross pseudo supervision, with and without CutMix (Chen, Yuan, Zeng and Wang, CVPR 2021).

Two networks of one kind start from different weights. Each learns the masks, and each learns the
label that the other one gives to an image: all of it, with no threshold. Where both err alike they
confirm each other; where they differ, they correct each other. The first one is deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semiseg_lib.batches.options import THREE_BOXES, CutMixConfig
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.methods.registry import Declared


@dataclass(frozen=True)
class CPSConfig(Configuration):
    """Options of cross pseudo supervision.

    The defaults are those of the published code on VOC, but for ``ema_decay``. ``cutmix-cps`` names
    those with ``THREE_BOXES`` and the weight that is published for them.

    Attributes:
        weight: lambda, of the cross loss. With 0 no unlabelled image is looked at. Published are
            1.5 on VOC and 6 on Cityscapes, with CutMix 1 and 5.
        cutmix: how unlabelled images are mixed, ``THREE_BOXES`` in the paper; None for plain
            CPS, whose cross loss takes in the labelled images too.
        label_passes: with CutMix, the mode in which the networks label the unmixed images:
            ``train`` as published, so that these images too enter the running batch statistics;
            or ``eval``, which leaves no trace and drops no features.
        ema_decay: decay of the first network's moving average, which is deployed; 0 deploys the
            network itself, as published.
        hard: the labelled loss is the mean over hard pixels only; None for all of them.
    """

    name: Literal["cps"] = "cps"
    weight: float = 1.5
    cutmix: CutMixConfig | None = None
    label_passes: Literal["train", "eval"] = "train"
    ema_decay: float = 0.99
    hard: HardPixels | None = None

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"cps.weight is {self.weight}; it must be at least 0.")


DECLARED = (Declared(
    CPSConfig, "CPS", unlabelled=True,
    variants={"cutmix-cps": CPSConfig(weight=1.0, cutmix=THREE_BOXES)},
),)
