"""Options of prediction; importing them imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from semiseg_lib.core.fingerprint import Configuration


@dataclass(frozen=True)
class Protocol(Configuration):
    """Options of prediction; the default is one pass over the whole image.

    Attributes:
        window: 0 for the whole image, else the side of a square sliding window, in pixels.
        overlap: the fraction of a window shared with its neighbour, in [0, 1).
        flip: also predict the mirrored image, and average.
        scales: scales at which the image is predicted, 1 = its own size; averaged.

    Raises:
        ValueError: a value is out of its range.
    """

    window: int = 0
    overlap: float = 1 / 3
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.window < 0:
            raise ValueError(f"window is {self.window}; it must be >= 0 pixels; 0 for none.")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap is {self.overlap}; it must be in [0, 1).")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales are {self.scales}; give at least one, each > 0.")

    def views(self) -> list[tuple[float, bool]]:
        """Return (scale, flip) of each view whose mean is the prediction."""
        return [(scale, flip) for scale in self.scales for flip in (False, True)[: 1 + self.flip]]


WHOLE_IMAGE = Protocol()
