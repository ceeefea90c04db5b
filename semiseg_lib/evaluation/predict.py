"""Prediction at an image's own size: whole or sliding window, flips, several scales."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby, islice

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.part import Part
from semiseg_lib.core.terminal import progress_bar
from semiseg_lib.datasets.sample import Sample
from semiseg_lib.evaluation.options import WHOLE_IMAGE, Protocol
from semiseg_lib.methods.base import Method

PIXELS_PER_PASS = 2**18  # of the images predicted together: 64 of 64x64, or one large image


def predict_part(method: Method, part: Part, protocol: Protocol = WHOLE_IMAGE) -> Tensor:
    """Return the probabilities of every class in every pixel of some images.

    This is the mean of the softmax over the protocol's views and, where windows overlap, over the
    windows that cover a pixel.

    Args:
        method: its deployed model is used, in eval mode, on its device.
        part: images of one size; box maps are read only by a method that uses boxes.
        protocol: views and windows.

    Returns:
        float32 (B, C, H, W) on the method's device, at the size of ``part.images``.
    """
    maps = _box_maps(method, part)
    views = protocol.views()
    with evaluating(method):
        seen = (_view(method, part.images, maps, *view, protocol) for view in views)
        return sum(seen, torch.zeros(())) / len(views)


def parts(
    method: Method, images: ImageSet, title: str = "predicting", leave: bool = True
) -> Iterator[Part]:
    """Yield an image set in parts: consecutive images of one size that fit a forward pass.

    Args:
        method: boxes are read only if it uses them.
        images: of any sizes.
        title: label of the progress bar.
        leave: whether the bar stays when it is done.
    """
    images = images if method.uses_boxes else images.without_boxes()
    with progress_bar(total=len(images), desc=title, unit="image", mininterval=0.5,
                      leave=leave) as bar:
        for numbers, samples in _of_one_size(images):
            yield images.assemble(numbers, samples)
            bar.update(len(numbers))


def predictions(
    method: Method, images: ImageSet, protocol: Protocol = WHOLE_IMAGE, title: str = "predicting"
) -> Iterator[np.ndarray]:
    """Yield the most likely class of every pixel, uint8 (H, W) per image, at its own size.

    Args:
        method: as for :func:`predict_part`.
        images: of any sizes.
        protocol: views and windows.
        title: label of the progress bar.
    """
    for _, labels in predicted_parts(method, images, protocol, title):
        yield from labels


def predicted_parts(
    method: Method, images: ImageSet, protocol: Protocol = WHOLE_IMAGE, title: str = "predicting"
) -> Iterator[tuple[Part, np.ndarray]]:
    """Yield the parts of an image set as they were read, with their label maps (B, H, W)."""
    for part in parts(method, images, title):
        # Over this dimension, argmax takes three times as long.
        labels = predict_part(method, part, protocol).max(dim=1).indices
        yield part, labels.to(torch.uint8).cpu().numpy()


def logits_of(method: Method, images: ImageSet, title: str = "logits") -> Iterator[Tensor]:
    """Yield logits at head resolution, float32 (C, ceil(H/s), ceil(W/s)) per image, on the CPU.

    s is the network's stride, in pixels.
    """
    for part in parts(method, images, title, leave=False):
        maps = _box_maps(method, part)
        with evaluating(method):
            enlarged = padded(part.images, method)
            logits = method.head_logits(enlarged, None if maps is None else padded(maps, method))
        stride = enlarged.shape[-1] // logits.shape[-1]
        height, width = (math.ceil(side / stride) for side in part.images.shape[-2:])
        yield from logits[..., :height, :width].float().cpu()


def window_starts(side: int, window: int, overlap: float) -> list[int]:
    """Return where windows start along a side, in pixels: evenly spaced, from border to border.

    Neighbours overlap by at least ``overlap`` of a window, up to rounding; one window if it
    covers the side.
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
    """Return probabilities (B, C, H, W) from one view, with flip and scale undone."""
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
    """Return the mean probabilities of each pixel over the windows that cover it."""
    height, width = images.shape[-2:]
    side = protocol.window or max(height, width)
    rows, columns = (window_starts(n, side, protocol.overlap) for n in (height, width))
    if len(rows) == len(columns) == 1:
        return _probabilities(method, images, maps)
    total: Tensor | None = None
    count = torch.zeros(height, width, device=_device(method))
    for top in rows:
        for left in columns:
            window = (..., slice(top, top + side), slice(left, left + side))
            seen = _probabilities(method, images[window], None if maps is None else maps[window])
            if total is None:
                total = seen.new_zeros(*seen.shape[:2], height, width)
            total[window] += seen
            count[window] += 1
    assert total is not None, "a side has a window"
    return total / count


def _probabilities(method: Method, images: Tensor, maps: Tensor | None) -> Tensor:
    height, width = images.shape[-2:]
    logits = method(padded(images, method), None if maps is None else padded(maps, method))
    return logits[..., :height, :width].float().softmax(dim=1)


def padded(maps: Tensor, method: Method) -> Tensor:
    """Return maps (B, C, H, W) on the method's device, padded to sides that it accepts.

    They are padded to multiples of ``method.multiple`` at the right and at the bottom by
    repeating edge pixels.
    """
    height, width = maps.shape[-2:]
    missing = (0, -width % method.multiple, 0, -height % method.multiple)
    return pad(maps.to(_device(method)), missing, mode="replicate")


def _box_maps(method: Method, part: Part) -> Tensor | None:
    return part.box_maps if method.uses_boxes else None


def _of_one_size(images: ImageSet) -> Iterator[tuple[range, list[Sample]]]:
    """Yield runs of consecutive images of one size that have at most PIXELS_PER_PASS pixels."""
    first = 0
    samples = map(images.sample, range(len(images)))
    for size, run in groupby(samples, lambda sample: sample.image.shape[1:]):
        most = max(PIXELS_PER_PASS // math.prod(size), 1)
        while together := list(islice(run, most)):
            yield range(first, first + len(together)), together
            first += len(together)


def _device(method: Method) -> torch.device:
    return next(method.parameters()).device


@contextmanager
def evaluating(method: Method) -> Iterator[None]:
    """Switch to eval mode without gradients; restore the previous mode."""
    was_training = method.training
    method.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        method.train(was_training)


def predict(method: Method, images: ImageSet) -> np.ndarray:
    """Return the most likely class of every pixel, uint8 (N, H, W), of images of one size.

    For images of different sizes see :func:`predictions`.

    Args:
        method: the method whose deployed model predicts.
        images: N images of one size; with boxes if the model reads them.

    Raises:
        ValueError: the images differ in size.
    """
    return np.stack(list(predictions(method, images)))


def predict_logits(method: Method, images: ImageSet) -> Tensor:
    """Return logits at head resolution, float32 (N, C, h, w), of images of one size, on the CPU.

    For images of different sizes see :func:`logits_of`.

    Args:
        method: the method whose deployed model predicts.
        images: N images of one size; with boxes if the model reads them.

    Raises:
        RuntimeError: the images differ in size.
    """
    return torch.stack(list(logits_of(method, images)))


def predict_probabilities(
    method: Method, images: ImageSet, protocol: Protocol = WHOLE_IMAGE
) -> Iterator[Tensor]:
    """Yield the probabilities of every class in every pixel, float32 (C, H, W), on the CPU.

    Args:
        method: its deployed model; it must need no boxes.
        images: of any sizes.
        protocol: views and windows.
    """
    for part in parts(method, images, leave=False):
        yield from predict_part(method, part, protocol).cpu()
