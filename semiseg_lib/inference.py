"""Predicting at an image's own size: whole or by sliding window, flipped, at several scales."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from tqdm import tqdm

from semiseg_lib.datasets.loaders import Part
from semiseg_lib.methods.base import Method

MULTIPLE = 16  # networks take sides that are multiples of it


@dataclass(frozen=True)
class Protocol:
    """How an image is predicted; the default is one pass over the whole image.

    Attributes:
        window: 0 for the whole image, else the side of a square sliding window, in pixels.
        overlap: the share of a window that it has in common with its neighbour, 0 <= share < 1.
        flip: also predict the mirrored image, and take the mean.
        scales: sizes at which the image is predicted, 1 = its own; the mean is taken.

    Raises:
        ValueError: a number out of its range.
    """

    window: int = 0
    overlap: float = 1 / 3
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.window < 0:
            raise ValueError(f"window is {self.window}; give a side in pixels, or 0 for none.")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap is {self.overlap}; it is a share, 0 <= overlap < 1.")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales are {self.scales}; give at least one, each above 0.")

    def views(self) -> list[tuple[float, bool]]:
        """Scale and flip of each view whose mean is the prediction."""
        return [(scale, flip) for scale in self.scales for flip in (False, True)[: 1 + self.flip]]


WHOLE_IMAGE = Protocol()


def predict_one(method: Method, part: Part, protocol: Protocol = WHOLE_IMAGE) -> Tensor:
    """The probabilities of every class in every pixel of one image.

    The mean of the softmax over the protocol's views and, where windows overlap, over the windows
    that see a pixel.

    Args:
        method: its deployed model is used, in evaluation mode, on the device where it lies.
        part: one image of any size, B = 1; box maps are read only by a method that uses boxes.
        protocol: views and windows.

    Returns:
        float32 (1, C, H, W) on the method's device, at the size of ``part.images``.
    """
    maps = _box_maps(method, part)
    views = protocol.views()
    with evaluating(method):
        total = sum(_view(method, part.images, maps, *view, protocol) for view in views)
    return total / len(views)


def predictions(
    method: Method, pool, protocol: Protocol = WHOLE_IMAGE, title: str = "predicting"
) -> Iterator[np.ndarray]:
    """The most likely class of every pixel, uint8 (H, W) an image, at the images' own sizes.

    Args:
        method: as for :func:`predict_one`.
        pool: has ``len`` and ``part([i])``: a :class:`PhotoPool` or a :class:`Pool`.
        protocol: views and windows.
        title: what the progress bar calls it.
    """
    for _, label in predicted_parts(method, pool, protocol, title):
        yield label


def predicted_parts(
    method: Method, pool, protocol: Protocol = WHOLE_IMAGE, title: str = "predicting"
) -> Iterator[tuple[Part, np.ndarray]]:
    """Each image of a pool as it was read, with its label map (see :func:`predictions`)."""
    for part in _one_by_one(pool, title):
        label = predict_one(method, part, protocol).argmax(dim=1)[0]
        yield part, label.to(torch.uint8).cpu().numpy()


def logits_one_by_one(method: Method, pool, title: str = "logits") -> Iterator[Tensor]:
    """Logits at head resolution, float32 (C, ceil(H/s), ceil(W/s)) an image, on the CPU.

    s is the network's stride: how many pixels of the image one logit covers.
    """
    for part in _one_by_one(pool, title, leave=False):
        maps = _box_maps(method, part)
        with evaluating(method):
            images = padded(part.images.to(_device(method)))
            logits = method.head_logits(images, _padded_maps(maps, _device(method)))
        stride = images.shape[-1] // logits.shape[-1]
        height, width = (math.ceil(side / stride) for side in part.images.shape[-2:])
        yield logits[0, :, :height, :width].float().cpu()


def window_starts(side: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along a side, in pixels: evenly spread, first and last at the borders.

    Neighbours share at least ``overlap`` of a window, up to rounding; one window if it covers
    the side.
    """
    if side <= window:
        return [0]
    stride = max(1, round(window * (1 - overlap)))
    count = math.ceil((side - window) / stride) + 1
    return np.linspace(0, side - window, count).round().astype(int).tolist()


def _view(
    method: Method, images: Tensor, maps: Tensor | None, scale: float, flip: bool,
    protocol: Protocol,
) -> Tensor:
    """Probabilities (1, C, H, W) from one view; flip and scale are undone."""
    size = tuple(images.shape[-2:])
    scaled = tuple(max(1, round(scale * side)) for side in size)
    if scaled != size:
        images = interpolate(images, scaled, mode="bilinear", antialias=True)
        maps = None if maps is None else interpolate(maps, scaled, mode="nearest-exact")
    if flip:
        images, maps = images.flip(-1), None if maps is None else maps.flip(-1)
    seen = _slide(method, images, maps, protocol)
    if flip:
        seen = seen.flip(-1)
    return seen if scaled == size else interpolate(seen, size, mode="bilinear")


def _slide(method: Method, images: Tensor, maps: Tensor | None, protocol: Protocol) -> Tensor:
    """The mean, in each pixel, of the probabilities from the windows that see it."""
    height, width = images.shape[-2:]
    side = protocol.window or max(height, width)
    rows, columns = (window_starts(n, side, protocol.overlap) for n in (height, width))
    if len(rows) == len(columns) == 1:
        return _probabilities(method, images, maps)
    total, count = None, torch.zeros(height, width, device=_device(method))
    for top in rows:
        for left in columns:
            window = (..., slice(top, top + side), slice(left, left + side))
            seen = _probabilities(method, images[window], None if maps is None else maps[window])
            if total is None:
                total = seen.new_zeros(*seen.shape[:2], height, width)
            total[window] += seen
            count[window] += 1
    return total / count


def _probabilities(method: Method, images: Tensor, maps: Tensor | None) -> Tensor:
    height, width = images.shape[-2:]
    device = _device(method)
    logits = method(padded(images.to(device)), _padded_maps(maps, device))
    return logits[..., :height, :width].float().softmax(dim=1)


def padded(images: Tensor) -> Tensor:
    """Enlarged to multiples of 16 at the right and at the bottom; edge pixels are repeated."""
    height, width = images.shape[-2:]
    return pad(images, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")


def _padded_maps(maps: Tensor | None, device: torch.device) -> Tensor | None:
    return None if maps is None else padded(maps.to(device))


def _box_maps(method: Method, part: Part) -> Tensor | None:
    return part.box_maps if method.uses_boxes else None


def _one_by_one(pool: Sequence, title: str, leave: bool = True) -> Iterator[Part]:
    numbers = range(len(pool))
    for number in tqdm(numbers, desc=title, unit="image", mininterval=0.5, leave=leave):
        yield pool.part([number])


def _device(method: Method) -> torch.device:
    return next(method.parameters()).device


@contextmanager
def evaluating(method: Method) -> Iterator[None]:
    """Evaluation mode and no gradients meanwhile; the mode before comes back."""
    was_training = method.training
    method.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        method.train(was_training)
