"""Mean Teacher in equations.

    (E1)  thetabar <- d thetabar + (1 - d) theta    after every step,
          in methods/averaging.py
    (E2)  p = softmax(f(utilde; theta)),    q = sg[softmax(f(u; thetabar))],    utilde = S(u)
    (E3)  J = 1/|Omega| sum_{i in Omega} sum_c (p_{i,c} - q_{i,c})^2
    (E4)  w(t) = w_max exp(-5 (1 - min(t / r, 1))^2)
    (E5)  L = CE(y, softmax(f(x; theta))) + w(t) J

========  ============  =====================================================================
symbol    shape         meaning
========  ============  =====================================================================
x         (B, 3, H, W)  labelled images in [0, 1]
y         (B, H, W)     their masks: class ids, 255 = void
u         (B, 3, H, W)  weak views of unlabelled images
utilde    (B, 3, H, W)  strong views of the same
S         view          gives each image colours of its own; nothing moves
f         (B, C, H, W)  the network's logits, enlarged to the image
theta     weights       of the student
thetabar  weights       of the teacher, their moving average, which is deployed
d         number        decay of the average
p, q      (B, C, H, W)  probabilities of student and teacher
sg        operator      takes no gradient
Omega     pixels        those that show an image and no padding
J         number        how much student and teacher differ, 0 .. 2
w         number        weight of J, which rises to w_max
w_max     number        its largest value
t         number        share of the training that is done
r         number        share of the training in which the weight rises
CE        number        mean of -log of the label's probability over pixels that are not void
L         number        the loss
i, c      index         pixel and class
========  ============  =====================================================================
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from semiseg_lib.batches.part import Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.methods.base import SemiSupervised
from semiseg_lib.methods.losses import enlarge, shown_pixels


def squared_difference(logits: Tensor, taught: Tensor, inside: Tensor) -> Tensor:
    """Return J of (E3), 0 .. 2.

    Args:
        logits: (B, C, h, w), enlarged to the probabilities' size first; p is their softmax.
        taught: q, probabilities (B, C, H, W).
        inside: bool (B, H, W), False where a view shows padding.
    """
    own = enlarge(logits.float(), taught.shape[-2:]).softmax(dim=1)  # p of (E2)
    each = (own - taught).square().sum(dim=1)
    return each.where(inside, 0).sum() / inside.sum().clamp(min=1)  # (E3)


def ramp_up(progress: float, share: float) -> float:
    """Return w(t) / w_max of (E4), exp(-5) .. 1; with ``share`` 0 it is 1 from the start."""
    t = min(progress / share, 1.0) if share else 1.0
    return math.exp(-5 * (1 - t) ** 2)  # (E4)


class MeanTeacher(SemiSupervised):
    """Training on the masks and on the teacher's probabilities, (E5); see the equations above.

    Args:
        config: the options.
        network: the student, ``network(images) -> logits (B, C, h, w)``.
        start: the share of the training after which unlabelled images are read, in [0, 1].
    """

    uses_all_weights = True

    # Where it differs: d is smaller in the first steps, so that the random start is soon forgotten;
    # the paper has d 0.99 in its ramp and 0.999 after it (recalled, not read).

    def unlabelled_loss(
        self, labelled: Part, unlabelled: Part, progress: float, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        taught = self.probabilities(unlabelled.images)  # q of (E2)
        views = unlabelled.images
        if self.config.strong:
            views = strong_view(views, self.config.strong, rng)  # utilde of (E2)
        logits, of_views = self.logits_together(labelled.images, views)
        # The paper's J takes in the labelled images, too (recalled, not read): here they have their
        # masks alone, as in the other methods, so that their arms differ in one thing.
        consistency = squared_difference(of_views, taught, shown_pixels(unlabelled))
        return logits, consistency  # both terms of (E5), J without w(t)

    def weight(self, progress: float) -> float:
        return self.config.weight * ramp_up(progress, self.config.ramp)  # (E4)
