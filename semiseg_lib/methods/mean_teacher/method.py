"""Mean Teacher in equations.

    (E1)  theta' <- d theta' + (1 - d) theta                       after every step
    (E2)  p = softmax(f(S(u); theta)),   q = sg[softmax(f(u; theta'))]
    (E3)  J = 1/|V| sum_{i in V} sum_c (p_i[c] - q_i[c])^2
    (E4)  w(t) = weight exp(-5 (1 - min(t / r, 1))^2)
    (E5)  L = CE(f(x; theta), y) + w(t) J

Symbols:
    x, y          labelled images (B, 3, H, W) in [0, 1] and masks (B, H, W), 255 = void
    u             weak views of unlabelled images, (B, 3, H, W)
    S             strong view: each image gets colours of its own, nothing moves
    f             the network; its logits are enlarged to the image
    theta, theta' weights of the student, and of the teacher, which is deployed
    p, q          (B, C, H, W), probabilities of student and teacher
    V             the pixels i that show an image and no padding
    t, r          share of the training that is done, and share in which the weight rises
    sg            takes no gradient
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor, nn

from semiseg_lib.batches.part import Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.methods.base import SemiSupervised
from semiseg_lib.methods.losses import enlarge, shown_pixels
from semiseg_lib.methods.mean_teacher import MeanTeacherConfig


def squared_difference(logits: Tensor, taught: Tensor, inside: Tensor) -> Tensor:
    """Return J of (E3), 0 .. 2.

    Args:
        logits: (B, C, h, w), enlarged to the probabilities' size first; p is their softmax.
        taught: q, probabilities (B, C, H, W).
        inside: bool (B, H, W), False where a view shows padding.
    """
    own = enlarge(logits.float(), taught.shape[-2:]).softmax(dim=1)
    each = (own - taught).square().sum(dim=1)
    return each.where(inside, 0).sum() / inside.sum().clamp(min=1)


def ramp_up(progress: float, share: float) -> float:
    """Return w(t) / weight of (E4), e^-5 .. 1; with ``share`` 0 it is 1 from the start."""
    t = min(progress / share, 1.0) if share else 1.0
    return math.exp(-5 * (1 - t) ** 2)


class MeanTeacher(SemiSupervised):
    """Training on the masks and on the teacher's probabilities, (E5); see the equations above.

    Args:
        config: the options.
        network: the student, ``network(images) -> logits (B, C, h, w)``.
    """

    uses_all_weights = True

    def __init__(self, config: MeanTeacherConfig, network: nn.Module) -> None:
        # (E1), with a smaller d in the first steps, so that the random start is soon forgotten; the
        # paper has d 0.99 in its ramp and 0.999 after it (recalled, not read).
        super().__init__(config, network)

    def unlabelled_loss(
        self, labelled: Part, unlabelled: Part, progress: float, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        taught = self.probabilities(unlabelled.images)  # q of (E2)
        views = unlabelled.images
        if self.config.strong:
            views = strong_view(views, self.config.strong, rng)
        logits, of_views = self.logits_together(labelled.images, views)
        # The paper's J takes in the labelled images, too (recalled, not read): here they have their
        # masks alone, as in the other methods, so that their arms differ in one thing.
        return logits, squared_difference(of_views, taught, shown_pixels(unlabelled))

    def weight(self, progress: float) -> float:
        return self.config.weight * ramp_up(progress, self.config.ramp)  # (E4)
