"""Self-Correcting Networks in equations.

The ancillary, which sees boxes:

    (E1)  a_s = sigmoid(conv(resize_s(b))),    f'_s = a_s f_s
    (E2)  L_anc = CE_F(y, p_anc)

Self-correction, in every pixel, by a closed form (q minimises KL(q || p) + alpha KL(q || p_anc))

    (E3)  q = softmax((l + alpha l_anc) / (1 + alpha))
    (E4)  alpha(t) = alpha_0 + (alpha_1 - alpha_0) min(t / r, 1),
          in methods/self_correcting/__init__.py

or by a small network, and what is learnt of it:

    (E5)  q = softmax(conv(relu(conv([l, l_anc]))))
    (E6)  CE_W(sg[q], p) = -1/|W| sum_{i in W} sum_c q_{i,c} log p_{i,c}

The primary, with (E3), and with (E5) in two stages, start and full:

    (E7)  L = CE_F(y, p) + CE_W(sg[q], p)
    (E8)  L = CE_F(y, p) + CE_F(y, q)
    (E9)  L = CE_F(y, p) + CE_W(sg[q], p) + CE_F(y, q)

The controls of the linear correction: the mean of probabilities in place of logits, which minimises
KL(p || q) + alpha KL(p_anc || q); an ancillary that is less sure; a smoothed label

    (E10)  q = (p + alpha p_anc) / (1 + alpha)
    (E11)  p_anc = softmax(l_anc / T)
    (E12)  q <- (1 - eta) q + eta / C

Equations (E1) to (E9) and end points of alpha are the authors' slides'; the shape of its way is
ours. So is the option to give probability 0 in q to classes that the boxes do not allow, and that
to learn p of a strong view, with the label q of the weak view. (E10) has one model in Reed et
al. (2014): p_anc is the given label there.

================  ============  ====================================================================
symbol            shape         meaning
================  ============  ====================================================================
y                 (B, H, W)     masks: class ids, 255 = void
b                 (B, C, H, W)  box maps of 0 and 1
f, f'             (B, D, h, w)  features at two scales s, before and after attention
a                 (B, D, h, w)  the attention, 0 .. 1
l, l_anc          (B, C, h, w)  logits of primary and ancillary
p, p_anc          (B, C, h, w)  their probabilities, of images alone and of images with boxes
q                 (B, C, h, w)  the corrected label, probabilities
alpha             number        how much the ancillary is trusted
alpha_0, alpha_1  number        its values at first and in the end: 30 and 0.5
t, r              number        share of the training that is done; share after which alpha is
                                alpha_1
T                 number        temperature of the ancillary
eta               number        share of a label that is spread evenly
C                 number        classes, background included
sg                operator      takes no gradient
F                 set           the images with masks and boxes; their pixels, without void
W                 set           the images with boxes only; their pixels, without padding
CE                number        cross-entropy, mean over the pixels of F or W
L_anc, L          number        the loss of the ancillary, and of the primary
i, c, s           index         pixel, class, scale
================  ============  ====================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.batches.part import Batch, Part, required
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.methods.base import BOTH, LABELLED, AveragedMethod, Method
from semiseg_lib.methods.losses import cross_entropy, inside_at, restrict, soft_cross_entropy
from semiseg_lib.methods.self_correcting import AncillaryConfig, ConvPrimaryConfig, PrimaryConfig


class BoxAttention(nn.Module):
    """Product of features and ``sigmoid(convolution(box maps))``, (E1).

    The box maps are resized to the features by area, so that a map's value is the share of the
    cell that lies in a box and small boxes do not vanish. A 3x3 convolution makes one attention
    map for each feature channel. The pretrained encoder lies before this module and sees
    images only.

    The bias starts at 0 and the weights small, so attention starts near sigmoid(0) = 1/2. That
    common factor costs nothing where the features next pass a convolution without bias and a
    batch normalisation, as both attended features of :class:`semiseg_lib.models.deeplab.DeepLab`
    do: it cancels. And at 1/2 the sigmoid's slope is greatest.

    Args:
        box_channels: channels of the box maps, one per class, background included.
        channels: channels of the features.
    """

    def __init__(self, box_channels: int, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(box_channels, channels, 3, padding=1)
        nn.init.zeros_(cast(Tensor, self.convolution.bias))

    def forward(self, features: Tensor, box_maps: Tensor) -> Tensor:
        """Return attended features, (B, channels, h, w).

        Args:
            features: (B, channels, h, w).
            box_maps: (B, box_channels, H, W) of zeros and ones, at any resolution.
        """
        resized = nn.functional.interpolate(box_maps, size=features.shape[-2:], mode="area")
        return features * self.convolution(resized).sigmoid()  # (E1)


def linear_correction(logits: Tensor, logits_ancillary: Tensor, alpha: float) -> Tensor:
    """Return the logits of q of (E3), the label in place of the ancillary's, (B, C, h, w).

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
    return (logits + alpha * logits_ancillary) / (1 + alpha)  # (E3), before the softmax


