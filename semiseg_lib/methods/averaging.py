"""The moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """An exponential moving average of a network's weights and batch statistics.

    After update t (from 0) with decay d the average is d_t avg + (1 - d_t) weights, where
    d_t = min(d, 1 - 1/(t + 1)): a plain mean at first, so that the random start is soon forgotten.

    Args:
        network: the network to follow.
        decay: d, between 0 and 1; 0 follows the network exactly.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        @torch.no_grad()
        def average(
            averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int
        ) -> None:
            weight = 1 - min(decay, 1 - 1 / (int(updates) + 1))
            for old, new in zip(averaged, current, strict=True):
                if old.is_floating_point():
                    old.lerp_(new, weight)  # (E1) of mean_teacher
                else:
                    old.copy_(new)

        super().__init__(network, multi_avg_fn=average, use_buffers=True)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> MovingAverage:
        """Stay in eval mode: an average keeps its running statistics.

        Args:
            mode: ignored.
        """
        return super().train(False)
