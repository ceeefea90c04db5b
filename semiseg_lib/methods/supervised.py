"""Supervised training: the masks that there are, and nothing else. The bar for every method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from semiseg_lib.datasets.loaders import Batch
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.parts import cross_entropy


@dataclass(frozen=True)
class SupervisedConfig:
    """Options of supervised training.

    Attributes:
        ema_decay: decay of the moving average that is deployed.
    """

    name: Literal["supervised"] = "supervised"
    ema_decay: float = 0.99


class Supervised(AveragedMethod):
    """Cross-entropy on the labelled pictures."""

    def __init__(self, config: SupervisedConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        logits = self.network(batch.labelled.images)
        return {"labelled": cross_entropy(logits, batch.labelled.masks)}
