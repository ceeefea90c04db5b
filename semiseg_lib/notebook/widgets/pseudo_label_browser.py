"""The pseudo-label browser: a picture's labels, round after round, and where they are wrong."""

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
from semiseg_lib.notebook.widgets.inputs import as_images, as_labels
from semiseg_lib.notebook.widgets.static_widget import StaticWidget


class PseudoLabelBrowser(StaticWidget):
    """Slider over the rounds of self-training, picture by picture.

    Args:
        pictures: uint8 (N, 3, H, W), N >= 1.
        labels: round -> uint8 (N, H, W), in the order of the rounds, 255 where no label is kept.
        truth: uint8 (N, H, W), 255 = void.
        classes: C names; the first is background.

    Attributes:
        picture, round: the chosen picture and round (from 0), kept in step with the browser.

    Raises:
        ValueError: no round, shapes that do not belong together, or an id of no class.
    """

    scripts = ("arithmetic.js", "drawing.js", "pseudo_label_browser.js")
    sheets = ("shared.css", "two_columns.css")
    root_class = "pseudo-label-browser"

    picture = traitlets.Int(0, min=0).tag(sync=True)
    round = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        pictures: np.ndarray,
        labels: Mapping[str, np.ndarray],
        truth: np.ndarray,
        classes: Sequence[str],
    ) -> None:
        self._classes = [str(name) for name in classes]
        self._pictures = as_images(pictures)
        self._truth = as_labels("truth", truth, self._pictures, len(self._classes))
        self._labels = {
            str(name): as_labels(f"the labels of {name!r}", ids, self._pictures, len(self._classes))
            for name, ids in labels.items()
        }
        if not self._labels:
            raise ValueError("labels of at least one round are needed")
        super().__init__()

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """How good each picture's label is in each round; void pixels of the truth left out.

        Returns:
            (mIoU of the kept pixels, share of the pixels that are kept), float64 (N, R) in [0, 1];
            NaN where there is nothing to score.
        """
        found = [[_score(label, truth, self._classes) for label in labels] for truth, *labels in
                 zip(self._truth, *self._labels.values(), strict=True)]
        mean_iou, kept = np.moveaxis(np.array(found, np.float64), -1, 0)
        return mean_iou, kept

    def payload(self) -> dict[str, Any]:
        """Pictures, labels of every round, truth and scores."""
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
                {"image": data_url(picture), "truth": pack(truth),
                 "labels": [pack(label) for label in labels]}
                for picture, truth, *labels in
                zip(self._pictures, self._truth, *self._labels.values(), strict=True)
            ],
        }

    def fallback_png(self) -> bytes:
        """The first picture with its labels of the first and the last round."""
        names = list(self._labels)
        columns = {"picture": [self._pictures[0]], "truth": [self._truth[0]]}
        columns |= {name: [self._labels[name][0]] for name in (names[0], names[-1])}
        return png_bytes(plots.gallery(columns, self._classes))

    def text(self) -> str:
        """One sentence that stands for the widget; the same in every run."""
        return (
            f"Pseudo-label browser: {len(self._pictures)} pictures; a slider over "
            f"{len(self._labels)} rounds shows each label, where it is wrong, and its score."
        )


def _score(label: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> tuple[float, float]:
    """(mIoU of the kept pixels, kept share) of one picture (H, W)."""
    known, kept = truth != VOID, label != VOID
    both = known & kept
    share = both.sum() / known.sum() if known.any() else float("nan")
    return evaluate_labels([truth[both]], [label[both]], tuple(classes)).mean_iou, share


def _or_none(values: np.ndarray) -> list[list[float | None]]:
    """Numbers for JSON, which knows no NaN; six digits are more than are shown."""
    return [[None if np.isnan(value) else round(float(value), 6) for value in row]
            for row in values]
