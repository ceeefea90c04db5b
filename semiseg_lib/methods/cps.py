"""Cross pseudo supervision, with and without CutMix (Chen et al., CVPR 2021).

Two networks of one kind that start from different weights. Each learns the masks, and each learns
the label that the other one gives to an image: all of it, with no threshold. Where both err alike
they confirm each other; where they differ, they correct each other. The first one is deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.cutmix import CutMixConfig, draw_mix
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.base import AveragedMethod, Method
from semiseg_lib.methods.parts import (
    HardPixels,
    confident_cross_entropy,
    enlarge,
    hard_cross_entropy,
    shown_pixels,
)


@dataclass(frozen=True)
class CPSConfig(Configuration):
    """Options of cross pseudo supervision.

    Attributes:
        weight: lambda, of the cross loss. With 0 no unlabelled image is looked at.
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


class CPS(AveragedMethod):
    """L = sum over both networks of CE(p_i, y) + lambda CE(p_i, argmax p_other)."""

    uses_all_weights = True
    networks = 2

    def __init__(self, config: CPSConfig, network: nn.Module, second: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.second = second
        self.config = config
        self.learns_from = frozenset({"labelled", "unlabelled"} if config.weight else {"labelled"})

    @classmethod
    def of(cls, config: CPSConfig, build: Callable[[], nn.Module], num_classes: int) -> CPS:
        return cls(config, build(), build())

    def begin_with(self, finished: Sequence[Method]) -> None:
        """Each network begins with its own of two finished methods."""
        first, second = finished
        self.begin_network_with(first)
        self.second.load_state_dict(second.network.state_dict())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        labelled, unlabelled, nets = batch.labelled, batch.unlabelled, (self.network, self.second)
        # Before any label is made: in older PyTorch, autocast keeps its first copy of a weight, and
        # one made without gradients cuts the weight off (pytorch/pytorch#142234).
        if not self.config.weight or self.config.cutmix:
            logits = [net(labelled.images) for net in nets]
        if not self.config.weight:
            return {"labelled": self._labelled(logits, labelled)}
        if self.config.cutmix:
            cross = self._cross_mixed(unlabelled, batch.seed)
        else:
            logits, cross = self._cross_plain(labelled, unlabelled)
        return {
            "labelled": self._labelled(logits, labelled),
            "unlabelled": self.config.weight * cross,
        }

    def _labelled(self, logits: Sequence[Tensor], part: Part) -> Tensor:
        return sum(hard_cross_entropy(one, part.masks, self.config.hard) for one in logits)

    def _cross_plain(self, labelled: Part, unlabelled: Part) -> tuple[list[Tensor], Tensor]:
        """Both networks' logits of the labelled images, and the cross loss of all images."""
        images = torch.cat([labelled.images, unlabelled.images])
        inside = torch.cat([shown_pixels(labelled), shown_pixels(unlabelled)])
        one, two = self.network(images), self.second(images)
        cross = _cross(one, two, _labels(one, images), _labels(two, images), inside)
        return [logits[: len(labelled.images)] for logits in (one, two)], cross

    def _cross_mixed(self, unlabelled: Part, seed: int) -> Tensor:
        """The cross loss of mixed images, whose labels are mixed from those of the unmixed."""
        mix = draw_mix(unlabelled.images, self.config.cutmix, np.random.default_rng(seed))
        labels = [mix(self._labels_of_unmixed(net, unlabelled.images))
                  for net in (self.network, self.second)]
        mixed = mix(unlabelled.images)
        return _cross(
            self.network(mixed), self.second(mixed), *labels, mix(shown_pixels(unlabelled))
        )

    @torch.no_grad()
    def _labels_of_unmixed(self, network: nn.Module, images: Tensor) -> Tensor:
        training = network.training
        network.train(training and self.config.label_passes == "train")
        labels = _labels(network(images), images)
        network.train(training)
        return labels


def _labels(logits: Tensor, images: Tensor) -> Tensor:
    """The most likely class of every pixel, int64 (B, H, W). It takes no gradient."""
    return enlarge(logits.float(), images.shape[-2:]).argmax(dim=1)


def _cross(
    one: Tensor, two: Tensor, labels_one: Tensor, labels_two: Tensor, inside: Tensor
) -> Tensor:
    """Each network's cross-entropy with the other one's labels, over what is no padding."""
    return (
        confident_cross_entropy(one, labels_two, inside)
        + confident_cross_entropy(two, labels_one, inside)
    )
