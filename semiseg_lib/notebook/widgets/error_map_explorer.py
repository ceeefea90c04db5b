"""The error map explorer: which labels a map of errors keeps, and which errors it finds."""

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
from semiseg_lib.notebook.widgets.inputs import as_images, as_labels
from semiseg_lib.notebook.widgets.static_widget import StaticWidget

THRESHOLDS = tuple(i / 50 for i in range(50)) + (0.99,)


class ErrorMapExplorer(StaticWidget):
    """Slider over the least probability of being right with which a pixel's label is kept.

    Beside the chosen picture's shares stand those of all pictures together, also of the ones that
    are not shown. Void pixels are in no share.

    Args:
        pictures: uint8 (N, 3, H, W), N >= 1.
        labels: uint8 (N, H, W), the labels that are judged.
        right: float (N, H, W) in [0, 1], how probably each of them is right.
        truth: uint8 (N, H, W), 255 = void.
        classes: C names; the first is background.
        shown: numbers of the pictures that can be looked at; None for all of them.
        threshold: where the slider starts, one of ``THRESHOLDS``.

    Attributes:
        threshold, picture: the slider's value and the chosen one of the shown pictures, kept in
            step with the browser.

    Raises:
        ValueError: shapes that do not belong together, probabilities out of their range, no picture
            to show, or a threshold that the slider does not offer.
    """

    scripts = ("arithmetic.js", "drawing.js", "track.js", "error_map_explorer.js")
    sheets = ("shared.css", "two_columns.css", "error_map_explorer.css")
    root_class = "error-map-explorer"

    threshold = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        pictures: np.ndarray,
        labels: np.ndarray,
        right: np.ndarray,
        truth: np.ndarray,
        classes: Sequence[str],
        shown: Sequence[int] | None = None,
        threshold: float = 0.5,
    ) -> None:
        self._classes = [str(name) for name in classes]
        self._pictures = as_images(pictures)
        count = len(self._classes)
        self._labels = as_labels("labels", labels, self._pictures, count)
        self._truth = as_labels("truth", truth, self._pictures, count)
        right = np.asarray(right)
        if right.shape != self._truth.shape or not ((right >= 0) & (right <= 1)).all():
            raise ValueError(f"right must be {self._truth.shape}, numbers 0 .. 1")
        everything = range(len(self._pictures))
        self._shown = list(everything if shown is None else shown)
        if not self._shown or not set(self._shown) <= set(everything):
            raise ValueError(f"shown must be numbers below {len(everything)}, at least one")
        if threshold not in THRESHOLDS:
            raise ValueError(f"threshold must be one that the slider offers, {THRESHOLDS}; got "
                             f"{threshold}")
        # The place of the largest threshold that a pixel still meets, so that none is rounded.
        self._level = np.searchsorted(THRESHOLDS, right.astype(float), side="right") - 1
        super().__init__(threshold=float(threshold))

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The kept pixels of all pictures at each threshold, and how many of them are right.

        Returns:
            (int64 (T,), int64 (T,)); void is left out.
        """
        hit = self._labels == self._truth
        found = (np.bincount(self._level[where], minlength=len(THRESHOLDS))
                 for where in (self._truth != VOID, hit & (self._truth != VOID)))
        kept, right = (counts[::-1].cumsum()[::-1] for counts in found)
        return kept, right

    def payload(self) -> dict[str, Any]:
        """The shown pictures, and the counts of all of them."""
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
                {"image": data_url(self._pictures[i]), "label": pack(self._labels[i]),
                 "level": pack(self._level[i]), "truth": pack(self._truth[i])}
                for i in self._shown
            ],
        }

    def fallback_png(self) -> bytes:
        """The first picture's row at the starting threshold."""
        first = self._shown[0]
        label, truth = self._labels[first], self._truth[first]
        doubt = 1 - np.array(THRESHOLDS)[self._level[first]]
        kept = self._level[first] >= THRESHOLDS.index(self.threshold)
        columns = {
            "picture": [self._pictures[first]], "prediction": [label],
            "wrong": [(label != truth) & (truth != VOID)], "chance of an error": [doubt],
            "kept": [np.where(kept, label, VOID).astype(np.uint8)],
        }
        return png_bytes(plots.gallery(columns, self._classes))

    def text(self) -> str:
        """One sentence that stands for the widget; the same in every run."""
        return (
            f"Error map explorer: {len(self._shown)} pictures; a slider over the least probability "
            "of being right shows which labels are kept, how many of them are right, and which "
            "errors are found."
        )
