"""The alpha explorer: how the linear correction moves between the primary and the ancillary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from torch.nn.functional import interpolate

from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.notebook import plots
from semiseg_lib.notebook.plots.images import VOID_COLOUR
from semiseg_lib.notebook.plots.style import png_bytes
from semiseg_lib.notebook.widgets.encoding import data_url, encode_runs, quantise
from semiseg_lib.notebook.widgets.inputs import as_images, as_labels, as_logits
from semiseg_lib.notebook.widgets.static_widget import StaticWidget


class AlphaExplorer(StaticWidget):
    """Slider over alpha for q = softmax((l + alpha * l_anc) / (1 + alpha)), per image.

    Args:
        images: uint8 (N, 3, H, W), N >= 1.
        boxes: the annotators' boxes, one Boxes per image.
        logits_ancillary: float (N, C, h, w) at head resolution.
        logits_primary: float (N, C, h, w).
        classes: C names; the first is background.
        truth: uint8 (N, H, W) with 255 = void, for the scores; None hides them.
        alpha: initial value of the slider, in [0.05, 50].

    Attributes:
        alpha, picture: the slider's value and the chosen image, synchronized with the browser.

    Raises:
        ValueError: inconsistent shapes, or an alpha outside its range.
    """

    scripts = ("arithmetic.js", "drawing.js", "alpha_explorer.js")
    sheets = ("shared.css", "alpha_explorer.css")
    root_class = "alpha-explorer"

    alpha = traitlets.Float(1.0, min=0.05, max=50.0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        images: np.ndarray,
        boxes: Sequence[Boxes],
        logits_ancillary: np.ndarray,
        logits_primary: np.ndarray,
        classes: Sequence[str],
        truth: np.ndarray | None = None,
        alpha: float = 1.0,
    ) -> None:
        if not 0.05 <= alpha <= 50:
            raise ValueError(f"alpha must be in [0.05, 50], the slider's range; got {alpha}")
        self._images = as_images(images)
        self._boxes = list(boxes)
        self._classes = [str(name) for name in classes]
        self._ancillary, self._primary = (
            as_logits(name, logits, self._images, len(self._classes)).numpy()
            for name, logits in (
                ("logits_ancillary", logits_ancillary), ("logits_primary", logits_primary)
            )
        )
        self._truth = None if truth is None else as_labels(
            "truth", truth, self._images, len(self._classes))
        self._check_shapes()
        super().__init__(alpha=float(alpha))

    def payload(self) -> dict[str, Any]:
        """Return images, boxes, logits (8 bits per value) and truth, as the script expects them."""
        count, _, height, width = self._images.shape
        return {
            "label": self.text(),
            "state": {"alpha": self.alpha, "picture": self.picture},
            "classes": self._classes,
            "colours": plots.class_colours(len(self._classes)).tolist(),
            "voidColour": list(VOID_COLOUR),
            "size": [height, width],
            "headSize": list(self._primary.shape[2:]),
            "pictures": [self._image_payload(index) for index in range(count)],
        }

    def fallback_png(self) -> bytes:
        """Return the first image's row at the initial alpha, as PNG."""
        primary, corrected, ancillary = (self._labels(weight) for weight in (
            0.0, self.alpha / (1 + self.alpha), 1.0))
        columns = {"picture": [self._images[0]], "primary": [primary],
                   f"corrected, α = {self.alpha:g}": [corrected], "ancillary": [ancillary]}
        if self._truth is not None:
            columns["truth"] = [self._truth[0]]
        return png_bytes(plots.gallery(columns, self._classes, boxes=self._boxes[:1]))

    def text(self) -> str:
        """Return one sentence that describes the widget, the same in every run."""
        return (
            f"Alpha explorer: {len(self._images)} unlabelled pictures; a slider over alpha moves "
            "the corrected label from the primary's to the ancillary's."
        )

    def _labels(self, weight: float) -> np.ndarray:
        mixed = (1 - weight) * self._primary[:1] + weight * self._ancillary[:1]
        size = self._images.shape[2:]
        large = interpolate(torch.from_numpy(mixed), size, mode="bilinear", align_corners=False)
        return large[0].argmax(0).numpy().astype(np.uint8)

    def _image_payload(self, index: int) -> dict[str, Any]:
        boxes = self._boxes[index]
        return {
            "image": data_url(self._images[index]),
            "boxes": [[*map(float, corners), int(label)] for corners, label in
                      zip(boxes.coordinates, boxes.classes, strict=True)],
            "ancillary": quantise(self._ancillary[index]),
            "primary": quantise(self._primary[index]),
            "truth": None if self._truth is None else encode_runs(self._truth[index]),
        }

    def _check_shapes(self) -> None:
        count = len(self._images)
        if len(self._boxes) != count:
            raise ValueError(f"{count} images need {count} Boxes, got {len(self._boxes)}")
        if self._ancillary.shape != self._primary.shape:
            raise ValueError(f"logits must have one size, got {self._ancillary.shape} and "
                             f"{self._primary.shape}")
