"""Supervised training: the masks that there are, and nothing else. The bar for every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor, nn

from semiseg_lib.batches.cutmix import CutMixConfig, draw_mix
from semiseg_lib.batches.part import Batch
from semiseg_lib.batches.strong_view import StrongConfig, strong_view
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.parts import cross_entropy


@dataclass(frozen=True)
class SupervisedConfig(Configuration):
    """Options of supervised training.

    Attributes:
        ema_decay: decay of the moving average that is deployed.
        strong: learn from strong views, as the control of methods that do; None for weak ones.
        cutmix: how strong views are mixed; None for not at all.
    """

    name: Literal["supervised"] = "supervised"
    ema_decay: float = 0.99
    strong: StrongConfig | None = None
    cutmix: CutMixConfig | None = None


class Supervised(AveragedMethod):
    """Cross-entropy on the labelled images."""

    uses_all_weights = True

    def __init__(self, config: SupervisedConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        images, masks = batch.labelled.images, batch.labelled.masks
        if self.config.strong:
            rng = np.random.default_rng(batch.seed)
            mix = draw_mix(images, self.config.cutmix, rng)
            images = mix(strong_view(images, self.config.strong, rng))
            masks = mix(masks)
        return {"labelled": cross_entropy(self.network(images), masks)}
