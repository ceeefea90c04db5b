"""The alpha explorer: how the linear correction moves between the primary and the ancillary."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from PIL import Image
from torch.nn.functional import interpolate

from semiseg_lib import plots
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.plots.pictures import VOID_COLOUR
from semiseg_lib.plots.style import png_bytes
from semiseg_lib.widgets.static_widget import StaticWidget

LOSSLESS_PIXELS = 128 * 128  # larger pictures are photographs: JPEG


class AlphaExplorer(StaticWidget):
    """Slider over alpha for q = softmax((l + alpha * l_anc) / (1 + alpha)), picture by picture.

    Args:
        pictures: uint8 (N, 3, H, W), N >= 1.
        boxes: the annotators' boxes, one Boxes a picture.
        logits_ancillary: float (N, C, h, w) at head resolution.
        logits_primary: float (N, C, h, w).
        classes: C names; the first is background.
        truth: uint8 (N, H, W) with 255 = void, for the scores; None hides them.
        alpha: where the slider starts, 0.05 to 50.

    Attributes:
        alpha, picture: the slider's value and the chosen picture, kept in step with the browser.

    Raises:
        ValueError: shapes that do not belong together, or an alpha outside its range.
    """

    scripts = ("arithmetic.js", "alpha_explorer.js")
    sheet = "alpha_explorer.css"
    root_class = "alpha-explorer"

    alpha = traitlets.Float(1.0, min=0.05, max=50.0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        pictures: np.ndarray,
        boxes: Sequence[Boxes],
        logits_ancillary: np.ndarray,
        logits_primary: np.ndarray,
        classes: Sequence[str],
        truth: np.ndarray | None = None,
        alpha: float = 1.0,
    ) -> None:
        if not 0.05 <= alpha <= 50:
            raise ValueError(f"alpha must lie in [0.05, 50], the slider's range; got {alpha}")
        self._pictures = np.asarray(pictures)
        self._boxes = list(boxes)
        self._ancillary = np.asarray(logits_ancillary, np.float32)
        self._primary = np.asarray(logits_primary, np.float32)
        self._classes = [str(name) for name in classes]
        self._truth = None if truth is None else np.asarray(truth)
        self._check_shapes()
        super().__init__(alpha=float(alpha))

    def payload(self) -> dict[str, Any]:
        """Pictures, boxes, logits (8 bits a value) and truth, as the script expects them."""
        count, _, height, width = self._pictures.shape
        return {
            "label": self.text(),
            "state": {"alpha": self.alpha, "picture": self.picture},
            "classes": self._classes,
            "colours": plots.class_colours(len(self._classes)).tolist(),
            "voidColour": list(VOID_COLOUR),
            "size": [height, width],
            "headSize": list(self._primary.shape[2:]),
            "pictures": [self._picture_payload(index) for index in range(count)],
        }

    def fallback_png(self) -> bytes:
        """The first picture's row at the starting alpha."""
        primary, corrected, ancillary = (self._labels(weight) for weight in (
            0.0, self.alpha / (1 + self.alpha), 1.0))
        columns = {"picture": [self._pictures[0]], "primary": [primary],
                   f"corrected, α = {self.alpha:g}": [corrected], "ancillary": [ancillary]}
        if self._truth is not None:
            columns["truth"] = [self._truth[0]]
        return png_bytes(plots.gallery(columns, self._classes, boxes=self._boxes[:1]))

    def text(self) -> str:
        """One sentence that stands for the widget; the same in every run."""
        return (
            f"Alpha explorer: {len(self._pictures)} weak pictures; a slider over alpha moves the "
            "corrected label from the primary's to the ancillary's."
        )

    def _labels(self, weight: float) -> np.ndarray:
        mixed = (1 - weight) * self._primary[:1] + weight * self._ancillary[:1]
        size = self._pictures.shape[2:]
        large = interpolate(torch.from_numpy(mixed), size, mode="bilinear", align_corners=False)
        return large[0].argmax(0).numpy().astype(np.uint8)

    def _picture_payload(self, index: int) -> dict[str, Any]:
        boxes = self._boxes[index]
        return {
            "image": _data_url(self._pictures[index]),
            "boxes": [[*map(float, corners), int(label)] for corners, label in
                      zip(boxes.coordinates, boxes.classes, strict=True)],
            "ancillary": quantise(self._ancillary[index]),
            "primary": quantise(self._primary[index]),
            "truth": None if self._truth is None else encode_runs(self._truth[index]),
        }

    def _check_shapes(self) -> None:
        shape, count = self._pictures.shape, len(self._pictures)
        if self._pictures.dtype != np.uint8 or len(shape) != 4 or shape[1] != 3 or not count:
            raise ValueError(f"pictures must be uint8 (N, 3, H, W), N >= 1; got "
                             f"{self._pictures.dtype} {shape}")
        if len(self._boxes) != count:
            raise ValueError(f"{count} pictures need {count} Boxes, got {len(self._boxes)}")
        for name, logits in (("ancillary", self._ancillary), ("primary", self._primary)):
            if logits.ndim != 4 or logits.shape[:2] != (count, len(self._classes)):
                raise ValueError(f"logits_{name} must be ({count}, {len(self._classes)}, h, w), "
                                 f"got {logits.shape}")
            if not np.isfinite(logits).all():
                raise ValueError(f"logits_{name} hold values that are not finite")
        if self._ancillary.shape != self._primary.shape:
            raise ValueError(f"logits of one size are needed, got {self._ancillary.shape} and "
                             f"{self._primary.shape}")
        if self._truth is not None and self._truth.shape != (count, *shape[2:]):
            raise ValueError(f"truth must be {(count, *shape[2:])}, got {self._truth.shape}")
        if self._truth is not None:
            ids = set(np.unique(self._truth).tolist()) - {VOID}
            if ids and max(ids) >= len(self._classes):
                raise ValueError(f"truth holds id {max(ids)}, but there are "
                                 f"{len(self._classes)} classes")


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


def _data_url(picture: np.ndarray) -> str:
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    kind = "png" if image.width * image.height <= LOSSLESS_PIXELS else "jpeg"
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"optimize": True} if kind == "png" else {"quality": 85}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