def bootstrapped(logits: Tensor, logits_ancillary: Tensor, alpha: float) -> Tensor:
    """Return log q of (E10), the arithmetic mean of both labels, (B, C, h, w).

    It is the primary's own label for alpha = 0, the ancillary's for alpha towards infinity, as
    :func:`linear_correction` is. But where the two are sure of different classes, both stay in it.

    Args:
        logits: l, the primary's, (B, C, h, w).
        logits_ancillary: l_anc, of the same shape.
        alpha: how much the ancillary is trusted, >= 0.

    Raises:
        ValueError: alpha is negative or the shapes differ.
    """
    if alpha < 0:
        raise ValueError(f"alpha is {alpha}, but a weight cannot be negative.")
    _refuse_other_shape(logits, logits_ancillary)
    own, given = logits.log_softmax(dim=1), logits_ancillary.log_softmax(dim=1)
    weights = torch.tensor([1, alpha], dtype=own.dtype, device=own.device).log()
    return torch.logaddexp(own + weights[0], given + weights[1]) - math.log1p(alpha)  # (E10)


def _refuse_other_shape(logits: Tensor, logits_ancillary: Tensor) -> None:
    """Raise ValueError if the shapes of both models' logits differ."""
    if logits.shape != logits_ancillary.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} and ancillary logits {tuple(logits_ancillary.shape)} "
            "differ in shape: were they stored for another model or other classes?"
        )


class ConvCorrection(nn.Module):
    """Logits of q, (E5), by a 3x3 convolution, a ReLU and a 3x3 convolution.

    A public reproduction reads probabilities and ends in batch normalisation and a ReLU. Here
    logits go in and logits come out. Probabilities near 0 and 1 hide how sure a network is. Behind
    a final ReLU no logit can fall below 0, and those that are stuck there take no gradient.

    It starts as the mean of both logits (linear self-correction with alpha = 1): that is a sensible
    label before anything is learnt, where a random start would teach noise. The mean m passes the
    ReLU as ReLU(m) - ReLU(-m). Hidden channels beyond these 2 C start at random and unread.

    Args:
        num_classes: C, background included.
        width: hidden channels, at least 2 C; the public reproduction has 128.

    Raises:
        ValueError: ``width`` is below 2 C.
    """

    def __init__(self, num_classes: int, width: int = 128) -> None:
        super().__init__()
        if width < 2 * num_classes:
            raise ValueError(
                f"width is {width}; the correction of {num_classes} classes needs at least "
                f"{2 * num_classes} hidden channels. Set method.width to that or more."
            )
        self.hidden = nn.Conv2d(2 * num_classes, width, kernel_size=3, padding=1)
        self.head = nn.Conv2d(width, num_classes, kernel_size=3, padding=1)
        self._start_at_the_mean(num_classes)

    def forward(self, logits: Tensor, logits_ancillary: Tensor) -> Tensor:
        """Return the logits of q (B, C, h, w).

        Args:
            logits: l, the primary's, (B, C, h, w); not probabilities.
            logits_ancillary: l_anc, of the same shape.

        Raises:
            ValueError: the shapes differ.
        """
        _refuse_other_shape(logits, logits_ancillary)
        both = torch.cat([logits, logits_ancillary], dim=1)
        return self.head(self.hidden(both).relu())  # (E5), before the softmax

    @torch.no_grad()
    def _start_at_the_mean(self, num_classes: int) -> None:
        for parameter in self.hidden.parameters():
            parameter[: 2 * num_classes] = 0
        for parameter in self.head.parameters():
            parameter.zero_()
        for label in range(num_classes):
            for channel, sign in ((label, 1), (num_classes + label, -1)):
                self.hidden.weight[channel, label, 1, 1] = 0.5 * sign
                self.hidden.weight[channel, num_classes + label, 1, 1] = 0.5 * sign
                self.head.weight[label, channel, 1, 1] = sign


