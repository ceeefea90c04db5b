"""Losses pixel by pixel, and a network whose logits each see one pixel only."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.cutmix import Mix
from semiseg_lib.datasets.labels import VOID


class Pixelwise(nn.Module):
    """Two convolutions of 1x1 pixel in double precision: nothing leaks to a neighbour."""

    stride = 1

    def __init__(self, seed: int, classes: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Conv2d(3, 5, 1).double()
        self.last = nn.Conv2d(5, classes, 1).double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(3 * torch.randn(parameter.shape, generator=generator))
            self.last.bias.zero_()  # or one class would win everywhere

    def encode(self, images: Tensor) -> list[Tensor]:
        return [self.first(images.double() - 0.5).relu()]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.last(features[0])

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images))


def logits(*shape: int, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    """Drawn logits in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def masks(*shape: int, classes: int = 4, void: float = 0.3) -> torch.Tensor:
    """Drawn masks, some of them void."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(0, classes, shape, generator=generator)
    drawn[torch.rand(shape, generator=generator) < void] = VOID
    return drawn


def sure_labels(logits: Tensor, threshold: float = 0.0) -> np.ndarray:
    """The most likely class of every pixel, VOID where it is less likely than the threshold."""
    labels = np.empty((len(logits), *logits.shape[-2:]), int)
    for place in np.ndindex(*labels.shape):
        number, row, column = place
        powers = [math.exp(value) for value in logits[number, :, row, column].tolist()]
        best = max(range(len(powers)), key=powers.__getitem__)
        labels[place] = best if powers[best] / sum(powers) >= threshold else VOID
    return labels


def mixed_by_loop(maps: np.ndarray, mix: Mix) -> np.ndarray:
    """Maps (B, H, W) of which the next image's are taken under the mask."""
    out = maps.copy()
    for number, row, column in np.argwhere(mix.masks.numpy()):
        out[number, row, column] = maps[(number + 1) % len(maps), row, column]
    return out


def loss_by_loop(logits: Tensor, labels: np.ndarray, inside: np.ndarray) -> float:
    """Sum over the labelled pixels that are shown, over the number of all that are shown."""
    values = logits.detach().numpy()
    total, count = 0.0, 0
    for number, row, column in np.ndindex(*labels.shape):
        if not inside[number, row, column]:
            continue
        count += 1
        label = labels[number, row, column]
        if label != VOID:
            pixel = values[number, :, row, column]
            total += math.log(sum(math.exp(value) for value in pixel)) - pixel[label]
    return total / max(count, 1)


def supervised_by_loop(logits: Tensor, masks: Tensor) -> float:
    """Mean over the labelled pixels."""
    truth = masks.numpy()
    return loss_by_loop(logits, truth, truth != VOID)
