"""Encode a widget's arrays for its page: images, masks and logits as short strings."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import numpy as np
from PIL import Image

LOSSLESS_PIXELS = 128 * 128  # larger images lose what the eye does not see


def data_url(pixels: np.ndarray) -> str:
    """Return an image, uint8 (3, H, W), as a data URL of WebP, exact if it is small."""
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    is_small = image.width * image.height <= LOSSLESS_PIXELS
    buffer = io.BytesIO()
    image.save(buffer, "webp", lossless=is_small, quality=100 if is_small else 85, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def pack(values: np.ndarray) -> str:
    """Return integers of any shape as deflated bytes (zlib) in base64.

    Raises:
        ValueError: a value is not an integer in [0, 255].
    """
    levels = np.asarray(values).astype(np.uint8)
    if (levels != values).any():
        raise ValueError("only integers in [0, 255] can be packed")
    return base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode()


def quantise(logits: np.ndarray) -> dict[str, Any]:
    """Return logits (C, h, w) in 8 bits per value: value = -scale * byte.

    The largest logit of each pixel is subtracted first, which changes neither the softmax nor
    bilinear upsampling followed by softmax.
    """
    lowered = logits.max(axis=0, keepdims=True) - logits
    scale = max(float(lowered.max()) / 255, 1e-6)
    levels = np.rint(lowered / scale).astype(np.uint8)
    return {"scale": scale, "data": base64.b64encode(levels.tobytes()).decode()}


def encode_runs(mask: np.ndarray) -> str:
    """Return a mask (H, W) as runs (id, length) of uint16, row by row, little-endian, base64."""
    flat = np.asarray(mask).ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    lengths = np.diff(np.r_[starts, flat.size])
    pairs = [(int(flat[start]), min(65535, length - done)) for start, length in
             zip(starts, lengths, strict=True) for done in range(0, int(length), 65535)]
    return base64.b64encode(np.array(pairs, "<u2").tobytes()).decode()
