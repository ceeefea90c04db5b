"""Directional context-aware consistency, CAC (Lai et al., CVPR 2021).

Xin Lai, Zhuotao Tian, Li Jiang, Shu Liu, Hengshuang Zhao, Liwei Wang and Jiaya Jia,
"Semi-Supervised Semantic Segmentation with Directional Context-Aware Consistency".

Two overlapping crops of an unlabelled image show the same pixels in different surroundings. A
pixel's feature should depend on the pixel and not on where the crop happens to end, so the features
of both crops are pulled together where they overlap: the less confident one towards the other, and
away from pixels that are taken for another class.

:mod:`~semiseg_lib.methods.cac.method` has the equations and the method,
:mod:`~semiseg_lib.methods.cac.crop_pairs` draws the crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.methods.registry import Declared


@dataclass(frozen=True)
class CACConfig(Configuration):
    """Options of directional context-aware consistency.

    The defaults are those of the published code on VOC, but for ``start``, ``crop``, the blur of
    ``strong``, ``negatives`` and ``ema_decay``.

    Attributes:
        weight: of the contrast. With 0 no unlabelled image is looked at.
        temperature: tau, by which cosines are divided.
        threshold: gamma; only what the other crop is surer of than this is worth moving towards.
        start: share of the training that is over before unlabelled images are looked at.
        crop: side of a crop over the side of the view that it is cut from, in (0, 1].
            Labelled views are cut once, unlabelled ones twice. Published are crops of 320 pixels
            (Cityscapes 720) of the whole resized image.
        stride: pixels of the image per cell of the feature grid; crops lie on this grid, so that
            their cells do. A multiple of the network's stride.
        overlap: the two crops' intersection over union is at least this.
        flip: chance of a left-right flip of each crop; it is undone on the features.
        strong: how far the colours of each crop differ. The published blur has a kernel of 5x5
            pixels and a standard deviation of 1.1.
        channels: of the vectors that are compared.
        negatives: cells of a step that others are pushed away from, drawn from all cells of both
            crops; all of them if there are fewer. Published are as many of each crop and device.
        bank: earlier steps whose negatives still count.
        directional: only the less confident one of two cells moves; False moves both.
        filtered: whether cells that are predicted as the same class are left out of the negatives.
        ema_decay: decay of the network's moving average, which is deployed; 0 deploys the network
            itself, as published.
        hard: the labelled loss is the mean over hard pixels only; None for all of them.
    """

    name: Literal["cac"] = "cac"
    weight: float = 0.1
    temperature: float = 0.1
    threshold: float = 0.75
    start: float = 0.0
    crop: float = 2 / 3
    stride: int = 8
    overlap: float = 0.1
    flip: float = 0.5
    strong: StrongConfig = StrongConfig(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    channels: int = 128
    negatives: int = 6_400
    bank: int = 1
    directional: bool = True
    filtered: bool = True
    ema_decay: float = 0.99
    hard: HardPixels | None = None

    def __post_init__(self) -> None:
        least = {"weight": 0, "bank": 0, "stride": 1, "channels": 1, "negatives": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            if value < bound:
                raise ValueError(f"cac.{name} is {value}; it must be at least {bound}.")
        for name in ("threshold", "start", "overlap", "flip"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"cac.{name} is {value}; it must be in [0, 1].")
        if not 0 < self.crop <= 1:
            raise ValueError(f"cac.crop is {self.crop}; it must be in (0, 1].")
        if self.temperature <= 0:
            raise ValueError(f"cac.temperature is {self.temperature}; it must be above 0.")


DECLARED = (Declared(CACConfig, "CAC", unlabelled=True),)
