"""Mean Teacher (Tarvainen & Valpola 2017), pixel by pixel: the plainest consistency method.

The moving average of a student's weights is its teacher. On an unlabelled image the student is to
give the probabilities that the teacher gives, though it sees a stronger view. There is no label, no
threshold and no second network in it, so this file is also the template for methods of your own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.part import Batch
from semiseg_lib.batches.strong_view import StrongConfig, strong_view
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.parts import HardPixels, enlarge, hard_cross_entropy, shown_pixels


@dataclass(frozen=True)
class MeanTeacherConfig(Configuration):
    """Options of Mean Teacher.

    Attributes:
        weight: of the squared difference, once it has risen. With 0 no unlabelled image is
            looked at.
        ramp: share of the training in which the weight rises; 0 for none.
        strong: how far the student's view differs from the teacher's; None for not at all.
        ema_decay: decay of the moving average that teaches and is deployed.
        hard: the labelled loss is the mean over hard pixels only; None for all of them.
    """

    name: Literal["mean-teacher"] = "mean-teacher"
    weight: float = 5.0
    ramp: float = 0.25
    strong: StrongConfig | None = StrongConfig()
    ema_decay: float = 0.99
    hard: HardPixels | None = None

    def __post_init__(self) -> None:
        if self.weight < 0 or not 0 <= self.ramp <= 1:
            raise ValueError(
                f"mean-teacher.weight is {self.weight} and ramp {self.ramp}; they must be at least "
                "0, and the ramp at most 1."
            )


class MeanTeacher(AveragedMethod):
    """L = CE(labelled) + w(t) mean over pixels of sum_c (p_c - q_c)^2.

    p: the student's probabilities on the strong view; q: the teacher's on the weak one, without
    gradient. w(t) = weight exp(-5 (1 - t)^2), where t goes from 0 to 1 during the ramp.
    """

    uses_all_weights = True

    def __init__(self, config: MeanTeacherConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config
        self.learns_from = frozenset({"labelled", "unlabelled"} if config.weight else {"labelled"})

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        labelled, unlabelled, config = batch.labelled, batch.unlabelled, self.config
        if not config.weight:
            logits = self.network(labelled.images)
            return {"labelled": hard_cross_entropy(logits, labelled.masks, config.hard)}
        taught = self.probabilities(unlabelled.images)
        rng = np.random.default_rng(batch.seed)
        views = unlabelled.images
        if config.strong:
            views = strong_view(views, config.strong, rng)
        logits = self.network(torch.cat([labelled.images, views]))
        own, of_views = logits.split([len(labelled.images), len(views)])
        difference = squared_difference(of_views, taught, shown_pixels(unlabelled))
        return {
            "labelled": hard_cross_entropy(own, labelled.masks, config.hard),
            "unlabelled": config.weight * ramp_up(progress, config.ramp) * difference,
        }


def squared_difference(logits: Tensor, taught: Tensor, inside: Tensor) -> Tensor:
    """Sum over classes of (p - q)^2, 0 .. 2, as the mean over the pixels that are shown.

    Args:
        logits: (B, C, h, w), enlarged to the probabilities' size first; p is their softmax.
        taught: q, probabilities (B, C, H, W).
        inside: bool (B, H, W), False where a view shows padding.
    """
    own = enlarge(logits.float(), taught.shape[-2:]).softmax(dim=1)
    each = (own - taught).square().sum(dim=1)
    return each.where(inside, 0).sum() / inside.sum().clamp(min=1)


def ramp_up(progress: float, share: float) -> float:
    """exp(-5 (1 - t)^2), with t from 0 to 1 in the first ``share`` of the training, then 1."""
    t = min(progress / share, 1.0) if share else 1.0
    return math.exp(-5 * (1 - t) ** 2)
