"""Learning from pixels that an error-localisation network trusts, ELN (Kwon & Kwak, CVPR 2022).

A second network looks at an image and at what was predicted for it, and says where that is wrong.
It learns this from the masks. So that it has errors to learn from, two auxiliary decoders are held
at a loss several times worse than the main one's. On unlabelled images it then decides which of
the teacher's pixels the student may learn.

Where this differs from the published code: void is left out of the error loss (there it counts as
wrong), the weight of wrong pixels is bounded and so is never a division by zero, nothing to learn
is a loss of 0 (there NaN, at which the script ends), the pixel contrast is a mean over its anchors,
and teacher and error network label in evaluation mode (there with the statistics of the batch).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.eln import ELNConfig
from semiseg_lib.methods.eln.error_network import ErrorNetwork
from semiseg_lib.methods.parts import (
    Projector,
    cross_entropy,
    enlarge,
    hard_cross_entropy,
    inside_at,
    shown_pixels,
)
from semiseg_lib.models import decoder_alone


class ELN(AveragedMethod):
    """L = CE(labelled) + auxiliary + error localisation + w [CE(trusted) + c contrast(trusted)].

    CE(trusted) is the sum of two means over the trusted pixels, of a plain and of a photometric
    view.
    """

    def __init__(
        self, config: ELNConfig, network: nn.Module, auxiliary: Sequence[nn.Module],
        error: nn.Module,
    ) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config
        self.auxiliary = nn.ModuleList(auxiliary)
        self.error = error
        self.projector = None
        if config.weight and config.contrast:
            self.projector = Projector(network.feature_channels, config.channels)
        self.learns_from = frozenset({"labelled", "unlabelled"} if config.weight else {"labelled"})
        self.resets = False

    @classmethod
    def of(cls, config: ELNConfig, build: Callable[[], nn.Module], num_classes: int) -> ELN:
        network = build()
        if not hasattr(network, "encoder_parts"):
            raise ValueError(
                f"eln needs a network with a decoder, not {type(network).__name__}: take "
                'architecture "unet", "deeplab", "swiftnet" or "vit".'
            )
        auxiliary = [decoder_alone(build()) for _ in config.ratios]
        return cls(config, network, auxiliary, ErrorNetwork(config.error, num_classes))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        labelled, unlabelled, config = batch.labelled, batch.unlabelled, self.config
        self.resets = learns_unlabelled = bool(config.weight) and progress >= config.unlabelled_from
        rng, images = np.random.default_rng(batch.seed), [labelled.images]
        if learns_unlabelled:
            images += [unlabelled.images, strong_view(unlabelled.images, config.strong, rng)]
        scales = self.network.encode(torch.cat(images))
        features = self.network.decode_features(scales)
        logits = self.network.head(features)

        count = len(labelled.images)
        terms = {"labelled": hard_cross_entropy(logits[:count], labelled.masks, config.hard)}
        zero = logits.new_zeros((), dtype=torch.float32)
        terms |= {"auxiliary": zero, "error": zero}
        if progress >= config.auxiliary_from:
            # Before any label is made: in older PyTorch, autocast keeps its first copy of a weight,
            # and one made without gradients cuts the weight off (pytorch/pytorch#142234).
            terms |= self._of_errors(labelled, [one[:count] for one in scales], logits[:count])
        if config.weight:
            terms["unlabelled"] = zero
        if learns_unlabelled:
            terms["unlabelled"] = config.weight * self._unlabelled(
                unlabelled, logits[count:].chunk(2), features[count:].chunk(2), rng
            )
        return terms

    def _of_errors(
        self, part: Part, scales: Sequence[Tensor], logits: Tensor
    ) -> dict[str, Tensor]:
        """The losses of the auxiliary decoders and of the error network; none moves the network."""
        scales = [one.detach() for one in scales]
        logits = logits.detach()
        others = [decoder.decode(scales) for decoder in self.auxiliary]
        main = cross_entropy(logits, part.masks)
        held = [
            held_at(ratio, cross_entropy(other, part.masks), main)
            for ratio, other in zip(self.config.ratios, others, strict=True)
        ]
        predicted = [enlarge(one.detach(), part.masks.shape[-2:]) for one in (*others, logits)]
        count = len(predicted)
        right = self.error(part.images.repeat(count, 1, 1, 1), torch.cat(predicted))
        wrong = [
            error_loss(one, prediction.argmax(dim=1), part.masks, self.config.balance)
            for one, prediction in zip(right.chunk(count), predicted, strict=True)
        ]
        return {"auxiliary": sum(held, main.new_zeros(())), "error": sum(wrong)}

    def _unlabelled(
        self, unlabelled: Part, logits: Sequence[Tensor], features: Sequence[Tensor],
        rng: np.random.Generator,
    ) -> Tensor:
        """The loss of both views of the unlabelled images."""
        labels, cells, anchors = self.teach(unlabelled)
        loss = sum(cross_entropy(one, labels) for one in logits)
        if self.projector is None:
            return loss
        drawn = rng.choice(cells.numel(), min(self.config.pixels, cells.numel()), replace=False)
        places = torch.from_numpy(drawn).to(cells.device)
        students = [self._vectors(one, places) for one in features]
        with torch.no_grad():  # after the students, see above
            anchors = self._vectors(anchors, places)
        known, temperature = cells.flatten()[places], self.config.temperature
        contrast = sum(pixel_contrast(anchors, one, known, temperature) for one in students)
        return loss + self.config.contrast * contrast

    def _vectors(self, features: Tensor, places: Tensor) -> Tensor:
        """Unit vectors (N, channels) of N cells of features (B, D, h, w), counted row by row."""
        drawn = features.permute(0, 2, 3, 1).flatten(0, 2)[places]
        return self.projector(drawn.T[None, :, :, None])[0, :, :, 0].T

    @torch.no_grad()
    def teach(self, unlabelled: Part) -> tuple[Tensor, Tensor, Tensor]:
        """What the teacher says of weak views, as far as the error network trusts it.

        Returns:
            (labels int64 (B, H, W), void where it is not trusted and in padding; those of the
            features' cells (B, h, w), each trusted if all of its pixels are; features (B, D, h, w))
        """
        teacher = self.average.module
        features = teacher.decode_features(teacher.encode(unlabelled.images))
        logits = teacher.head(features).float()
        labels = enlarge(logits, unlabelled.images.shape[-2:]).argmax(dim=1)
        kept = self._right(unlabelled.images, logits) >= self.config.threshold
        kept = kept & shown_pixels(unlabelled)
        cells = logits.argmax(dim=1).where(inside_at(kept, logits.shape[-2:]), VOID)
        return labels.where(kept, VOID), cells, features

    @torch.no_grad()
    def error_map(self, images: Tensor) -> Tensor:
        """How probably the deployed model is right: (B, 3, H, W) to float32 (B, H, W), 0 .. 1."""
        return self._right(images, self.head_logits(images))

    @torch.no_grad()
    def trusted_labels(self, images: Tensor) -> Tensor:
        """The deployed model's labels, int64 (B, H, W), void where they are not trusted."""
        labels = self(images).float().argmax(dim=1)
        return labels.where(self.error_map(images) >= self.config.threshold, VOID)

    def _right(self, images: Tensor, logits: Tensor) -> Tensor:
        """The probability (B, H, W) that logits are right, from running statistics."""
        training = self.error.training
        self.error.eval()
        right = self.error(images, logits).float().sigmoid()
        self.error.train(training)
        return right

    def after_step(self, step: int) -> None:
        super().after_step(step)
        if self.config.reset and self.resets and (step + 1) % self.config.reset == 0:
            self.network.load_state_dict(self.average.module.state_dict())


def held_at(ratio: float, loss: Tensor, main: Tensor) -> Tensor:
    """An auxiliary decoder's loss while it is at least ``ratio`` times the main one's; else 0."""
    return torch.where(loss.detach() >= ratio * main.detach(), loss, 0.0)


def error_loss(right: Tensor, labels: Tensor, masks: Tensor, balance: float) -> Tensor:
    """Binary cross-entropy of "the label is right here", with wrong pixels as heavy as right ones.

    A wrong pixel weighs as much as there are right pixels to each wrong one, so that both kinds
    weigh the same together. Void pixels, of which nobody knows, are left out.

    Args:
        right: logits (B, H, W).
        labels: int64 (B, H, W), the labels that are judged.
        masks: int64 (B, H, W), the truth; 255 = void.
        balance: largest weight of a wrong pixel, and one over the smallest.

    Returns:
        The weighted losses' sum over the number of pixels that are not void; 0 if all are.
    """
    known, hit = masks != VOID, labels == masks
    misses = (known & ~hit).sum()
    weight = (hit.sum() / misses.clamp(min=1)).clamp(1 / balance, balance)
    plain = nn.functional.binary_cross_entropy_with_logits(right, hit.to(right), reduction="none")
    losses = torch.where(hit, plain, weight * plain).where(known, 0)
    return losses.sum() / known.sum().clamp(min=1)


def pixel_contrast(anchors: Tensor, others: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean over anchors of -log(P / (P + N)); 0 if there is none.

    P and N are the sums of exp(cosine / temperature) over the others of the same label and of
    another one. An anchor counts if it has some of each.

    Args:
        anchors, others: unit vectors (N, D) of the same N cells, of teacher and student.
        labels: int64 (N,); those that are void are neither anchors nor others.
        temperature: above 0.
    """
    cosines = (anchors @ others.T).float() / temperature
    known = labels != VOID
    pairs = known[:, None] & known
    same = pairs & (labels[:, None] == labels)
    counts = same.any(dim=1) & (pairs & ~same).any(dim=1)
    of_same, of_all = (cosines.masked_fill(~kind, -1e9).logsumexp(dim=1) for kind in (same, pairs))
    return (of_all - of_same).where(counts, 0).sum() / counts.sum().clamp(min=1)
