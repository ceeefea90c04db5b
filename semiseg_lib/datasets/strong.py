"""Strong views: the same image with its colours changed much more than for a weak view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

from semiseg_lib.datasets.augment import recolour

KERNEL = 9  # pixels; holds two standard deviations of the strongest default blur on either side


@dataclass(frozen=True)
class StrongConfig:
    """How far a strong view may differ from the weak one. The defaults are FixMatch's.

    Nothing moves: a label of the weak view is one of the strong view too.

    Attributes:
        jitter: chance of a change of brightness, contrast, saturation and hue.
        brightness, contrast, saturation: factors are drawn from 1 - x .. 1 + x.
        hue: turn of the colour circle, drawn from -x .. x (1 is a full turn).
        grey: chance that the colours go.
        blur: chance of a Gaussian blur.
        sigma: its standard deviation in pixels, drawn from this range.
    """

    jitter: float = 0.8
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25
    grey: float = 0.2
    blur: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        for name in ("jitter", "grey", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"strong.{name} is {getattr(self, name)}; it must be 0 .. 1.")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"strong.hue is {self.hue}; it must be 0 .. 0.5, half a turn.")
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"strong.sigma is {self.sigma}; it must be a range above 0.")


def strong_view(images: Tensor, config: StrongConfig, rng: np.random.Generator) -> Tensor:
    """A strong view of each image (B, 3, H, W) in [0, 1]; each has its own draws.

    In single precision also under autocast: half as exact would be a visible step of grey.
    """
    with torch.autocast(images.device.type, enabled=False):
        return _views(images.float(), config, rng)


def _views(images: Tensor, config: StrongConfig, rng: np.random.Generator) -> Tensor:
    views = []
    for image in images:
        jitter, grey, blur = rng.random(3) < (config.jitter, config.grey, config.blur)
        colours, sigma = rng.uniform(-1, 1, (1, 4)), rng.uniform(*config.sigma)
        if jitter:
            image = recolour(image[None], colours, config)[0]
        if grey:
            image = v2.rgb_to_grayscale(image, num_output_channels=3)
        if blur:
            image = v2.gaussian_blur(image, [KERNEL, KERNEL], [sigma, sigma])
        views.append(image)
    return torch.stack(views)
