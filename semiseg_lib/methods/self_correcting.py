"""Self-Correcting Networks (Ibrahim, Vahdat, Ranjbar and Macready, CVPR 2020).

Few pictures F come with masks y and boxes b, many pictures W with boxes only. Three parts:

- the **ancillary** p_anc(y | x, b) sees picture and boxes, learns from F, and labels W;
- the **primary** p(y | x) sees the picture alone and is what is deployed;
- the **self-correction** q mixes the two on W, so that the primary can overrule the ancillary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from semiseg_lib.datasets.loaders import Batch
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.parts import cross_entropy, soft_cross_entropy


def linear_correction(logits: Tensor, logits_ancillary: Tensor, alpha: float) -> Tensor:
    """The logits of q, the label that self-correction puts in place of the ancillary's.

    q minimises KL(q || p) + alpha KL(q || p_anc) in every pixel. Its closed form is
    q = softmax((l + alpha l_anc) / (1 + alpha)): the primary's own label for alpha = 0, the
    ancillary's for alpha towards infinity.

    Args:
        logits: l, the primary's, (B, C, h, w).
        logits_ancillary: l_anc, of the same shape.
        alpha: how much the ancillary is trusted, >= 0.

    Raises:
        ValueError: alpha is negative or the shapes differ.
    """
    if alpha < 0:
        raise ValueError(f"alpha is {alpha}, but a weight cannot be negative.")
    if logits.shape != logits_ancillary.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} and ancillary logits {tuple(logits_ancillary.shape)} "
            "differ in shape: were they stored for another model or other classes?"
        )
    return (logits + alpha * logits_ancillary) / (1 + alpha)


@dataclass(frozen=True)
class AlphaSchedule:
    """How the trust in the ancillary falls during training.

    Attributes:
        start: alpha at the first step; the paper starts at 30.
        end: alpha at the end; the paper's is 0.5.
        until: the share of the training at which ``end`` is reached and then held; 0 holds it
            from the first step.
    """

    start: float = 30.0
    end: float = 0.5
    until: float = 1.0

    def at(self, progress: float) -> float:
        """Alpha when a share ``progress`` (0 .. 1) of the training is done: a straight line."""
        if progress >= self.until:
            return self.end
        return self.start + (self.end - self.start) * progress / self.until


@dataclass(frozen=True)
class AncillaryConfig:
    """Options of the ancillary model.

    Attributes:
        ema_decay: decay of the moving average that is deployed.
    """

    name: Literal["ancillary"] = "ancillary"
    ema_decay: float = 0.99


@dataclass(frozen=True)
class PrimaryConfig:
    """Options of the primary model.

    Attributes:
        correction: ``none`` learns the ancillary's labels as they are; ``linear`` corrects them.
        alpha: the schedule of the linear correction.
        ema_decay: decay of the moving average that is deployed.
    """

    name: Literal["primary"] = "primary"
    correction: Literal["none", "linear"] = "linear"
    alpha: AlphaSchedule = AlphaSchedule()
    ema_decay: float = 0.99


class Ancillary(AveragedMethod):
    """p_anc(y | x, b): supervised on the pictures that have masks and boxes."""

    uses_boxes = True

    def __init__(self, config: AncillaryConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        part = batch.labelled
        return {"labelled": cross_entropy(self.network(part.images, part.box_maps), part.masks)}


class Primary(AveragedMethod):
    """p(y | x): learns the masks of F and, on W, the (corrected) labels of the ancillary.

    L = CE_F(p, y) + CE_W(p, sg[q]), each a mean over its pixels; F and W share every batch and
    every forward pass, so batch normalisation sees both.
    """

    learns_from = frozenset({"labelled", "weak"})
    needs_logits = True

    def __init__(self, config: PrimaryConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        labelled, weak = batch.labelled, batch.weak
        logits = self.network(torch.cat([labelled.images, weak.images]))
        logits_labelled, logits_weak = logits.split([len(labelled.images), len(weak.images)])
        target = self.weak_target(logits_weak, weak.logits_ancillary, progress)
        return {
            "labelled": cross_entropy(logits_labelled, labelled.masks),
            "weak": soft_cross_entropy(logits_weak, target),
        }

    def weak_target(self, logits: Tensor, logits_ancillary: Tensor, progress: float) -> Tensor:
        """The probabilities q (B, C, h, w) to learn on the weak pictures; they take no gradient."""
        if self.config.correction == "none":
            return logits_ancillary.softmax(dim=1)
        alpha = self.config.alpha.at(progress)
        return linear_correction(logits.detach(), logits_ancillary, alpha).softmax(dim=1)
