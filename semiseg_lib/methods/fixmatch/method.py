"""FixMatch for segmentation, and UniMatch, in equations.

    (E1)  yhat_i = argmax_c q_{i,c} if max_c q_{i,c} >= tau, else void,
          q = softmax(f(u; thetabar))
    (E2)  utilde_k = M_k(S_k(u)),    ytilde_k = M_k(yhat),    k = 1 .. K
    (E3)  l(yhat, p) = -1/|Omega| sum_{i in Omega, yhat_i != void} log p_{i,yhat_i}
    (E4)  L_s = 1/K sum_k l(ytilde_k, p(utilde_k)),    p(x) = softmax(f(x; theta))
    (E5)  L_d = l(yhat, softmax(g(D(h(u))))),    f = g after h
    (E6)  L_u = L_s, or with dropped features L_u = (L_s + L_d) / 2
    (E7)  L = CE(y, p(x)) + w L_u

=============  ============  =======================================================================
symbol         shape         meaning
=============  ============  =======================================================================
x              (B, 3, H, W)  labelled images in [0, 1]
y              (B, H, W)     their masks: class ids, 255 = void
u              (B, 3, H, W)  weak views of unlabelled images
utilde         (B, 3, H, W)  strong and mixed views of the same
S              view          strong view: gives each image colours of its own
M              view          CutMix: pastes rectangles of the next image onto each
K              number        how many strong views
f              (B, C, H, W)  the network's logits, enlarged to the image
g, h           -             its decoder and its encoder
D              operator      sets whole feature maps to 0 and enlarges the others to make up for
                             them
theta          weights       of the student
thetabar       weights       of the teacher, their moving average, which is deployed
p, q           (B, C, H, W)  probabilities of student and teacher
yhat           (B, H, W)     the teacher's labels of u, 255 = void
ytilde         (B, H, W)     the same, mixed like the views
tau            number        threshold of the teacher's confidence
Omega          pixels        those that show an image and no padding
l              number        cross-entropy over all pixels shown, so that few sure ones weigh little
L_s, L_d, L_u  number        losses of strong views, of dropped features, of both
CE             number        mean of -log of the label's probability over pixels that are not void
w              number        weight of the unlabelled loss
L              number        the loss
i, c, k        index         pixel, class, view
=============  ============  =======================================================================
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.cutmix import draw_mix
from semiseg_lib.batches.part import Part, required
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import SemiSupervised
from semiseg_lib.methods.fixmatch import FixMatchConfig
from semiseg_lib.methods.losses import (
    confident_cross_entropy,
    enlarge,
    restrict,
    shown_pixels,
)


def sure_labels(probabilities: Tensor, threshold: float) -> Tensor:
    """Return the labels yhat of (E1), int64 (B, H, W), of probabilities (B, C, H, W)."""
    confidence, labels = probabilities.max(dim=1)
    return labels.where(confidence >= threshold, VOID)  # (E1)


def dropped(features: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Return D(features) of (E5), (B, D, h, w): each map is 0 with the chance ``share``."""
    kept = torch.from_numpy(rng.random(features.shape[:2]) >= share).to(features)
    return features * kept[..., None, None] / (1 - share)  # D of (E5)


class FixMatch(SemiSupervised):
    """Training on the masks and on the teacher's confident labels, (E7); see the equations above.

    Args:
        config: the options.
        network: the student, ``network(images) -> logits (B, C, h, w)``.
        start: the share of the training after which unlabelled images are read, in [0, 1].
    """

    uses_all_weights = True

    def __init__(self, config: FixMatchConfig, network: nn.Module, start: float = 0.0) -> None:
        super().__init__(config, network, start)
        self.reads = frozenset({"allowed"} if config.constrain and config.weight else ())

    def unlabelled_loss(
        self, labelled: Part, unlabelled: Part, progress: float, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        allowed = required(unlabelled.allowed, "allowed classes") if self.config.constrain else None
        labels = self.teach(unlabelled.images, allowed)
        views = [self.strong_part(unlabelled, labels, rng) for _ in range(self.config.views)]
        logits, *of_views = self.logits_together(
            labelled.images, *(view.images for view in views)
        )
        loss = sum(  # (E4)
            confident_cross_entropy(one, view.masks, view.inside)  # (E3)
            for one, view in zip(of_views, views, strict=True)
        ) / len(views)
        if self.config.feature_dropout:
            loss = (loss + self._of_dropped(unlabelled, labels, rng)) / 2  # (E6)
        # Where it differs: UniMatch's code also halves the sum of both terms; here L is not halved,
        # so that weight 0 is supervised training with the same learning rate.
        return logits, loss  # both terms of (E7), L_u without w

    @torch.no_grad()
    def teach(self, images: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Return the teacher's labels (E1), int64 (B, H, W), void where it is not sure.

        Args:
            images: weak views (B, 3, H, W) in [0, 1].
            allowed: bool (B, C, H, W), the classes that boxes allow in each pixel; None allows all.
        """
        # The average teaches, as in UniMatch's second version; in its first one the student does.
        logits = enlarge(self.average(images).float(), images.shape[-2:])
        if allowed is not None:
            logits = restrict(logits, allowed)
        return sure_labels(logits.softmax(dim=1), self.config.threshold)  # q of (E1)

    def strong_part(self, unlabelled: Part, labels: Tensor, rng: np.random.Generator) -> Part:
        """Return a strong view of every image, mixed, with its labels as masks, (E2).

        Args:
            unlabelled: weak views.
            labels: int64 (B, H, W) of the weak views.
            rng: draws colours, blur and rectangles.
        """
        # UniMatch pastes from partner images of their own; here from the next image of the batch.
        mix = draw_mix(unlabelled.images, self.config.cutmix, rng)
        strong = strong_view(unlabelled.images, self.config.strong, rng)
        inside = mix(shown_pixels(unlabelled))
        return Part(unlabelled.names, mix(strong), mix(labels), inside=inside)  # (E2)

    def _of_dropped(self, unlabelled: Part, labels: Tensor, rng: np.random.Generator) -> Tensor:
        """Return L_d of (E5)."""
        share = self.config.feature_dropout
        features = [dropped(one, share, rng) for one in self.network.encode(unlabelled.images)]
        logits = self.network.decode(features)
        return confident_cross_entropy(logits, labels, shown_pixels(unlabelled))  # (E5)
