"""Random choices that are identical on every platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from .worlds import SPLITS, World

Choice = TypeVar("Choice")

# Each concern has its own stream, so that changing one does not affect the others.
STREAM_SCENERY, STREAM_OBJECTS, STREAM_LIGHT, STREAM_BOXES = range(4)


class Dice:
    """A seeded generator reduced to the draws that mini-VOC needs.

    Only uniform doubles and integers are drawn, and scaled here one operation at a time: compiled
    code may fuse a multiplication and an addition on some processors.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def between(self, low: float, high: float) -> float:
        """Return a uniform number in [low, high)."""
        return low + (high - low) * self.generator.random()

    def whole(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return int(self.generator.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return bool(self.generator.random() < probability)

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """Return one of the choices, all equally likely."""
        return choices[self.whole(0, len(choices) - 1)]

    def grid(self, shape: tuple[int, ...], levels: int) -> np.ndarray:
        """Return an int32 array of integers in [0, levels)."""
        return self.generator.integers(0, levels, size=shape, dtype=np.int32)

    def fine_grid(self, shape: tuple[int, ...], levels: int) -> np.ndarray:
        """Return a uint8 array of integers in [0, levels); faster, with fewer random bits."""
        return self.generator.integers(0, levels, size=shape, dtype=np.uint8)


def generator_for(world: World, split: str, index: int, stream: int) -> np.random.Generator:
    """Return the generator of one stream of one image.

    Raises:
        ValueError: the split is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; mini-VOC has {', '.join(SPLITS)}")
    return np.random.default_rng([world.seed, SPLITS.index(split), index, stream])
