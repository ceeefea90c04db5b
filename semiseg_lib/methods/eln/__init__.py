"""Learning from pixels that an error-localisation network trusts, ELN (Kwon & Kwak, CVPR 2022).

Donghyeon Kwon and Suha Kwak, "Semi-Supervised Semantic Segmentation with Error Localization
Network".

A second network looks at an image and at what was predicted for it, and says where that is wrong.
It learns this from the masks. So that it has errors to learn from, two auxiliary decoders are held
at a loss several times worse than the main one's. On unlabelled images it then decides which of
the teacher's pixels the student may learn.

:mod:`~semiseg_lib.methods.eln.method` has the equations and the method,
:mod:`~semiseg_lib.methods.eln.error_network` the error-localisation network.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.methods.registry import Declared
from semiseg_lib.models import ModelConfig


@dataclass(frozen=True)
class ELNConfig(Configuration):
    """Options of error localisation.

    The defaults are those of the published code on VOC, but for ``error``, ``balance``, ``pixels``,
    ``reset`` and ``ema_decay``; ``contrast`` weighs another mean than there.

    Attributes:
        weight: of all that is learnt from unlabelled images. With 0 none is looked at: the
            network learns the masks alone, and the error network what is wrong with it.
        contrast: weight of the pixel contrast beside the cross-entropy; 0 for none. It is a mean
            over pixels, and with the published weight of 1 far larger than the published term.
        ratios: K of each auxiliary decoder: it learns only while its loss is at least K times the
            main one's.
        threshold: a pixel is trusted if it is right with at least this probability.
        auxiliary_from: share of the training after which auxiliary decoders and the
            error-localisation network learn.
        unlabelled_from: share of the training after which unlabelled images are learnt.
        error: the error-localisation network, "unet" or "deeplab".
        balance: largest weight of a wrong pixel, and one over the smallest; between them the weight
            is the number of right pixels over that of wrong ones. It has no bound as published.
        temperature: by which cosines are divided.
        pixels: cells of the features that are drawn for the contrast in a step, from all images
            together. Those of them that are not trusted count for nothing.
        channels: of the vectors that are compared.
        strong: how far the photometric view differs.
        reset: steps after which the student is overwritten with its teacher, again and again, once
            unlabelled images are learnt; 0 for never. An epoch of 266 steps as published.
        ema_decay: decay of the moving average that teaches and is deployed; 0.995 as published.
        hard: the labelled loss is the mean over hard pixels only; None for all of them.
    """

    name: Literal["eln"] = "eln"
    weight: float = 1.0
    contrast: float = 1.0
    ratios: tuple[float, ...] = (20.0, 50.0)
    threshold: float = 0.5
    auxiliary_from: float = 70 / 500
    unlabelled_from: float = 120 / 500
    error: ModelConfig = ModelConfig(width=8)
    balance: float = 100.0
    temperature: float = 0.5
    pixels: int = 512
    channels: int = 128
    strong: StrongConfig = StrongConfig(
        jitter=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=0.0
    )
    reset: int = 0
    ema_decay: float = 0.99
    hard: HardPixels | None = None

    def __post_init__(self) -> None:
        self.check_ranges(
            "eln", weight=(0, inf), contrast=(0, inf), reset=(0, inf), threshold=(0, 1),
            balance=(1, inf), pixels=(1, inf), channels=(1, inf),
        )
        if min(self.ratios, default=0) < 0:
            raise ValueError(f"eln.ratios are {self.ratios}; each must be >= 0.")
        if self.temperature <= 0:
            raise ValueError(f"eln.temperature is {self.temperature}; it must be above 0.")
        if not 0 <= self.auxiliary_from <= self.unlabelled_from <= 1:
            raise ValueError(
                f"eln.auxiliary_from is {self.auxiliary_from} and unlabelled_from "
                f"{self.unlabelled_from}; these are shares of the training, in this order."
            )


DECLARED = (Declared(ELNConfig, "ELN", unlabelled=True),)
