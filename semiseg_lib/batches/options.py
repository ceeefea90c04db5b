"""Options of weak views, strong views and CutMix; importing them does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semiseg_lib.core.fingerprint import Configuration


@dataclass(frozen=True)
class ViewConfig(Configuration):
    """How far a weak view may differ from its image.

    Attributes:
        crop: height and width of a view in pixels, at least 16; 0 keeps the image's own size.
        scale: the image is first resized by a factor drawn from this range.
        shift: largest shift in pixels, each way, beyond what cropping does.
        border: what a view shows beyond the image: ``padding``, which is void, or the image
            mirrored at its edge (``mirror``).
        flip: chance of a left-right flip.
        brightness, contrast, saturation: factors are drawn from 1 - x .. 1 + x.
        hue: turn of the colour circle, drawn from -x .. x (1 is a full turn).

    Raises:
        ValueError: a number is out of its range.
    """

    crop: int = 0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: int = 0
    border: Literal["padding", "mirror"] = "padding"
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        if self.crop and self.crop < 16:
            raise ValueError(
                f"augment.crop is {self.crop}; it must be at least 16, or 0 for the image's size."
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"augment.scale is {self.scale}; it must be a range above 0.")
        if self.shift < 0:
            raise ValueError(f"augment.shift is {self.shift}; it must be >= 0.")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"augment.flip is {self.flip}; it must be in [0, 1].")

    @property
    def recolours(self) -> bool:
        """Return whether colours change at all."""
        return any((self.brightness, self.contrast, self.saturation, self.hue))


@dataclass(frozen=True)
class StrongConfig(Configuration):
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
                raise ValueError(f"strong.{name} is {getattr(self, name)}; it must be in [0, 1].")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"strong.hue is {self.hue}; it must be in [0, 0.5].")
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"strong.sigma is {self.sigma}; it must be a range above 0.")


@dataclass(frozen=True)
class CutMixConfig(Configuration):
    """How much of an image is covered by another one. The defaults are FixMatch's single box.

    Attributes:
        chance: of an image being mixed at all.
        boxes: rectangles a mask is made of. Where two of them overlap, the covered image shows
            again (exclusive or).
        area: the share of the image that the rectangles cover together, overlaps counted twice;
            drawn from this range.
        aspect: the shorter side of a rectangle over the longer one is at least this, both taken as
            shares of the image's sides; 0 for any.
    """

    chance: float = 0.5
    boxes: int = 1
    area: tuple[float, float] = (0.02, 0.4)
    aspect: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"cutmix.area is {self.area}; it must be a range within 0 .. 1.")
        if self.boxes < 1:
            raise ValueError(f"cutmix.boxes is {self.boxes}; it must be at least 1.")
        for name in ("chance", "aspect"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"cutmix.{name} is {getattr(self, name)}; it must be 0 .. 1.")


THREE_BOXES = CutMixConfig(chance=1.0, boxes=3, area=(0.25, 0.5), aspect=0.0)
"""The masks of CutMix-CPS (French et al. 2020; Chen et al. 2021)."""
