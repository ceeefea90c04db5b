"""The error map explorer: which labels an error map keeps, and which errors it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.notebook import plots
from semiseg_lib.notebook.plots.images import VOID_COLOUR
from semiseg_lib.notebook.plots.style import png_bytes
from semiseg_lib.notebook.widgets.encoding import data_url, pack
from semiseg_lib.notebook.widgets.inputs import as_images, as_labels, as_offered
from semiseg_lib.notebook.widgets.static_widget import StaticWidget

THRESHOLDS = tuple(i / 50 for i in range(50)) + (0.99,)


class ErrorMapExplorer(StaticWidget):
    """Slider over the least probability of being right with which a pixel's label is kept.

    Fractions are given for the chosen image and for all images, also those not shown. Void pixels
    are not counted.

    Args:
        images: uint8 (N, 3, H, W), N >= 1.
        labels: uint8 (N, H, W), the labels to judge.
        right: float (N, H, W) in [0, 1], the probability that each of them is right.
        truth: uint8 (N, H, W), 255 = void.
        classes: C names; the first is background.
        shown: numbers of the images to show; None for all.
        threshold: initial value of the slider, one of ``THRESHOLDS``.

    Attributes:
        threshold, picture: the slider's value and the chosen one of the shown images,
            synchronized with the browser.

    Raises:
        ValueError: inconsistent shapes, probabilities out of range, no image to show, or a
            threshold that the slider does not offer.
    """

    scripts = ("arithmetic.js", "drawing.js", "track.js", "error_map_explorer.js")
    sheets = ("shared.css", "two_columns.css", "error_map_explorer.css")
    root_class = "error-map-explorer"

    threshold = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        right: np.ndarray,
        truth: np.ndarray,
        classes: Sequence[str],
        shown: Sequence[int] | None = None,
        threshold: float = 0.5,
    ) -> None:
        self._classes = [str(name) for name in classes]
        self._images = as_images(images)
        count = len(self._classes)
        self._labels = as_labels("labels", labels, self._images, count)
        self._truth = as_labels("truth", truth, self._images, count)
        right = np.asarray(right)
        if right.shape != self._truth.shape or not ((right >= 0) & (right <= 1)).all():
            raise ValueError(f"right must be {self._truth.shape}, values in [0, 1]")
        everything = range(len(self._images))
        self._shown = list(everything if shown is None else shown)
        if not self._shown or not set(self._shown) <= set(everything):
            raise ValueError(f"shown must be numbers below {len(everything)}, at least one")
        # The index of the largest threshold that a pixel reaches, so that none is rounded.
        self._level = np.searchsorted(THRESHOLDS, right.astype(float), side="right") - 1
        super().__init__(threshold=as_offered("threshold", threshold, THRESHOLDS))

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Count the kept pixels of all images at each threshold, and the right ones of them.

        Returns:
            (int64 (T,), int64 (T,)), without void.
        """
        hit = self._labels == self._truth
        found = (np.bincount(self._level[where], minlength=len(THRESHOLDS))
                 for where in (self._truth != VOID, hit & (self._truth != VOID)))
        kept, right = (counts[::-1].cumsum()[::-1] for counts in found)
        return kept, right

    def payload(self) -> dict[str, Any]:
        """Return the shown images, and the counts of all images."""
        kept, right = self.counts()
        return {
            "label": self.text(),
            "state": {"threshold": self.threshold, "picture": self.picture},
            "colours": plots.class_colours(len(self._classes)).tolist(),
            "classes": self._classes,
            "voidColour": list(VOID_COLOUR),
            "mapColours": plots.heat(1 - np.array([THRESHOLDS]))[0].tolist(),
            "size": list(self._truth.shape[1:]),
            "thresholds": list(THRESHOLDS),
            "kept": kept.tolist(),
            "right": right.tolist(),
            "pictures": [
                {"image": data_url(self._images[i]), "label": pack(self._labels[i]),
                 "level": pack(self._level[i]), "truth": pack(self._truth[i])}
                for i in self._shown
            ],
        }

    def fallback_png(self) -> bytes:
        """Return the first image's row at the initial threshold, as PNG."""
        first = self._shown[0]
        label, truth = self._labels[first], self._truth[first]
        doubt = 1 - np.array(THRESHOLDS)[self._level[first]]
        kept = self._level[first] >= THRESHOLDS.index(self.threshold)
        columns = {
            "picture": [self._images[first]], "prediction": [label],
            "wrong": [(label != truth) & (truth != VOID)], "chance of an error": [doubt],
            "kept": [np.where(kept, label, VOID).astype(np.uint8)],
        }
        return png_bytes(plots.gallery(columns, self._classes))

    def text(self) -> str:
        """Return one sentence that describes the widget, the same in every run."""
        return (
            f"Error map explorer: {len(self._shown)} pictures; a slider over the least probability "
            "of being right shows which labels are kept, how many of them are right, and which "
            "errors are found."
        )
