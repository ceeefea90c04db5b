"""Self-Correcting Networks (Ibrahim, Vahdat, Ranjbar and Macready, CVPR 2020).

Few images F come with masks y and boxes b, many images W with boxes only. Three parts:

- the **ancillary** p_anc(y | x, b) sees image and boxes, learns from F, and labels W;
- the **primary** p(y | x) sees the image alone and is what is deployed;
- the **self-correction** q mixes the two on W, so that the primary can overrule the ancillary:
  by a closed form (:class:`Primary`) or by a small network (:class:`ConvPrimary`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.base import AveragedMethod, Method
from semiseg_lib.methods.parts import cross_entropy, inside_at, restrict, soft_cross_entropy
from semiseg_lib.models.correction import ConvCorrection


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
class AlphaSchedule(Configuration):
    """How the trust in the ancillary falls during training.

    Attributes:
        start: alpha at the first step; the paper starts at 30.
        end: alpha at the end; the paper's is 0.5.
        until: the share of the training at which ``end`` is reached and then held; 0 holds it
            from the first step.
        shape: the way from start to end: ``linear`` in equal steps, ``geometric`` by equal
            factors, ``cosine`` along half a cosine wave, slow at both ends; ``constant`` is
            ``end`` throughout. The paper states the end points only.

    Raises:
        ValueError: an end is negative, or 0 in a geometric schedule.
    """

    start: float = 30.0
    end: float = 0.5
    until: float = 1.0
    shape: Literal["linear", "geometric", "cosine", "constant"] = "linear"

    def __post_init__(self) -> None:
        lowest = min(self.start, self.end)
        if lowest < 0:
            raise ValueError(f"alpha is {lowest}, but a weight cannot be negative; set it to 0 up.")
        if self.shape == "geometric" and lowest == 0:
            raise ValueError(
                "no factor leads to or from an alpha of 0; in a geometric schedule set start and "
                "end above 0 (such as 0.01), or choose shape linear or cosine."
            )

    def at(self, progress: float) -> float:
        """Alpha when a share ``progress`` (0 .. 1) of the training is done."""
        if progress >= self.until or self.shape == "constant":
            return self.end
        if self.shape == "geometric":
            return self.start * (self.end / self.start) ** (progress / self.until)
        if self.shape == "cosine":
            left = (1 + math.cos(math.pi * progress / self.until)) / 2
            return self.end + (self.start - self.end) * left
        return self.start + (self.end - self.start) * progress / self.until


@dataclass(frozen=True)
class AncillaryConfig(Configuration):
    """Options of the ancillary model.

    Attributes:
        ema_decay: decay of the moving average that is deployed.
        boxes: what the network sees of them: ``class maps``, a channel for each class as in the
            paper, or a single ``heat map``, 1 inside any box, as in a public re-implementation; it
            tells where objects are but not which, and is kept as a counter-example.
    """

    name: Literal["ancillary"] = "ancillary"
    ema_decay: float = 0.99
    boxes: Literal["class maps", "heat map"] = "class maps"


@dataclass(frozen=True)
class PrimaryConfig(Configuration):
    """Options of the primary model.

    Attributes:
        correction: ``none`` learns the ancillary's labels as they are; ``linear`` corrects them.
        alpha: the schedule of the linear correction.
        ema_decay: decay of the moving average that is deployed.
        constrain: the labels keep to what the boxes allow: no class outside its own boxes.
    """

    name: Literal["primary"] = "primary"
    correction: Literal["none", "linear"] = "linear"
    alpha: AlphaSchedule = AlphaSchedule()
    ema_decay: float = 0.99
    constrain: bool = False


@dataclass(frozen=True)
class ConvPrimaryConfig(Configuration):
    """Options of the primary model with convolutional self-correction.

    Attributes:
        stage: ``start`` learns from the labelled images alone, with the logits of an ancillary
            that was trained on half of them; ``full`` goes on with the unlabelled images.
        through: the correction's loss also teaches the primary, through the primary's logits, as
            in a public reproduction; False leaves it to the correction alone. The paper's slides
            leave this open.
        width: hidden channels of the correction.
        ema_decay: decay of the moving average that is deployed.
    """

    name: Literal["conv-primary"] = "conv-primary"
    stage: Literal["start", "full"] = "full"
    through: bool = True
    width: int = 128
    ema_decay: float = 0.99


class Ancillary(AveragedMethod):
    """p_anc(y | x, b): supervised on the images that have masks and boxes."""

    uses_all_weights = True
    uses_boxes = True
    reads = frozenset({"box_maps"})

    def __init__(self, config: AncillaryConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config

    @classmethod
    def box_channels(cls, config: AncillaryConfig, num_classes: int) -> int:
        return 1 if config.boxes == "heat map" else num_classes

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        part = batch.labelled
        logits = self.network(part.images, self.seen_of_boxes(part.box_maps))
        return {"labelled": cross_entropy(logits, part.masks)}

    def head_logits(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        return super().head_logits(images, self.seen_of_boxes(box_maps))

    def seen_of_boxes(self, box_maps: Tensor | None) -> Tensor | None:
        """What the network reads of box maps (B, C, H, W): all, or the heat map (B, 1, H, W)."""
        if box_maps is None or self.config.boxes == "class maps":
            return box_maps
        return 1 - box_maps[:, :1]


class Primary(AveragedMethod):
    """p(y | x): learns the masks of F and, on W, the (corrected) labels of the ancillary.

    L = CE_F(p, y) + CE_W(p, sg[q]), each a mean over its pixels; F and W share every batch and
    every forward pass, so batch normalisation sees both.
    """

    uses_all_weights = True
    learns_from = frozenset({"labelled", "unlabelled"})
    needs_logits = frozenset({"unlabelled"})

    def __init__(self, config: PrimaryConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config
        self.reads = frozenset({"allowed"} if config.constrain else ())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        labelled, unlabelled = batch.labelled, batch.unlabelled
        logits = self.network(torch.cat([labelled.images, unlabelled.images]))
        sizes = [len(labelled.images), len(unlabelled.images)]
        logits_labelled, logits_unlabelled = logits.split(sizes)
        target = self.target(logits_unlabelled, unlabelled, progress)
        return {
            "labelled": cross_entropy(logits_labelled, labelled.masks),
            "unlabelled": soft_cross_entropy(logits_unlabelled, target, unlabelled.inside),
        }

    def target(self, logits: Tensor, unlabelled: Part, progress: float) -> Tensor:
        """Return the probabilities q (B, C, h, w) to learn; they take no gradient.

        Args:
            logits: l, the primary's on the unlabelled images, (B, C, h, w).
            unlabelled: the images with the ancillary's logits, and what their boxes allow where
                the labels are to keep to it.
            progress: the share of the training that is done.
        """
        target = unlabelled.logits_ancillary
        if self.config.correction == "linear":
            alpha = self.config.alpha.at(progress)
            target = linear_correction(logits.detach(), target, alpha)
        if self.config.constrain:
            target = restrict(target, unlabelled.allowed)
        return target.softmax(dim=1)


class ConvPrimary(AveragedMethod):
    """p(y | x), learnt together with a small network that makes q from both models' logits.

    Stage ``start``: L = CE_F(p, y) + CE_F(q, y), with an ancillary that was trained on half of F.
    On the other half it errs as it will on W, so the correction sees when to overrule it.
    Stage ``full``: L = CE_F(p, y) + CE_W(p, sg[q]) + CE_F(q, y), with the ancillary trained on all
    of F. The correction learns from F only: on W its label is a target that takes no gradient.

    Both stages have the same weights, so that ``full`` can load what ``start`` has learnt.
    """

    uses_all_weights = True

    def __init__(
        self, config: ConvPrimaryConfig, network: nn.Module, correction: ConvCorrection
    ) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config
        self.correction = correction
        parts = {"start": {"labelled"}, "full": {"labelled", "unlabelled"}}[config.stage]
        self.learns_from = self.needs_logits = frozenset(parts)

    @classmethod
    def of(
        cls, config: ConvPrimaryConfig, build: Callable[[], nn.Module], num_classes: int
    ) -> ConvPrimary:
        return cls(config, build(), ConvCorrection(num_classes, config.width))

    def begin_with(self, finished: Sequence[Method]) -> None:
        """Everything, the correction too, goes on from what the first stage has learnt."""
        (start,) = finished
        self.load_state_dict(start.state_dict())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        labelled, unlabelled = batch.labelled, batch.unlabelled
        if self.config.stage == "start":
            return self._labelled_losses(self.network(labelled.images), labelled)
        logits = self.network(torch.cat([labelled.images, unlabelled.images]))
        sizes = [len(labelled.images), len(unlabelled.images)]
        logits_labelled, logits_unlabelled = logits.split(sizes)
        losses = self._labelled_losses(logits_labelled, labelled)
        # After the labelled losses: in older PyTorch, autocast keeps its first copy of a weight,
        # and one made without gradients cuts the weight off (pytorch/pytorch#142234).
        with torch.no_grad():
            q = self.corrected(
                logits_unlabelled, unlabelled.logits_ancillary, unlabelled.inside
            ).softmax(dim=1)
        return {**losses, "unlabelled": soft_cross_entropy(logits_unlabelled, q, unlabelled.inside)}

    def _labelled_losses(self, logits: Tensor, part: Part) -> dict[str, Tensor]:
        source = logits if self.config.through else logits.detach()
        q = self.corrected(source, part.logits_ancillary, part.inside)
        return {
            "labelled": cross_entropy(logits, part.masks),
            "correction": cross_entropy(q, part.masks),
        }

    def corrected(
        self, logits: Tensor, logits_ancillary: Tensor, inside: Tensor | None = None
    ) -> Tensor:
        """The logits of q (B, C, h, w), by the correction as it is trained, not its average.

        Args:
            logits: l, the primary's, (B, C, h, w).
            logits_ancillary: l_anc, of the same shape.
            inside: bool (B, H, W), False where a view shows padding: there the correction reads
                zeros, as beyond the edge of an image. None where there is no padding.
        """
        if inside is not None:
            kept = inside_at(inside, logits.shape[-2:])[:, None]
            logits, logits_ancillary = logits.where(kept, 0), logits_ancillary.where(kept, 0)
        return self.correction(logits, logits_ancillary)
