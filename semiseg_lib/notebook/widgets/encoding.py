"""How a widget's arrays travel in its page: pictures, masks and logits as short texts."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import numpy as np
from PIL import Image

LOSSLESS_PIXELS = 128 * 128  # larger pictures are photographs: JPEG


def data_url(picture: np.ndarray) -> str:
    """A picture, uint8 (3, H, W), as an address that holds the picture itself."""
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    kind = "png" if image.width * image.height <= LOSSLESS_PIXELS else "jpeg"
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"optimize": True} if kind == "png" else {"quality": 85}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def pack(values: np.ndarray) -> str:
    """Small whole numbers of any shape as deflated bytes (zlib) in base64.

    Raises:
        ValueError: a value is no whole number from 0 to 255.
    """
    levels = np.asarray(values).astype(np.uint8)
    if (levels != values).any():
        raise ValueError("only whole numbers from 0 to 255 can be packed")
    return base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode()


def quantise(logits: np.ndarray) -> dict[str, Any]:
    """Logits (C, h, w) in 8 bits a value: value = -scale * byte.

    The largest logit of each pixel is subtracted first: softmax does not notice, and neither does
    bilinear enlargement followed by softmax.
    """
    lowered = logits.max(axis=0, keepdims=True) - logits
    scale = max(float(lowered.max()) / 255, 1e-6)
    levels = np.rint(lowered / scale).astype(np.uint8)
    return {"scale": scale, "data": base64.b64encode(levels.tobytes()).decode()}


def encode_runs(mask: np.ndarray) -> str:
    """A mask (H, W) as (id, length) pairs of uint16, row by row, little-endian, in base64."""
    flat = np.asarray(mask).ravel()
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    lengths = np.diff(np.r_[starts, flat.size])
    pairs = [(int(flat[start]), min(65535, length - done)) for start, length in
             zip(starts, lengths, strict=True) for done in range(0, int(length), 65535)]
    return base64.b64encode(np.array(pairs, "<u2").tobytes()).decode()
