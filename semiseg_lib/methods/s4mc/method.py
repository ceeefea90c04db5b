"""S4MC in equations.

    (E1)  yhat = M(argmax_c q_c(u)),    p = q(M(u)),    utilde = M(S(u))
    (E2)  kappa(p) = p_(1) - p_(2)
    (E3)  E_c = |{(i, j) : y_i = y_j = c}| / |{(i, j) : y_i = c}|
    (E4)  ptilde_c = p_c + beta [n_c - max(p_c n_c, p_c E_c)],    n_{i,c} = max_j p_{j,c}
    (E5)  gamma_t = the alpha_t-quantile of kappa(p) over Omega,    alpha_t = alpha_0 (1 - t)
    (E6)  K = {i in Omega : kappa(ptilde)_i > gamma_t}
    (E7)  L_u = |Omega| / |K| 1/|K| sum_{i in K} CE(yhat_i, s_i(utilde))
    (E8)  L = CE(y, s(x)) + w L_u

================  ============  =================================================================
symbol            shape         meaning
================  ============  =================================================================
x                 (B, 3, H, W)  labelled images in [0, 1]
y                 (B, H, W)     their masks: class ids, 255 = void
u                 (B, 3, H, W)  weak views of unlabelled images
utilde            (B, 3, H, W)  strong and mixed views of the same, which the student sees
S                 view          strong view: gives each image colours of its own
M                 view          CutMix: pastes a rectangle of the next image onto each
q, s              (B, C, H, W)  probabilities of the teacher (the moving average) and the student
yhat              (B, H, W)     the teacher's labels, mixed, never refined
p, ptilde         (B, C, H, W)  the teacher's probabilities of mixed images, and refined
p_(1), p_(2)      (B, H, W)     a pixel's largest and second largest probability
kappa             (B, H, W)     how sure a pixel is: its margin
n                 (B, C, H, W)  the largest probability of each class among the neighbours
E                 (C,)          how often a neighbour has the pixel's class c
beta              number        how far a neighbour counts, exp(-1/2)
t                 number        share of the training that is done
alpha_t, alpha_0  number        the share of pixels to drop, at t and at the start
gamma_t           number        the threshold of the margin
Omega             pixels        those of mixed images that show an image and no padding
K                 pixels        those that are kept
CE                number        -log of a label's probability; of images its mean where not void
L_u               number        the unlabelled loss
w                 number        its weight
L                 number        the loss
i, j, c           index         pixel, a neighbour of it, class
================  ============  =================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.cutmix import Mix, draw_mix
from semiseg_lib.batches.part import Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import SemiSupervised
from semiseg_lib.methods.losses import cross_entropy, most_likely, shown_pixels
from semiseg_lib.methods.s4mc import BETA, Indicator, S4MCConfig

BESIDE = ((-1, 0), (0, -1), (0, 1), (1, 0))
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def indicator(probabilities: Tensor, kind: Indicator = "margin") -> Tensor:
    """Return how sure each pixel is (E2), (B, H, W); more is surer.

    Args:
        probabilities: (B, C, H, W) in [0, 1]; refined ones need not sum to 1.
        kind: ``margin``, the largest minus the second largest; ``confidence``, the largest;
            ``entropy``, the sum of p log p, which is 0 at its best.
    """
    if kind == "entropy":
        return -torch.special.entr(probabilities).sum(dim=1)
    if kind == "confidence":
        return probabilities.amax(dim=1)
    # The two largest so far, class by class: topk(2, dim=1) takes ten times as long on a CPU.
    largest, *others = probabilities.unbind(dim=1)
    second = torch.full_like(largest, -torch.inf)
    for one in others:
        second = torch.maximum(second, torch.minimum(largest, one))
        largest = torch.maximum(largest, one)
    return largest - second  # (E2)


def neighbours(maps: Tensor, count: int = 4, outside: float = 0) -> Tensor:
    """Return what the pixels beside each pixel hold: (count, B, C, H, W) of maps (B, C, H, W).

    Args:
        maps: anything that lies on images.
        count: 4 for those that share an edge with the pixel, 8 for its whole 3x3 window.
        outside: what is found beyond the image's borders.
    """
    height, width = maps.shape[-2:]
    padded = nn.functional.pad(maps, (1, 1, 1, 1), value=outside)
    places = {4: BESIDE, 8: BESIDE + CORNERS}[count]
    return torch.stack([
        padded[..., 1 + down:1 + down + height, 1 + right:1 + right + width]
        for down, right in places
    ])


def agreement(
    masks: Tensor, num_classes: int, count: int = 4, inside: Tensor | None = None,
    void_differs: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return, for each class, the pairs of its pixels and a neighbour that agree, and all of them.

    Both int64 (C,); their quotient is E_c (E3). In many masks a void rim stands for every outline:
    without it all neighbours would agree.

    Args:
        masks: int64 (B, H, W), 255 = void.
        num_classes: C, background included.
        count: 4 or 8 neighbours.
        inside: bool (B, H, W), False where a view shows padding; None where there is none.
        void_differs: a void neighbour counts as one of another class; False leaves it out.
    """
    shown = torch.ones_like(masks, dtype=torch.bool) if inside is None else inside
    known = shown & (masks != VOID)
    # Where it differs: the published estimate takes what lies beyond an image's border for a
    # neighbour of class 0. Here that, and padding, is nobody's neighbour.
    beside = neighbours(masks[:, None], count, outside=VOID)[:, :, 0]
    heard = known & neighbours((shown if void_differs else known)[:, None], count)[:, :, 0]
    index = masks.where(known, 0).flatten()
    same, pairs = (
        torch.zeros(num_classes, dtype=torch.int64, device=masks.device).scatter_add(
            0, index, counted.sum(dim=0).flatten()
        )
        for counted in (heard & (beside == masks), heard)  # both counts of (E3)
    )
    return same, pairs


