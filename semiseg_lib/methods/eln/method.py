"""ELN in equations.

    (E1)  e = g(x, H, l),    H_i = -sum_c p_{i,c} log p_{i,c},    p = softmax(l),
          in methods/eln/error_network.py
    (E2)  L_aux = sum_k L_k [L_k >= K_k L_sup],    L_k = CE(y, softmax(d_k(z)))
    (E3)  L_err = 1/n sum_{i: y_i != void} b_i BCE([argmax_c l_{i,c} = y_i], e_i),
          b_i = 1 where right, n_right / n_wrong where wrong
    (E4)  yhat_i = argmax_c l'_{i,c} if sigmoid(e'_i) >= tau, else void,    e' = g(u, H', l')
    (E5)  L_con = -log (P / (P + Q)),    P = sum_{s like a} exp(a . s / T),
          Q = sum_{s unlike a} exp(a . s / T)
    (E6)  L_u = sum_v (CE(yhat, p(v)) + w_con L_con(v))
    (E7)  L = L_sup + L_aux + L_err + w L_u,    L_sup = CE(y, p(x))

L_err is summed over the predictions l of the main decoder and of all d_k, L_con averaged over the
anchors a. All that (E1) reads is detached, and so is z in (E2): L_sup and L_u teach the network,
L_aux the auxiliary decoders, L_err the error-localisation network. L_aux and L_err join after a
share of the training, L_u after a larger one.

===================  ============  =================================================================
symbol               shape         meaning
===================  ============  =================================================================
x                    (B, 3, H, W)  labelled images in [0, 1]
y                    (B, H, W)     their masks: class ids, 255 = void
u                    (B, 3, H, W)  weak views of unlabelled images
l                    (B, C, H, W)  logits of any decoder
p                    (B, C, H, W)  their probabilities; p(x), p(v): the main decoder's
H                    (B, 1, H, W)  entropy of each pixel
g                    network       the error-localisation network
e                    (B, H, W)     how right a prediction is, as a logit
l', H', e'           as l, H, e    the same of the teacher, the moving average
z                    -             the encoder's features of x
d                    network       d_1, d_2: auxiliary decoders
K                    number        how many times L_sup the loss of d_k is held at
L_k                  number        loss of d_k
n                    number        pixels that are not void
n_right, n_wrong     number        those that a prediction has right, and wrong
b                    (B, H, W)     how much a pixel weighs in L_err
CE, BCE              number        cross-entropy, mean over pixels that are not void; of two classes
yhat                 (B, H, W)     the teacher's label where it is trusted, else void
tau                  number        the least probability of being right that is trusted
a, s                 (D,)          unit vectors of a cell by teacher and student; alike: of one
                                   label
P, Q                 number        sums over the vectors like a, and unlike a
T                    number        temperature
v                    (B, 3, H, W)  a plain and a photometric view of u
w_con                number        weight of the contrast
w                    number        weight of all that is learnt from u
L_sup, L_aux, L_err  number        losses of main decoder, of all d_k, of g
L_con, L_u           number        the contrast, and all that is learnt from u
L                    number        the loss
i, c, k              index         pixel, class, auxiliary decoder
===================  ============  =================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import BOTH, LABELLED, AveragedMethod
from semiseg_lib.methods.eln import ELNConfig
from semiseg_lib.methods.eln.error_network import ErrorNetwork
from semiseg_lib.methods.losses import (
    cross_entropy,
    enlarge,
    hard_cross_entropy,
    inside_at,
    most_likely,
    shown_pixels,
)
from semiseg_lib.methods.projector import Projector
from semiseg_lib.models import decoder_alone


def held_at(ratio: float, loss: Tensor, main: Tensor) -> Tensor:
    """Return an auxiliary decoder's loss (E2) while it is ``ratio`` times the main one's or more.

    Else 0. The main loss takes no gradient.
    """
    return torch.where(loss.detach() >= ratio * main.detach(), loss, 0.0)  # L_k [...] of (E2)


def error_loss(right: Tensor, labels: Tensor, masks: Tensor, balance: float) -> Tensor:
    """Return the binary cross-entropy (E3) of "the label is right here".

    A wrong pixel weighs as much as there are right pixels to each wrong one, so that both kinds
    weigh the same together.

    Args:
        right: logits (B, H, W).
        labels: int64 (B, H, W), the labels that are judged.
        masks: int64 (B, H, W), the truth; 255 = void.
        balance: largest weight of a wrong pixel, and one over the smallest.

    Returns:
        The weighted losses' sum over the number of pixels that are not void; 0 if all are.
    """
    # Where it differs: void is left out (published: it counts as wrong).
    known, hit = masks != VOID, labels == masks
    misses = (known & ~hit).sum()
    # Where it differs: the weight is bounded (published: a division by zero if nothing is wrong).
    weight = (hit.sum() / misses.clamp(min=1)).clamp(1 / balance, balance)  # b of (E3)
    plain = nn.functional.binary_cross_entropy_with_logits(right, hit.to(right), reduction="none")
    losses = torch.where(hit, plain, weight * plain).where(known, 0)
    return losses.sum() / known.sum().clamp(min=1)  # (E3)


def pixel_contrast(anchors: Tensor, others: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the mean over anchors (E5) of -log(P / (P + Q)); 0 if there is none.

    P and Q are the sums of exp(cosine / temperature) over the others of the same label and of
    another one. An anchor counts if it has some of each.

    Args:
        anchors, others: unit vectors (N, D) of the same N cells, of teacher and student.
        labels: int64 (N,); those that are void are neither anchors nor others.
        temperature: above 0.
    """
    cosines = (anchors @ others.T).float() / temperature
    known = labels != VOID
    same = known & (labels[:, None] == labels)
    counts = known & same.any(dim=1) & (known & ~same).any(dim=1)
    of_same, of_all = ((cosines - 1e9 * ~kind).logsumexp(dim=1) for kind in (same, known))
    # Where it differs: a mean over anchors (published: one logarithm per class, divided by the
    # number of its pixels, which makes the gradient smaller by orders of magnitude).
    return (of_all - of_same).where(counts, 0).sum() / counts.sum().clamp(min=1)  # (E5)


