"""Images, masks and maps: class colours, overlays and heat maps."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np

from semiseg_lib.datasets.labels import VOID

BACKGROUND_COLOUR = (0x26, 0x2A, 0x36)
VOID_COLOUR = (0xF5, 0xF1, 0xE6)
MAP_COLOURS = "cividis"
YES_COLOUR, NO_COLOUR = (0x00, 0x00, 0x00), (0xC4, 0xC8, 0xCF)
"""Of maps of true and false: none is the colour of a class, of the background or of void."""

# The first six are the result of a search: with background and void, any two of them are >= 29
# CIELAB units apart under simulated protan and deutan vision and >= 23 under tritan. The rest were
# added one by one, each as far as possible from those before it.
OBJECT_COLOURS = (
    "E24A06", "2D6CFA", "F5D266", "3DC6F5", "B35896", "2F9964", "BFEEA0", "EEA0A0", "6F532A",
    "8543B1", "572EFA", "92EF06", "609EFB", "2A6F61", "DF8549", "BE9DBE", "98BD05", "B9E2FD",
    "A51D8A", "953E04",
)  # fmt: skip


def class_colours(num_classes: int) -> np.ndarray:
    """Return the colours of class ids 0 .. C - 1, uint8 (C, 3); 0, background, is dark slate.

    Args:
        num_classes: C, background included.

    Raises:
        ValueError: fewer than 1 class, or more than there are distinguishable colours (21).
    """
    if not 1 <= num_classes <= len(OBJECT_COLOURS) + 1:
        raise ValueError(
            f"there are colours for 1 to {len(OBJECT_COLOURS) + 1} classes, not {num_classes}"
        )
    objects = [tuple(bytes.fromhex(colour)) for colour in OBJECT_COLOURS[: num_classes - 1]]
    return np.array([BACKGROUND_COLOUR, *objects], dtype=np.uint8)


def colourise(mask: np.ndarray) -> np.ndarray:
    """Return a mask (H, W) of class ids as image uint8 (H, W, 3); void (255) is off-white.

    Raises:
        ValueError: the mask is not a two-dimensional array of integers, or an id has no colour.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "iu":
        raise ValueError(f"a mask must be an integer (H, W) array, got {mask.dtype} {mask.shape}")
    colours = np.zeros((VOID + 1, 3), np.uint8)
    known = class_colours(len(OBJECT_COLOURS) + 1)
    colours[: len(known)] = known
    colours[VOID] = VOID_COLOUR
    strange = sorted(set(np.unique(mask).tolist()) - {*range(len(known)), VOID})
    if strange:
        raise ValueError(f"the mask holds ids without a colour: {strange[:5]}")
    return colours[mask]


def overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.6) -> np.ndarray:
    """Return an image, uint8 (3, H, W) or (H, W, 3), tinted by the classes of its mask (H, W).

    Background and void are not tinted.

    Raises:
        ValueError: the sizes differ, or ``opacity`` is outside [0, 1].
    """
    pixels, mask = as_image(image), np.asarray(mask)
    if pixels.shape[:2] != mask.shape:
        raise ValueError(f"image {image.shape[:2]} and mask {mask.shape} differ in size")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], got {opacity}")
    tinted = (1 - opacity) * pixels + opacity * colourise(mask)
    is_object = ((mask != 0) & (mask != VOID))[..., None]
    return np.where(is_object, np.rint(tinted), pixels).astype(np.uint8)


def heat(values: np.ndarray) -> np.ndarray:
    """Return a map as an image, uint8 (H, W, 3), dark = 0, yellow = 1.

    Args:
        values: (H, W), clipped to [0, 1]; NaN counts as 0.
    """
    values = np.nan_to_num(np.asarray(values, float)).clip(0, 1)
    return matplotlib.colormaps[MAP_COLOURS](values, bytes=True)[..., :3]


def as_image(image: Any) -> np.ndarray:
    """Return an image of either layout as uint8 (H, W, 3); raise ValueError for others."""
    image = np.asarray(image)
    if image.ndim == 3 and image.dtype == np.uint8:
        if image.shape[0] == 3:
            return image.transpose(1, 2, 0)
        if image.shape[2] == 3:
            return image
    raise ValueError(f"expected uint8 (3, H, W) or (H, W, 3), got {image.dtype} {image.shape}")


def drawable(entry: Any) -> np.ndarray:
    """Return an entry of a gallery (image, mask, bool map, float map) as uint8 (H, W, 3)."""
    entry = np.asarray(entry)
    if entry.ndim != 2:
        return as_image(entry)
    if entry.dtype == bool:
        return np.where(entry[..., None], YES_COLOUR, NO_COLOUR).astype(np.uint8)
    return colourise(entry) if entry.dtype.kind in "iu" else heat(entry)
