"""FixMatch for segmentation, and UniMatch, in equations.

    (E1)  q = softmax(f(u; theta'));  y^_i = argmax_c q_i[c] if max_c q_i[c] >= tau, else void
    (E2)  u_k = M_k(S_k(u)),  y^_k = M_k(y^)                          k = 1 .. K strong views
    (E3)  l(z, y^) = -1/|V| sum_{i in V, y^_i not void} log softmax(z_i)[y^_i]
    (E4)  L_s = 1/K sum_k l(f(u_k; theta), y^_k)
    (E5)  L_d = l(g(D(h(u))), y^),   f = g after h
    (E6)  L_u = L_s,   or with dropped features (UniMatch) L_u = (L_s + L_d) / 2
    (E7)  L = CE(f(x; theta), y) + weight L_u

Symbols:
    x, y          labelled images (B, 3, H, W) in [0, 1] and masks (B, H, W), 255 = void
    u             weak views of unlabelled images, (B, 3, H, W)
    theta, theta' weights of the student, and their moving average: the teacher, which is deployed
    f, g, h       the network, its decoder and its encoder; logits are enlarged to the image
    q, y^         the teacher's probabilities (B, C, H, W) and labels (B, H, W)
    tau           threshold of the teacher's confidence
    S, M          strong view (colours), and CutMix: rectangles of the next image pasted onto each
    D             sets whole feature maps to 0 and enlarges the others to make up for them
    V             the pixels i that show an image and no padding; few sure pixels so weigh little
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from semiseg_lib.batches.cutmix import draw_mix
from semiseg_lib.batches.part import Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.base import SemiSupervised
from semiseg_lib.methods.losses import confident_cross_entropy, shown_pixels


def sure_labels(probabilities: Tensor, threshold: float) -> Tensor:
    """Return the labels y^ of (E1), int64 (B, H, W), of probabilities (B, C, H, W)."""
    confidence, labels = probabilities.max(dim=1)
    return labels.where(confidence >= threshold, VOID)


def dropped(features: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Return D(features) of (E5), (B, D, h, w): each map is 0 with the chance ``share``."""
    kept = torch.from_numpy(rng.random(features.shape[:2]) >= share).to(features)
    return features * kept[..., None, None] / (1 - share)


class FixMatch(SemiSupervised):
    """Training on the masks and on the teacher's confident labels, (E7); see the equations above.

    Args:
        config: the options.
        network: the student, ``network(images) -> logits (B, C, h, w)``.
    """

    uses_all_weights = True

    def unlabelled_loss(
        self, labelled: Part, unlabelled: Part, progress: float, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        labels = self.teach(unlabelled.images)
        views = [self.strong_part(unlabelled, labels, rng) for _ in range(self.config.views)]
        logits, *of_views = self.logits_together(
            labelled.images, *(view.images for view in views)
        )
        strong = sum(  # (E4)
            confident_cross_entropy(one, view.masks, view.inside)  # (E3)
            for one, view in zip(of_views, views, strict=True)
        ) / len(views)
        if not self.config.feature_dropout:
            return logits, strong
        # (E6). UniMatch's code also halves the sum of both terms of (E7); here L is not halved, so
        # that weight 0 is supervised training with the same learning rate.
        return logits, (strong + self._of_dropped(unlabelled, labels, rng)) / 2

    @torch.no_grad()
    def teach(self, images: Tensor) -> Tensor:
        """Return the teacher's labels (E1), int64 (B, H, W), void where it is not sure.

        Args:
            images: weak views (B, 3, H, W) in [0, 1].
        """
        # The average teaches, as in UniMatch's second version; in its first one the student does.
        return sure_labels(self.probabilities(images), self.config.threshold)

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
        return Part(unlabelled.names, mix(strong), mix(labels), inside=inside)

    def _of_dropped(self, unlabelled: Part, labels: Tensor, rng: np.random.Generator) -> Tensor:
        """Return L_d of (E5)."""
        share = self.config.feature_dropout
        features = [dropped(one, share, rng) for one in self.network.encode(unlabelled.images)]
        logits = self.network.decode(features)
        return confident_cross_entropy(logits, labels, shown_pixels(unlabelled))
