"""Cross pseudo supervision in equations.

    (E1)  yhat_k = argmax_c p_{k,c}(v),    p_k = softmax(f_k),    k = 1, 2
    (E2)  L_u = CE_Omega(yhat_2, p_1(v)) + CE_Omega(yhat_1, p_2(v))
    (E3)  L = sum_k CE_F(y, p_k(x)) + lambda L_u

Plain CPS: v is all images, labelled and unlabelled, and the labels are those of the same pass.
CutMix-CPS labels the unlabelled images u as they are and learns mixed ones:

    (E4)  v = M(u),    yhat_k = M(argmax_c p_{k,c}(u))

======  ============  =====================================================================
symbol  shape         meaning
======  ============  =====================================================================
x       (B, 3, H, W)  labelled images in [0, 1]
y       (B, H, W)     their masks: class ids, 255 = void
u       (B, 3, H, W)  weak views of unlabelled images
v       (B, 3, H, W)  the images that both networks learn from each other
f       (B, C, H, W)  f_1, f_2: the networks' logits, enlarged to the image
p       (B, C, H, W)  p_1, p_2: their probabilities
yhat    (B, H, W)     yhat_1, yhat_2: their labels; without gradient, without threshold
M       view          CutMix: pastes rectangles of the next image onto each
CE      number        mean of -log of the label's probability over the pixels of F or Omega
F       pixels        those of labelled images that are not void
Omega   pixels        those of v that show an image and no padding
lambda  number        weight of the cross loss
L_u     number        the cross loss
L       number        the loss of both networks
c, k    index         class, network
======  ============  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.cutmix import draw_mix
from semiseg_lib.batches.part import Part
from semiseg_lib.methods.base import Method, SemiSupervised
from semiseg_lib.methods.cps import CPSConfig
from semiseg_lib.methods.losses import confident_cross_entropy, enlarge, most_likely, shown_pixels


def labels_at(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the labels yhat of (E1), int64 (B, H, W), of logits (B, C, h, w)."""
    return most_likely(enlarge(logits.detach().float(), size))  # (E1)


def cross_loss(
    one: Tensor, two: Tensor, labels_one: Tensor, labels_two: Tensor, inside: Tensor
) -> Tensor:
    """Return L_u of (E2).

    Args:
        one, two: logits (B, C, h, w) of both networks.
        labels_one, labels_two: int64 (B, H, W), by both networks.
        inside: bool (B, H, W), False where a view shows padding.
    """
    return (  # (E2)
        confident_cross_entropy(one, labels_two, inside)
        + confident_cross_entropy(two, labels_one, inside)
    )


class CPS(SemiSupervised):
    """Two networks that learn the masks and each other's labels, (E3); see the equations above.

    The moving average of f_1 is deployed; with ``ema_decay`` 0 it is f_1 itself, as published.

    Args:
        config: the options.
        network, second: f_1 and f_2, ``network(images) -> logits (B, C, h, w)``.
    """

    uses_all_weights = True
    networks = 2

    def __init__(self, config: CPSConfig, network: nn.Module, second: nn.Module) -> None:
        super().__init__(config, network)
        self.second = second

    @classmethod
    def from_config(
        cls, config: CPSConfig, build: Callable[[], nn.Module], num_classes: int
    ) -> CPS:
        return cls(config, build(), build())

    def load_start(self, finished: Sequence[Method]) -> None:
        """Load the networks of two finished methods, one each.

        Args:
            finished: two methods.
        """
        first, second = finished
        self.load_start_of_network(first)
        self.second.load_state_dict(second.network.state_dict())

    def unlabelled_loss(
        self, labelled: Part, unlabelled: Part, progress: float, rng: np.random.Generator
    ) -> tuple[Sequence[Tensor], Tensor]:
        if self.config.cutmix:
            # Before any label is made; see SemiSupervised.
            return self.labelled_logits(labelled.images), self._mixed(unlabelled, rng)
        return self._plain(labelled, unlabelled)

    def labelled_logits(self, images: Tensor) -> list[Tensor]:
        """Return both networks' logits, (B, C, h, w) each.

        Args:
            images: (B, 3, H, W) in [0, 1].
        """
        return [self.network(images), self.second(images)]

    def labelled_loss(self, logits: Sequence[Tensor], masks: Tensor) -> Tensor:
        """Return the sum over both networks in (E3).

        Args:
            logits: (B, C, h, w) of each network.
            masks: int64 (B, H, W), 255 = void.
        """
        of_one = super().labelled_loss
        return sum(of_one(one, masks) for one in logits)  # (E3), which lambda L_u joins

    def _plain(self, labelled: Part, unlabelled: Part) -> tuple[list[Tensor], Tensor]:
        """Return both networks' logits of the labelled images, and the cross loss of all images."""
        # One pass over all images is faster. The published code has two, so that batch
        # normalisation sees labelled and unlabelled images apart.
        images = torch.cat([labelled.images, unlabelled.images])
        inside = torch.cat([shown_pixels(labelled), shown_pixels(unlabelled)])
        one, two = self.labelled_logits(images)
        size = images.shape[-2:]
        cross = cross_loss(one, two, labels_at(one, size), labels_at(two, size), inside)
        return [logits[: len(labelled.images)] for logits in (one, two)], cross

    def _mixed(self, unlabelled: Part, rng: np.random.Generator) -> Tensor:
        """Return the cross loss of mixed images, (E4)."""
        # The published code pastes from a second batch; here from the next image of the same one.
        mix = draw_mix(unlabelled.images, self.config.cutmix, rng)
        labels = [mix(self._labels_of_unmixed(net, unlabelled.images))  # yhat of (E4)
                  for net in (self.network, self.second)]
        mixed = mix(unlabelled.images)  # v of (E4)
        return cross_loss(
            self.network(mixed), self.second(mixed), *labels, mix(shown_pixels(unlabelled))
        )

    @torch.no_grad()
    def _labels_of_unmixed(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return a network's labels of images that are not mixed, int64 (B, H, W)."""
        training = network.training
        network.train(training and self.config.label_passes == "train")
        labels = labels_at(network(images), images.shape[-2:])
        network.train(training)
        return labels
