"""Prediction of your own images by a trained model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from semiseg_lib.batches.part import Part
from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import progress_bar
from semiseg_lib.datasets.labels import mask_image, read_image
from semiseg_lib.datasets.lists import IMAGE_SUFFIXES
from semiseg_lib.evaluation.options import WHOLE_IMAGE, Protocol
from semiseg_lib.evaluation.predict import predict_part
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.losses import most_likely
from semiseg_lib.notebook.plots import overlay

PIXELS = "semiseg_lib predicted these pixels"
"""Key of the text chunk of a written PNG: the SHA-256 of its mode, size and pixels."""


def predict_image(
    method: Method, image: np.ndarray, protocol: Protocol = WHOLE_IMAGE
) -> np.ndarray:
    """Segment one image of any size.

    Args:
        method: a model that needs no boxes.
        image: uint8 (3, H, W).
        protocol: sliding window, flips and scales.

    Returns:
        uint8 (H, W) class ids.

    Raises:
        ValueError: the model needs boxes.
    """
    if method.uses_boxes:
        raise ValueError("this run's model needs boxes; predict with a primary or supervised run.")
    part = Part(names=("image",), images=torch.tensor(image)[None].float() / 255)
    labels = most_likely(predict_part(method, part, protocol))
    return labels[0].to(torch.uint8).cpu().numpy()


def predict_files(
    method: Method,
    classes: Sequence[str],
    source: Path,
    out: Path,
    protocol: Protocol = WHOLE_IMAGE,
) -> list[Path]:
    """Segment an image or a folder of images; write NAME.png (ids) and NAME_overlay.png.

    Args:
        method: a model that needs no boxes.
        classes: C names; only their number is used.
        source: an image file, or a folder whose images are taken in the order of their names.
        out: the folder to write to; made if missing.
        protocol: sliding window, flips and scales.

    Returns:
        The label files written.

    Raises:
        FileNotFoundError: the source is missing or holds no image.
        ValueError: writing would replace an image, a file of another origin, or one label
            another.
    """
    source, out = Path(source).expanduser(), Path(out).expanduser()
    if source.is_dir():
        files = sorted(p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    else:
        files = [source] if source.is_file() else []
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise FileNotFoundError(f"no image at {shown(source)}; images end in {kinds}.")
    names = [name for file in files for name in (file.stem, f"{file.stem}_overlay")]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"two results would be called {visible(min(twice))}.png. Rename an image or predict "
            "them apart."
        )
    if out.resolve() == files[0].parent.resolve():
        raise ValueError(
            f"{shown(out)} holds the images themselves; choose another folder to write to."
        )
    targets = [out / f"{name}.png" for name in names]
    if foreign := [path for path in targets if path.exists() and not _is_as_written(path)]:
        raise ValueError(
            f"{shown(foreign[0])} is there, and not as a prediction left it: it would be lost. "
            "Choose another folder to write to, or move it away."
        )
    written = []
    for file in progress_bar(files, desc="predicting", unit="image"):
        image = read_image(file)
        label = predict_image(method, image, protocol)
        _write(mask_image(label), out / f"{file.stem}.png")
        _write(Image.fromarray(overlay(image, label)), out / f"{file.stem}_overlay.png")
        written.append(out / f"{file.stem}.png")
    return written


def _write(image: Image.Image, path: Path) -> None:
    """Write a PNG with the SHA-256 of its pixels in a text chunk."""
    note = PngInfo()
    note.add_text(PIXELS, _digest(image))
    with atomic_write(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=note)


def _is_as_written(path: Path) -> bool:
    """Return whether a file is a PNG of :func:`_write` whose pixels were not changed since."""
    try:
        with Image.open(path) as image:
            return _digest(image) == getattr(image, "text", {}).get(PIXELS)
    except (OSError, ValueError, SyntaxError):
        return False


def _digest(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
