"""Label ids: void, the palette of masks; reading images and masks, and the guard of decoders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from semiseg_lib.core.escaping import listed
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.sample import Boxes

VOID = 255
"""The id of pixels without label; losses and metrics ignore them."""


class LabelError(ValueError):
    """An invalid file of a dataset; the message names the file and the fix."""


@contextmanager
def decoding(
    path: Path, fix: str = "Copy or download it again.", missing: str = ""
) -> Iterator[None]:
    """Raise any error in the block, which decodes a file, as one that names the file and the fix.

    The decoders of foreign files fail in classes of their own, and in others on damaged bytes. No
    decoder of this package is called outside such a block.

    Args:
        path: the file.
        fix: what to do if it cannot be decoded.
        missing: what to do if it is missing; "" for ``fix``.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: it cannot be decoded, or the block raised this error.
    """
    path = Path(path).expanduser()
    try:
        yield
    except FileNotFoundError:
        state = "is a link that leads nowhere" if path.is_symlink() else "is missing"
        raise FileNotFoundError(f"{shown(path)} {state}. {missing or fix}") from None
    except LabelError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise LabelError(f"{shown(path)} cannot be read ({said}). {fix}") from error


@contextmanager
def opened_image(
    path: Path, missing: str = "Add the file, or remove its name from the list."
) -> Iterator[Image.Image]:
    """Yield an image, loaded; whatever fails in the block is an error of the file.

    Args:
        path: the file.
        missing: what to do if there is none, for the message.

    Raises:
        FileNotFoundError, LabelError: as for :func:`decoding`.
    """
    path = Path(path).expanduser()
    with decoding(path, missing=missing), Image.open(path) as image:
        image.load()
        yield image


def voc_palette() -> list[int]:
    """Return VOC's 256 colours as 768 integers for ``PIL.Image.putpalette``.

    The bits of an id are assigned to red, green and blue in turn, from the most significant bit of
    each channel down, so that neighbouring ids get distinct colours.
    """
    ids = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.int64)
    for place in range(8):
        for channel in range(3):
            bit = (ids >> (3 * place + channel)) & 1
            colours[:, channel] |= bit << (7 - place)
    return colours.reshape(-1).tolist()


def read_image(path: Path) -> np.ndarray:
    """Read an image as uint8 (3, H, W), a view of an (H, W, 3) array.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: the file is truncated or not an image.
    """
    with opened_image(path) as image:
        return np.array(image.convert("RGB")).transpose(2, 0, 1)


def read_mask(path: Path, num_classes: int) -> np.ndarray:
    """Read a mask of class ids as uint8 (H, W), values 0 .. num_classes - 1 or 255 (void).

    Args:
        path: the file, grey or with a palette.
        num_classes: C, background included.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: the file is truncated, holds colours instead of ids, or an id out of range.
    """
    with opened_image(path) as image:
        if image.mode not in ("P", "L", "1"):
            raise LabelError(
                f"{shown(path)} is a colour image (mode {image.mode}), not a mask of class ids. "
                "Save it as a palette or grey PNG whose pixel values are the ids."
            )
        mask = np.asarray(image, dtype=np.uint8)
    is_unknown = (mask >= num_classes) & (mask != VOID)
    if is_unknown.any():
        raise LabelError(
            f"{shown(path)} holds the ids {np.unique(mask[is_unknown]).tolist()}, but only 0 to "
            f"{num_classes - 1} and {VOID} (void) are known. Map them to known ids, or list all "
            "classes of the dataset."
        )
    return mask


def present_ids(mask: np.ndarray) -> set[int]:
    """Return the ids that occur in a mask, uint8 of any shape."""
    return set(np.flatnonzero(np.bincount(mask.ravel())).tolist())


def write_mask(mask: np.ndarray, path: Path) -> None:
    """Write uint8 (H, W) ids as a PNG with VOC's palette, so that viewers show it in colour.

    Args:
        mask: class ids, 255 = void.
        path: the file to write.
    """
    from semiseg_lib.core.durable import atomic_write

    with atomic_write(Path(path)) as temporary:
        temporary.write_bytes(mask_png(mask))


def mask_png(mask: np.ndarray) -> bytes:
    """Return uint8 (H, W) ids as the bytes of a PNG with VOC's palette.

    Args:
        mask: class ids, 255 = void.
    """
    file = BytesIO()
    mask_image(mask).save(file, format="PNG")
    return file.getvalue()


def mask_image(mask: np.ndarray) -> Image.Image:
    """Return uint8 (H, W) ids as an image with VOC's palette.

    Args:
        mask: class ids, 255 = void.
    """
    image = Image.fromarray(np.asarray(mask, dtype=np.uint8))
    image.putpalette(voc_palette())
    return image


def packed_ids(
    file_classes: Sequence[str], keep: Sequence[str] | None, where: Path | str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the kept classes, and the new id of each old id, uint8 (256,), 255 = void.

    Args:
        file_classes: all classes, in the order of their ids.
        keep: the classes to keep, in the order of their new ids; None for all.
        where: the dataset, for the message.

    Raises:
        ValueError: ``keep`` names an unknown class or one twice.
    """
    classes = tuple(keep or file_classes)
    table = np.full(256, VOID, dtype=np.uint8)
    if unknown := set(classes) - set(file_classes):
        raise ValueError(
            f"cannot keep {listed(sorted(unknown))}: the classes of {shown(where)} are "
            f"{listed(file_classes)}."
        )
    if len(set(classes)) < len(classes):
        raise ValueError(f"cannot keep a class twice: {listed(classes)}. Name each once.")
    for new, name in enumerate(classes):
        table[list(file_classes).index(name)] = new
    return classes, table


def kept_boxes(boxes: Boxes, new_id: np.ndarray) -> Boxes:
    """Return the boxes of kept classes with their new ids; see :func:`packed_ids`.

    Args:
        boxes: those of an image, with the ids before.
        new_id: (256,), the new id of each id.
    """
    labels = new_id[boxes.classes]
    kept = labels != VOID
    crowds = tuple(int(new_id[label]) for label in boxes.crowds if new_id[label] != VOID)
    return Boxes(boxes.coordinates[kept], labels[kept].astype(np.int64), crowds)


def check_same_size(
    mask: np.ndarray, image: np.ndarray, mask_path: Path, image_path: Path
) -> None:
    """Raise LabelError if a mask (H, W) does not have the size of its image (3, H, W).

    Args:
        mask, image: as they were read.
        mask_path, image_path: their files, for the message.
    """
    if mask.shape == image.shape[1:]:
        return
    turned = mask.shape[::-1] == image.shape[1:]
    hint = "Save the image rotated: only viewers apply its EXIF rotation. " if turned else ""
    raise LabelError(
        f"{shown(mask_path)} is {mask.shape[1]}x{mask.shape[0]} pixels, but {shown(image_path)} is "
        f"{image.shape[2]}x{image.shape[1]}. {hint}Resize the mask (nearest neighbour) or "
        "fetch the pair again."
    )