def refine(
    probabilities: Tensor, expectation: Tensor, count: int = 4, support: int = 1,
    beta: float = BETA,
) -> Tensor:
    """Return the probabilities (E4) that the pixel or a supporting neighbour has the class.

    P(A or B) = P(A) + P(B) - P(A and B), and where a pixel has class c, so has its neighbour with
    probability E_c: P(A and B) is taken as p E_c, or as p n if that is more. With the neighbours'
    highest probability n of the class, p becomes p + beta [n - max(p n, p E)]; then the same with
    the second highest, up to ``support``. Nothing is normalised: the sum over classes is not 1.
    Where n < p E the probability falls, unlike that of a union: P(A and B) is taken above P(B).

    Args:
        probabilities: (B, C, H, W) in [0, 1]; 0 where there is no image.
        expectation: E, (C,), in [0, 1].
        count: 4 or 8 neighbours. Those outside the image have probability 0 and so come last.
        support: k, how many of them count.
        beta: how much, in [0, 1]; then the result stays in [0, 1].
    """
    expected = expectation.to(probabilities).view(-1, 1, 1)
    beside = neighbours(probabilities, count)
    for believed in (
        beside.amax(dim=0, keepdim=True) if support == 1  # much faster than sorting
        else beside.topk(support, dim=0).values
    ):
        joint = probabilities * torch.maximum(believed, expected)
        probabilities = probabilities + beta * (believed - joint)  # (E4)
    return probabilities


def threshold(indicators: Tensor, shown: Tensor, dropped: float) -> Tensor:
    """Return what an indicator must exceed so that a share of the shown pixels is dropped (E5).

    A scalar: the value of rank ``dropped`` times the number of shown pixels, rounded; with rank 0
    it is minus infinity. Ties with that value are dropped, too.

    Args:
        indicators: (B, H, W), unrefined.
        shown: bool (B, H, W), False where a view shows padding, which is not counted.
        dropped: alpha_t, the share of pixels, in [0, 1].
    """
    # No rank lies above this one; the rest need not be sorted.
    most = min(math.ceil(dropped * shown.numel()) + 1, shown.numel())
    ordered = indicators.where(shown, torch.inf).flatten().topk(most, largest=False).values
    rank = (shown.sum() * dropped).round().long()
    value = ordered.gather(0, (rank - 1).clamp(min=0).view(1))[0]
    return torch.where(rank > 0, value, -torch.inf)  # gamma_t of (E5)