class ELN(AveragedMethod):
    """Training on the masks and on the pixels that an error-localisation network trusts (E7).

    Args:
        config: the options.
        network: encoder and main decoder.
        auxiliary: decoders alone, one for each of the ratios.
        error: g; ``error(images, logits)`` gives logits (B, H, W).
    """

    # Where it differs: the teacher is the average of all steps and of the batch statistics too, not
    # a copy from the end of the warm-up, and the student is overwritten with it at set steps or
    # never (published: at the start of each epoch). The published optimiser leaves out scale and
    # shift of the batch normalisation.

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
        self.resets = False

    @classmethod
    def learns_from(cls, config: ELNConfig) -> frozenset[str]:
        return BOTH if config.weight else LABELLED

    @classmethod
    def from_config(
        cls, config: ELNConfig, build: Callable[[], nn.Module], num_classes: int
    ) -> ELN:
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
        rng, parts = np.random.default_rng(batch.seed), [labelled.images]
        if learns_unlabelled:
            parts += [unlabelled.images, strong_view(unlabelled.images, config.strong, rng)]
        sizes, zero = [len(one) for one in parts], parts[0].new_zeros(())
        # Where it differs: one pass of all views (published: three, each with its own statistics).
        images = torch.cat(parts)
        scales = self.network.encode(images)
        features = self.network.decode_features(scales)
        logits = enlarge(self.network.head(features), images.shape[-2:]).split(sizes)

        terms = {"labelled": hard_cross_entropy(logits[0], labelled.masks, config.hard)}
        terms |= {"auxiliary": zero, "error": zero}
        if progress >= config.auxiliary_from:
            # Before any label is made: in older PyTorch, autocast keeps its first copy of a weight,
            # and one made without gradients cuts the weight off (pytorch/pytorch#142234).
            terms |= self._of_errors(labelled, [one[: sizes[0]] for one in scales], logits[0])
        if config.weight:
            terms["unlabelled"] = zero
        if learns_unlabelled:
            terms["unlabelled"] = config.weight * self._unlabelled(
                unlabelled, logits[1:], features.split(sizes)[1:], rng
            )
        return terms  # (E7)

    def _of_errors(
        self, part: Part, scales: Sequence[Tensor], logits: Tensor
    ) -> dict[str, Tensor]:
        """Return L_aux (E2) and L_err (E3); neither moves the network.

        Args:
            part: labelled images.
            scales: z, what the encoder gives for them.
            logits: l, the main decoder's, (B, C, H, W).
        """
        scales, logits = [one.detach() for one in scales], logits.detach()
        size, config = logits.shape[-2:], self.config
        others = [enlarge(decoder.decode(scales), size) for decoder in self.auxiliary]
        main = cross_entropy(logits, part.masks)
        held = [
            held_at(ratio, cross_entropy(other, part.masks), main)
            for ratio, other in zip(config.ratios, others, strict=True)
        ]
        predicted = torch.cat([one.detach() for one in (*others, logits)])
        count = len(others) + 1
        right = self.error(part.images.repeat(count, 1, 1, 1), predicted)
        labels = most_likely(predicted)
        wrong = [
            error_loss(one, judged, part.masks, config.balance)
            for one, judged in zip(right.chunk(count), labels.chunk(count), strict=True)
        ]
        return {"auxiliary": sum(held, main.new_zeros(())), "error": sum(wrong)}  # (E2), (E3)

    def _unlabelled(
        self, unlabelled: Part, logits: Sequence[Tensor], features: Sequence[Tensor],
        rng: np.random.Generator,
    ) -> Tensor:
        """Return the loss L_u (E6) of both views of the unlabelled images.

        Args:
            unlabelled: the images.
            logits: (B, C, H, W) of each view.
            features: (B, D, h, w) of each view.
            rng: draws the cells of the contrast.
        """
        labels, cells, anchors = self.teach(unlabelled)
        loss = sum(cross_entropy(one, labels) for one in logits)  # the first terms of (E6)
        if self.projector is None:
            return loss
        # Where it differs: cells from anywhere (published: eight windows of 32x32 cells), and
        # anchors by the student's projector (published: by the teacher's).
        drawn = rng.choice(cells.numel(), min(self.config.pixels, cells.numel()), replace=False)
        places = torch.from_numpy(drawn).to(cells.device)
        students = [self._vectors(one, places) for one in features]
        with torch.no_grad():  # after the students, see above
            anchors = self._vectors(anchors, places)
        known, temperature = cells.flatten()[places], self.config.temperature
        contrast = sum(pixel_contrast(anchors, one, known, temperature) for one in students)
        return loss + self.config.contrast * contrast  # (E6)

    def _vectors(self, features: Tensor, places: Tensor) -> Tensor:
        """Return unit vectors (N, channels) of N cells of features (B, D, h, w), row by row."""
        drawn = features.permute(0, 2, 3, 1).flatten(0, 2)[places]
        return self.projector(drawn.T[None, :, :, None])[0, :, :, 0].T

    @torch.no_grad()
    def teach(self, unlabelled: Part) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the teacher says of weak views where the error network trusts it (E4).

        Args:
            unlabelled: weak views.

        Returns:
            (labels int64 (B, H, W), void where it is not trusted and in padding; those of the
            features' cells (B, h, w), each trusted if all of its pixels are; features (B, D, h, w))
        """
        teacher = self.average.module
        features = teacher.decode_features(teacher.encode(unlabelled.images))
        logits = teacher.head(features).float()
        # Where it differs: labels of the image's size (published: of the logits'), and both
        # networks are in evaluation mode (published: with the statistics of the batch). If nothing
        # is trusted, the losses of these labels are 0 (published: NaN, at which the script ends).
        enlarged = enlarge(logits, unlabelled.images.shape[-2:])
        kept = self._right(unlabelled.images, enlarged) >= self.config.threshold
        kept = kept & shown_pixels(unlabelled)
        cells = most_likely(logits).where(inside_at(kept, logits.shape[-2:]), VOID)
        return most_likely(enlarged).where(kept, VOID), cells, features  # (E4)

    @torch.no_grad()
    def error_map(self, images: Tensor) -> Tensor:
        """Return the probability that the deployed model is right, float32 (B, H, W).

        Args:
            images: (B, 3, H, W) in [0, 1].
        """
        return self._right(images, self.head_logits(images))

    @torch.no_grad()
    def trusted_labels(self, images: Tensor) -> Tensor:
        """Return the deployed model's labels, int64 (B, H, W), void where not trusted (E4).

        Args:
            images: (B, 3, H, W) in [0, 1].
        """
        labels = most_likely(self(images).float())
        return labels.where(self.error_map(images) >= self.config.threshold, VOID)  # (E4)

    def _right(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return the probability (B, H, W) that logits are right (E1), by running statistics."""
        training = self.error.training
        self.error.eval()
        right = self.error(images, logits).float().sigmoid()
        self.error.train(training)
        return right

    def after_step(self, step: int) -> None:
        super().after_step(step)
        if self.config.reset and self.resets and (step + 1) % self.config.reset == 0:
            self.network.load_state_dict(self.average.module.state_dict())