class Ancillary(AveragedMethod):
    """p_anc(y | x, b): supervised on the images that have masks and boxes, (E2).

    Args:
        config: the options.
        network: ``network(images, box_maps) -> logits (B, C, h, w)``.
    """

    uses_all_weights = True
    uses_boxes = True
    reads = frozenset({"box_maps"})
    attention = BoxAttention

    def __init__(self, config: AncillaryConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config

    @classmethod
    def box_channels(cls, config: AncillaryConfig, num_classes: int) -> int:
        return 1 if config.boxes == "heat map" else num_classes

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        part = batch.labelled
        logits = self.network(part.images, self.seen_of_boxes(part.box_maps))
        return {"labelled": cross_entropy(logits, required(part.masks, "masks"))}  # (E2)

    def head_logits(self, images: Tensor, box_maps: Tensor | None = None) -> Tensor:
        return super().head_logits(images, self.seen_of_boxes(box_maps))

    def seen_of_boxes(self, box_maps: Tensor | None) -> Tensor | None:
        """Return what the network reads of box maps.

        Args:
            box_maps: (B, C, H, W); None passes through.

        Returns:
            the maps of all classes, or one heat map (B, 1, H, W).
        """
        if box_maps is None or self.config.boxes == "class maps":
            return box_maps
        return 1 - box_maps[:, :1]


class Primary(AveragedMethod):
    """p(y | x): learns the masks of F and, on W, the (corrected) labels of the ancillary, (E7).

    F and W share every batch and every forward pass, so batch normalisation sees both.

    Args:
        config: the options.
        network: ``network(images) -> logits (B, C, h, w)``.
    """

    uses_all_weights = True
    needs_logits = frozenset({"unlabelled"})

    def __init__(self, config: PrimaryConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config
        self.reads = frozenset({"allowed"} if config.constrain else ())

    @classmethod
    def learns_from(cls, config: PrimaryConfig) -> frozenset[str]:
        return BOTH

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        labelled, unlabelled = batch.labelled, required(batch.unlabelled, "unlabelled images")
        rng = np.random.default_rng(batch.seed)
        images = _strong_or_weak(labelled.images, self.config.strong_labelled, rng)
        if self.config.strong is None:
            logits_labelled, logits_unlabelled = self.logits_together(images, unlabelled.images)
            target = self.target(logits_unlabelled, unlabelled, progress)
        else:
            strong = _strong_or_weak(unlabelled.images, self.config.strong, rng)
            logits_labelled, logits_unlabelled, logits_weak = self.logits_together(
                images, strong, unlabelled.images
            )
            target = self.target(logits_weak, unlabelled, progress)
        return {
            "labelled": cross_entropy(logits_labelled, required(labelled.masks, "masks")),
            "unlabelled": soft_cross_entropy(  # (E6), whose gradient is that of KL(q || p)
                logits_unlabelled, target, unlabelled.inside
            ),
        }  # (E7)

    def target(self, logits: Tensor, unlabelled: Part, progress: float) -> Tensor:
        """Return the probabilities q (B, C, h, w) to learn; they take no gradient.

        Args:
            logits: l, the primary's on the unlabelled images, (B, C, h, w).
            unlabelled: the images with the ancillary's logits, and what their boxes allow where
                the labels are to keep to it.
            progress: the share of the training that is done.
        """
        given = required(unlabelled.logits_ancillary, "ancillary logits")
        allowed = required(unlabelled.allowed, "allowed classes") if self.config.constrain else None
        target = corrected(
            self.config, logits.detach(), given, self.config.alpha.at(progress), allowed  # (E4)
        ).softmax(dim=1)
        smoothing = self.config.smoothing
        return (1 - smoothing) * target + smoothing / target.shape[1]  # (E12)


def corrected(
    config: PrimaryConfig, logits: Tensor, logits_ancillary: Tensor, alpha: float,
    allowed: Tensor | None = None,
) -> Tensor:
    """Return the logits of q (B, C, h, w) by (E3), (E10) or neither, within what boxes allow.

    Args:
        config: the correction and the temperature of the ancillary.
        logits: l, the primary's, (B, C, h, w).
        logits_ancillary: l_anc, of the same shape.
        alpha: how much the ancillary is trusted, >= 0.
        allowed: bool (B, C, H, W), the allowed classes of each pixel; None allows all.
    """
    given = logits_ancillary / config.temperature  # (E11)
    if config.correction == "linear":
        given = linear_correction(logits, given, alpha)  # (E3)
    elif config.correction == "bootstrap":
        given = bootstrapped(logits, given, alpha)  # (E10)
    return given if allowed is None else restrict(given, allowed)


def _strong_or_weak(
    images: Tensor, strong: StrongConfig | None, rng: np.random.Generator
) -> Tensor:
    """Return strong views S(x) of images (B, 3, H, W), or with None the images as they are."""
    return images if strong is None else strong_view(images, strong, rng)


class ConvPrimary(AveragedMethod):
    """p(y | x), learnt together with a small network that makes q from both models' logits.

    Stage ``start`` is (E8), with an ancillary that was trained on half of F. On the other half it
    errs as it will on W, so the correction sees when to overrule it. Stage ``full`` is (E9), with
    the ancillary trained on all of F. The correction learns from F only: on W its label is a target
    that takes no gradient.

    Both stages have the same weights, so that ``full`` can load what ``start`` has learnt.

    Args:
        config: the options.
        network: ``network(images) -> logits (B, C, h, w)``.
        correction: makes the logits of q from both models' logits.
    """

    uses_all_weights = True

    def __init__(
        self, config: ConvPrimaryConfig, network: nn.Module, correction: ConvCorrection
    ) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config
        self.correction = correction
        self.needs_logits = self.learns_from(config)

    @classmethod
    def learns_from(cls, config: ConvPrimaryConfig) -> frozenset[str]:
        return {"start": LABELLED, "full": BOTH}[config.stage]

    @classmethod
    def from_config(
        cls, config: ConvPrimaryConfig, build: Callable[[], nn.Module], num_classes: int
    ) -> ConvPrimary:
        return cls(config, build(), ConvCorrection(num_classes, config.width))

    def load_start(self, finished: Sequence[Method]) -> None:
        """Load the weights of the first stage, those of the correction included.

        Args:
            finished: one method of stage ``start``.
        """
        (start,) = finished
        self.load_state_dict(start.state_dict())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        labelled = batch.labelled
        if self.config.stage == "start":
            return self._labelled_losses(self.network(labelled.images), labelled)  # (E8)
        unlabelled = required(batch.unlabelled, "unlabelled images")
        logits_ancillary = required(unlabelled.logits_ancillary, "ancillary logits")
        logits_labelled, logits_unlabelled = self.logits_together(
            labelled.images, unlabelled.images
        )
        losses = self._labelled_losses(logits_labelled, labelled)
        # After the labelled losses: the correction's pass with gradients comes first; see
        # SemiSupervised.
        with torch.no_grad():
            q = self.corrected(
                logits_unlabelled, logits_ancillary, unlabelled.inside
            ).softmax(dim=1)
        unlabelled_loss = soft_cross_entropy(logits_unlabelled, q, unlabelled.inside)  # (E6)
        return {**losses, "unlabelled": unlabelled_loss}  # (E9)

    def _labelled_losses(self, logits: Tensor, part: Part) -> dict[str, Tensor]:
        source = logits if self.config.through else logits.detach()
        masks = required(part.masks, "masks")
        logits_ancillary = required(part.logits_ancillary, "ancillary logits")
        q = self.corrected(source, logits_ancillary, part.inside)
        return {"labelled": cross_entropy(logits, masks), "correction": cross_entropy(q, masks)}

    def corrected(
        self, logits: Tensor, logits_ancillary: Tensor, inside: Tensor | None = None
    ) -> Tensor:
        """Return the logits of q (B, C, h, w), by the correction as it is trained, not its average.

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