class S4MC(SemiSupervised):
    """Training on the labels (E8) of the pixels that their neighbours support (E6).

    Args:
        config: the options.
        network: ``network(images) -> logits (B, C, h, w)``.
        num_classes: C, background included.

    Attributes:
        same, pairs: int64 (C,), what :func:`agreement` found in all labelled views up to now; with
            several processes, in those of the main one.
    """

    uses_all_weights = True

    # Where it differs: there is no contrastive loss, which the published configuration adds with a
    # memory whose classes are mixed up, and no auxiliary head; the teacher is the average of all
    # steps and of the batch statistics too, not a copy from the end of the warm-up that follows in
    # its parameters alone.

    def __init__(self, config: S4MCConfig, network: nn.Module, num_classes: int) -> None:
        super().__init__(config, network, config.start)
        if config.expectation and len(config.expectation) != num_classes:
            raise ValueError(
                f"s4mc.expectation has {len(config.expectation)} values for {num_classes} classes."
            )
        for name in ("same", "pairs"):
            self.register_buffer(name, torch.zeros(num_classes, dtype=torch.int64))

    @classmethod
    def from_config(
        cls, config: S4MCConfig, build: Callable[[], nn.Module], num_classes: int
    ) -> S4MC:
        return cls(config, build(), num_classes)

    def expectation(self) -> Tensor:
        """Return E_c (E3), (C,), as configured or as counted; 1 for a class not seen yet."""
        # Where it differs: counted in the labelled views seen so far; published, in all masks.
        if self.config.expectation:
            return torch.tensor(self.config.expectation, device=self.pairs.device)
        return (self.same / self.pairs.clamp(min=1)).where(self.pairs > 0, 1.0)  # (E3)

    def labelled_part(self, part: Part, rng: np.random.Generator) -> Part:
        """Count in the labelled views how often neighbours agree (E3); return the views.

        Args:
            part: weak views with masks.
            rng: unused.
        """
        if self.config.weight and self.training:
            same, pairs = agreement(
                part.masks, len(self.pairs), self.config.neighbours, part.inside,
                self.config.void_differs,
            )
            self.same += same
            self.pairs += pairs
        return part

    def unlabelled_loss(
        self, labelled: Part, unlabelled: Part, progress: float, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        view = self.student_part(unlabelled, progress, rng)
        logits, of_view = self.logits_together(labelled.images, view.images)
        # Where it differs: if nothing is kept, this is 0 (published: NaN).
        loss = cross_entropy(of_view, view.masks)  # the mean over K of (E7)
        if self.config.by_kept:
            loss = loss * view.inside.sum() / (view.masks != VOID).sum().clamp(min=1)  # (E7)
        return logits, loss  # both terms of (E8), L_u without w

    def weight(self, progress: float) -> float:
        """Return w, times labelled over unlabelled images where the lists are not equally long.

        That factor of the published code is 1 there: its list of labelled images is repeated.

        Args:
            progress: the share of the training that is done, in [0, 1].
        """
        return self.config.weight * self.config.list_ratio

    def student_part(self, unlabelled: Part, progress: float, rng: np.random.Generator) -> Part:
        """Return what the student sees and the labels of the pixels kept (E6), the others void.

        Args:
            unlabelled: weak views.
            progress: the share of the training that is done, in [0, 1].
            rng: draws colours, blur and rectangles.
        """
        mix = draw_mix(unlabelled.images, self.config.cutmix, rng)
        strong = self.config.strong
        images = strong_view(unlabelled.images, strong, rng) if strong else unlabelled.images
        shown = mix(shown_pixels(unlabelled))
        labels = self.teach(unlabelled.images, mix, shown, progress)
        return Part(unlabelled.names, mix(images), labels, inside=shown)  # utilde of (E1)

    @torch.no_grad()
    def teach(self, images: Tensor, mix: Mix, shown: Tensor, progress: float) -> Tensor:
        """Return the teacher's labels of mixed images, int64 (B, H, W), void where dropped.

        Args:
            images: weak views (B, 3, H, W), not mixed; ``mix`` says how they will be.
            shown: bool (B, H, W), False where the mixed images show padding.
            progress: the share of the training that is done.
        """
        config = self.config
        probabilities = self.probabilities(images)
        labels = mix(most_likely(probabilities))  # yhat of (E1)
        mixed = config.indicator_of == "mixed" and config.cutmix
        # Where it differs: the teacher is in evaluation mode here as well. The published code
        # judges in training mode, so that the images of a batch depend on each other.
        probabilities = self.probabilities(mix(images)) if mixed else mix(probabilities)
        probabilities = probabilities.where(shown[:, None], 0)  # p of (E1)
        # At a pasted rectangle's edge, neighbours are of different images, as published.
        refined = refine(
            probabilities, self.expectation(), config.neighbours, config.support, config.beta
        )
        # Where it differs: a batch is that of one process, and padding is not counted.
        least = threshold(
            indicator(probabilities, config.indicator), shown,
            config.drop * (1 - progress),  # alpha_t of (E5)
        )
        return labels.where(shown & (indicator(refined, config.indicator) > least), VOID)  # (E6)
