"""Options that several methods share; importing them does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from semiseg_lib.core.fingerprint import Configuration


@dataclass(frozen=True)
class HardPixels(Configuration):
    """Online hard example mining: which labelled pixels a loss is the mean of.

    Attributes:
        below: pixels whose true class has at most this probability are hard.
        least: if fewer are hard, so many of the hardest are taken, for each image of the batch.
    """

    below: float = 0.7
    least: int = 50_000

    def __post_init__(self) -> None:
        if self.least < 1:
            raise ValueError(f"hard.least is {self.least}; it must be at least 1.")
