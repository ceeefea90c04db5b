"""Supervised training in equations.

    (E1)  L = -1/|V| sum_{i in V} log p_{i,y_i},    p = softmax(l(x))

As the control of methods that learn from strong views, x and y are first replaced by M(S(x)) and
M(y): S gives each image colours of its own, M pastes rectangles of the next image onto each.

======  ============  ===========================================
symbol  shape         meaning
======  ============  ===========================================
x       (B, 3, H, W)  labelled images in [0, 1]
y       (B, H, W)     their masks: class ids, 255 = void
L       number        the loss
l       (B, C, H, W)  the network's logits, enlarged to the image
p       (B, C, H, W)  probabilities
V       pixels        those that are not void
i       index         pixel
======  ============  ===========================================
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from semiseg_lib.batches.cutmix import draw_mix
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.methods.base import AveragedMethod
from semiseg_lib.methods.losses import cross_entropy
from semiseg_lib.methods.supervised import SupervisedConfig


def strong_part(
    part: Part, config: SupervisedConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return strong views M(S(x)) of labelled images and their masks M(y)."""
    mix = draw_mix(part.images, config.cutmix, rng)
    return mix(strong_view(part.images, config.strong, rng)), mix(part.masks)


class Supervised(AveragedMethod):
    """Training on the masks; see the equations above.

    Args:
        config: the options.
        network: ``network(images) -> logits (B, C, h, w)``.
    """

    uses_all_weights = True

    def __init__(self, config: SupervisedConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        images, masks = batch.labelled.images, batch.labelled.masks
        if self.config.strong:
            images, masks = strong_part(
                batch.labelled, self.config, np.random.default_rng(batch.seed)
            )
        return {"labelled": cross_entropy(self.network(images), masks)}  # (E1)
