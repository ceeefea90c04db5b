"""Supervised training: the masks that there are, and nothing else. The bar for every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from semiseg_lib.datasets.loaders import Batch
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.parts import MovingAverage, cross_entropy, enlarge


@dataclass(frozen=True)
class SupervisedConfig:
    """Options of supervised training.

    Attributes:
        ema_decay: decay of the moving average that is deployed.
    """

    name: Literal["supervised"] = "supervised"
    ema_decay: float = 0.99


class Supervised(Method):
    """Cross-entropy on the labelled pictures; the moving average of the weights is deployed."""

    def __init__(self, config: SupervisedConfig, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.average = MovingAverage(network, config.ema_decay)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        logits = self.network(batch.labelled.images)
        return {"labelled": cross_entropy(logits, batch.labelled.masks)}

    def head_logits(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        return self.average(images)

    def forward(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        return enlarge(self.head_logits(images), images.shape[-2:])

    def after_step(self, step: int) -> None:
        self.average.update_parameters(self.network)
