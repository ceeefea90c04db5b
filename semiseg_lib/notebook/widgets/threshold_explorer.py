"""The threshold explorer: coverage and accuracy of a confidence threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.confidence import ConfidenceCounts, confident_labels
from semiseg_lib.notebook import plots
from semiseg_lib.notebook.plots.images import VOID_COLOUR
from semiseg_lib.notebook.plots.style import png_bytes
from semiseg_lib.notebook.widgets.encoding import data_url, pack
from semiseg_lib.notebook.widgets.inputs import as_images, as_labels, as_logits, as_offered
from semiseg_lib.notebook.widgets.static_widget import StaticWidget

# Coarse where pixels are rare, fine near 1; each as it would be written in code.
OFFERED = (
    *(i / 100 for i in range(0, 50, 5)),
    *(i / 100 for i in range(50, 90)),
    *(i / 1000 for i in range(900, 1000, 5)),
    0.996, 0.997, 0.998, 0.999,
)  # fmt: skip


class ThresholdExplorer(StaticWidget):
    """Slider over the confidence threshold below which a pixel's prediction is dropped.

    Beside one image, fractions of the whole pool are given per class: a threshold trades pixels for
    accuracy, at another rate in every class. Void pixels are not counted.

    Args:
        images: uint8 (N, 3, H, W), N >= 1.
        logits: float (N, C, h, w); upsampled before the softmax.
        truth: uint8 (N, H, W), 255 = void.
        counts: of the pool, by :func:`~semiseg_lib.evaluation.confidence.confidence_counts`; its
            bins decide which thresholds the slider offers: with 200, steps of 0.01, and of 0.005
            from 0.9.
        classes: C names; the first is background.
        threshold: initial value of the slider.

    Attributes:
        threshold, picture: the slider's value and the chosen image, synchronized with the
            browser.

    Raises:
        ValueError: inconsistent shapes, other classes in ``counts``, or a threshold that the slider
            does not offer.
    """

    scripts = ("arithmetic.js", "drawing.js", "track.js", "threshold_explorer.js")
    sheets = ("shared.css", "two_columns.css")
    root_class = "threshold-explorer"

    threshold = traitlets.Float(0.95, min=0.0, max=1.0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        images: np.ndarray,
        logits: np.ndarray | torch.Tensor,
        truth: np.ndarray,
        counts: ConfidenceCounts,
        classes: Sequence[str],
        threshold: float = 0.95,
    ) -> None:
        self._classes = [str(name) for name in classes]
        self._images = as_images(images)
        self._truth = as_labels("truth", truth, self._images, len(self._classes))
        self._logits = as_logits("logits", logits, self._images, len(self._classes))
        if list(counts.classes) != self._classes:
            raise ValueError(f"the counts are of the classes {list(counts.classes)}, the widget of "
                             f"{self._classes}")
        self._counts = counts
        self._thresholds = [value for value in OFFERED if counts.is_exact(value)]
        self._predicted = [confident_labels(one, self._truth.shape[1:]) for one in self._logits]
        super().__init__(threshold=as_offered("threshold", threshold, self._thresholds))

    def payload(self) -> dict[str, Any]:
        """Return images, predictions and the pool's pixels at or above each threshold."""
        return {
            "label": self.text(),
            "state": {"threshold": self.threshold, "picture": self.picture},
            "classes": self._classes,
            "colours": plots.class_colours(len(self._classes)).tolist(),
            "voidColour": list(VOID_COLOUR),
            "size": list(self._truth.shape[1:]),
            "thresholds": self._thresholds,
            "total": self._at_least(self._counts.total),
            "right": self._at_least(self._counts.right),
            "pictures": [self._image_payload(index) for index in range(len(self._images))],
        }

    def fallback_png(self) -> bytes:
        """Return the first image's row at the initial threshold, as PNG."""
        label, confidence = self._predicted[0]
        kept = np.where(confidence >= self.threshold, label, VOID)
        columns = {"picture": [self._images[0]], "truth": [self._truth[0]],
                   "prediction": [label], f"kept at {self.threshold:g}": [kept]}
        return png_bytes(plots.gallery(columns, self._classes))

    def text(self) -> str:
        """Return one sentence that describes the widget, the same in every run."""
        return (
            f"Threshold explorer: {len(self._images)} pictures; a slider over the confidence "
            "threshold shows which pixels of a prediction are kept and how many of them are right, "
            "class by class."
        )

    def _at_least(self, counts: np.ndarray) -> list[list[int]]:
        """Return the pixels (C, T) whose confidence is >= each offered threshold."""
        from_above = counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        places = [round(threshold * self._counts.bins) for threshold in self._thresholds]
        return from_above[:, places].tolist()

    def _image_payload(self, index: int) -> dict[str, str]:
        label, confidence = self._predicted[index]
        # The index of the largest threshold that a pixel reaches, so that none is rounded.
        level = np.searchsorted(self._thresholds, confidence, side="right") - 1
        return {"image": data_url(self._images[index]), "label": pack(label),
                "level": pack(level), "truth": pack(self._truth[index])}
