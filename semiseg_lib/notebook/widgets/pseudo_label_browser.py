"""The pseudo-label browser: an image's labels, round by round, and where they are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.metrics import evaluate_labels
from semiseg_lib.notebook import plots
from semiseg_lib.notebook.plots.images import VOID_COLOUR
from semiseg_lib.notebook.plots.style import png_bytes
from semiseg_lib.notebook.widgets.encoding import data_url, pack
from semiseg_lib.notebook.widgets.inputs import as_images, as_labels, as_names
from semiseg_lib.notebook.widgets.static_widget import StaticWidget


class PseudoLabelBrowser(StaticWidget):
    """Slider over the rounds of self-training, per image.

    Args:
        images: uint8 (N, 3, H, W), N >= 1.
        labels: round -> uint8 (N, H, W), in the order of the rounds, 255 where no label is kept.
        truth: uint8 (N, H, W), 255 = void.
        classes: C names; the first is background.

    Attributes:
        picture, round: the chosen image and round (from 0), synchronized with the browser.

    Raises:
        ValueError: no round, inconsistent shapes, or an id that is not a class.
    """

    scripts = ("arithmetic.js", "drawing.js", "pseudo_label_browser.js")
    sheets = ("shared.css", "two_columns.css")
    root_class = "pseudo-label-browser"

    picture = traitlets.Int(0, min=0).tag(sync=True)
    round = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        images: np.ndarray,
        labels: Mapping[str, np.ndarray],
        truth: np.ndarray,
        classes: Sequence[str],
    ) -> None:
        self._classes = as_names(classes)
        self._images = as_images(images)
        self._truth = as_labels("truth", truth, self._images, len(self._classes))
        self._labels = {
            name: as_labels(f"the labels of {name!r}", ids, self._images, len(self._classes))
            for name, ids in zip(as_names(labels), labels.values(), strict=True)
        }
        if not self._labels:
            raise ValueError("labels of at least one round are needed")
        super().__init__()

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the score of each image's label in each round, without void pixels of the truth.

        Returns:
            (mIoU of the kept pixels, fraction of kept pixels), float64 (N, R) in [0, 1]; NaN where
            there is nothing to score.
        """
        found = [[_score(label, truth, self._classes) for label in labels] for truth, *labels in
                 zip(self._truth, *self._labels.values(), strict=True)]
        mean_iou, kept = np.moveaxis(np.array(found, np.float64), -1, 0)
        return mean_iou, kept

    def payload(self) -> dict[str, Any]:
        """Return images, labels of every round, truth and scores."""
        mean_iou, kept = self.scores()
        return {
            "label": self.text(),
            "state": {"picture": self.picture, "round": self.round},
            "classes": self._classes,
            "colours": plots.class_colours(len(self._classes)).tolist(),
            "voidColour": list(VOID_COLOUR),
            "size": list(self._truth.shape[1:]),
            "rounds": list(self._labels),
            "meanIoU": _or_none(mean_iou),
            "kept": _or_none(kept),
            "pictures": [
                {"image": data_url(image), "truth": pack(truth),
                 "labels": [pack(label) for label in labels]}
                for image, truth, *labels in
                zip(self._images, self._truth, *self._labels.values(), strict=True)
            ],
        }

    def fallback_png(self) -> bytes:
        """Return the first image with its labels of the first and the last round, as PNG."""
        names = list(self._labels)
        columns = {"picture": [self._images[0]], "truth": [self._truth[0]]}
        columns |= {name: [self._labels[name][0]] for name in (names[0], names[-1])}
        return png_bytes(plots.gallery(columns, self._classes))

    def text(self) -> str:
        """Return one sentence that describes the widget, the same in every run."""
        return (
            f"Pseudo-label browser: {len(self._images)} pictures; a slider over "
            f"{len(self._labels)} rounds shows each label, where it is wrong, and its score."
        )


def _score(label: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> tuple[float, float]:
    """Return (mIoU of the kept pixels, kept fraction) of one image (H, W)."""
    known, kept = truth != VOID, label != VOID
    both = known & kept
    share = both.sum() / known.sum() if known.any() else float("nan")
    return evaluate_labels([truth[both]], [label[both]], tuple(classes)).mean_iou, share


def _or_none(values: np.ndarray) -> list[list[float | None]]:
    """Return numbers for JSON, with None for NaN, rounded to six digits."""
    return [[None if np.isnan(value) else round(float(value), 6) for value in row]
            for row in values]
