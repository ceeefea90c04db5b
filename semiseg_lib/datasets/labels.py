"""Label ids: void, VOC's palette and class names, and the checks on a mask read from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

VOID = 255
"""The id of pixels that carry no label: losses and metrics leave them out."""

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)


class LabelError(ValueError):
    """A label file that cannot be used as it is; the message names the file and the mend."""


def voc_palette() -> list[int]:
    """VOC's 256 colours as 768 integers for ``PIL.Image.putpalette``.

    The bits of an id are dealt out to red, green and blue in turn, highest value first, so that
    neighbouring ids get far-apart colours.
    """
    ids = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.int64)
    for place in range(8):
        for channel in range(3):
            bit = (ids >> (3 * place + channel)) & 1
            colours[:, channel] |= bit << (7 - place)
    return colours.reshape(-1).tolist()


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as uint8 (3, H, W).

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: the file is truncated or no picture.
    """
    return np.ascontiguousarray(np.asarray(_open(path).convert("RGB")).transpose(2, 0, 1))


def read_mask(path: Path, num_classes: int) -> np.ndarray:
    """Read a mask of class ids as uint8 (H, W), values 0 .. num_classes - 1 or 255 (void).

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: the file is truncated, holds colours instead of ids, or an id out of range.
    """
    picture = _open(path)
    if picture.mode not in ("P", "L", "1"):
        raise LabelError(
            f"{path} is a colour picture (mode {picture.mode}), not a mask of class ids. "
            "Save it as a palette or grey PNG whose pixel values are the ids."
        )
    mask = np.asarray(picture, dtype=np.uint8)
    unknown = np.setdiff1d(np.unique(mask), [*range(num_classes), VOID])
    if unknown.size:
        raise LabelError(
            f"{path} holds the ids {unknown.tolist()}, but only 0 to {num_classes - 1} and "
            f"{VOID} (void) are known. Map them to known ids, or name all classes of the dataset."
        )
    return mask


def write_mask(mask: np.ndarray, path: Path) -> None:
    """Write uint8 (H, W) ids as a PNG with VOC's palette, so that viewers show it in colour."""
    from semiseg_lib.paths import atomic_write

    picture = Image.fromarray(np.asarray(mask, dtype=np.uint8), mode="P")
    picture.putpalette(voc_palette())
    with atomic_write(Path(path)) as temporary:
        picture.save(temporary, format="PNG")


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing. Add the file, or take its name out of the list in "
            "ImageSets/Segmentation."
        ) from None
    except (UnidentifiedImageError, OSError) as error:
        raise LabelError(f"{path} cannot be read ({error}). Copy or download it again.") from error
    return picture
