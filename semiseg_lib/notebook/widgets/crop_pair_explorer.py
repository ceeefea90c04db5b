"""The crop pair explorer: one cell in two crops, what it moves towards and away from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.cac.crop_pairs import Crops, shared_cells
from semiseg_lib.methods.cac.method import Cells
from semiseg_lib.notebook import plots
from semiseg_lib.notebook.plots.images import VOID_COLOUR
from semiseg_lib.notebook.plots.style import png_bytes
from semiseg_lib.notebook.widgets.encoding import data_url, pack
from semiseg_lib.notebook.widgets.inputs import as_images, as_labels, as_offered
from semiseg_lib.notebook.widgets.static_widget import StaticWidget

THRESHOLDS = tuple(i / 100 for i in range(101))
DIGITS = 4  # of a confidence; the script decides with just these


def cell_truth(truth: np.ndarray, stride: int, num_classes: int) -> np.ndarray:
    """Return each cell's most frequent class, uint8 (N, H/s, W/s); void if half of it is void.

    Args:
        truth: uint8 (N, H, W), 255 = void; sides are multiples of ``stride``.
        stride: s, pixels per cell.
        num_classes: C.
    """
    count, height, width = truth.shape
    cells = truth.reshape(count, height // stride, stride, width // stride, stride)
    shares = np.stack([(cells == c).mean(axis=(2, 4)) for c in range(num_classes)])
    half_void = (cells == VOID).mean(axis=(2, 4)) >= 0.5
    return np.where(half_void, VOID, shares.argmax(axis=0)).astype(np.uint8)


class CropPairExplorer(StaticWidget):
    """Slider over the confidence threshold gamma, and a cell of the overlap to be picked.

    A cell is picked by a click, arrow keys or a second slider. Its positive in the other crop is
    marked, and the cells that are not negatives because they have the same label.

    Args:
        images: uint8 (N, 3, H, W), N >= 1.
        pair: the positions of the two crops of each image, as returned by ``CAC.draw``.
        views: the two crops, uint8 (N, 3, h, w) each.
        cells: of all first crops, then of all second ones, as returned by ``CAC.cells``.
        truth: uint8 (N, H, W), 255 = void.
        classes: C names; the first is background.
        stride: pixels per cell.
        threshold: initial value of the slider.

    Attributes:
        threshold, picture, crop, cell: the slider's value, the chosen image, the crop (0 or 1)
            of the picked cell and its number in the overlap, synchronized with the browser.

    Raises:
        ValueError: inconsistent shapes, or a threshold that the slider does not offer.
    """

    scripts = ("arithmetic.js", "drawing.js", "track.js", "crop_pair_explorer.js")
    sheets = ("shared.css", "two_columns.css", "crop_pair_explorer.css")
    root_class = "crop-pair-explorer"

    threshold = traitlets.Float(0.75, min=0.0, max=1.0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)
    crop = traitlets.Int(0, min=0, max=1).tag(sync=True)
    cell = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        images: np.ndarray,
        pair: tuple[Crops, Crops],
        views: Sequence[np.ndarray],
        cells: Cells,
        truth: np.ndarray,
        classes: Sequence[str],
        stride: int,
        threshold: float = 0.75,
    ) -> None:
        self._classes = [str(name) for name in classes]
        self._images = as_images(images)
        self._truth = as_labels("truth", truth, self._images, len(self._classes))
        self._views = [as_images(view) for view in views]
        self._pair, self._stride = pair, stride
        size = pair[0].size
        expected = (len(self._images), 3, *size)
        if len(self._views) != 2 or any(view.shape != expected for view in self._views):
            raise ValueError(f"views must be two arrays {expected}, got "
                             f"{[view.shape for view in self._views]}")
        grid = (2, len(self._images), size[0] // stride, size[1] // stride)
        if len(cells.labels) != np.prod(grid):
            raise ValueError(f"there are {len(cells.labels)} cells, but {int(np.prod(grid))} of "
                             f"stride {stride} in the crops")
        self._labels = cells.labels.reshape(grid).cpu().numpy().astype(np.uint8)
        self._confidence = cells.confidence.detach().cpu().double().numpy().reshape(grid)
        self._shared = self._overlaps()
        threshold = as_offered("threshold", threshold, THRESHOLDS)
        super().__init__(threshold=threshold, cell=self._telling_cell())

    def payload(self) -> dict[str, Any]:
        """Return images, crops, and each cell's label and confidence."""
        state = ("threshold", "picture", "crop", "cell")
        return {
            "label": self.text(),
            "state": {name: getattr(self, name) for name in state},
            "classes": self._classes,
            "colours": plots.class_colours(len(self._classes)).tolist(),
            "voidColour": list(VOID_COLOUR),
            "size": list(self._truth.shape[1:]),
            "cropSize": list(self._pair[0].size),
            "stride": self._stride,
            "thresholds": list(THRESHOLDS),
            "pictures": [self._image_payload(index) for index in range(len(self._images))],
        }

    def fallback_png(self) -> bytes:
        """Return the first image, its crops and their labels, as PNG."""
        labels = [np.kron(one[0], np.ones((self._stride, self._stride), np.uint8))
                  for one in self._labels]
        columns = {"picture": [self._images[0]], "crop 1": [self._views[0][0]],
                   "its labels": [labels[0]], "crop 2": [self._views[1][0]],
                   "its own labels": [labels[1]]}
        return png_bytes(plots.gallery(columns, self._classes))

    def text(self) -> str:
        """Return one sentence that describes the widget, the same in every run."""
        return (
            f"Crop pair explorer: {len(self._images)} pictures, each in two overlapping crops; "
            "pick a cell to see its counterpart, its negatives and which of the two moves; a "
            "slider over the confidence threshold shows which cells move at all."
        )

    def _overlaps(self) -> list[np.ndarray]:
        """Return int (M, 4) per image: row and column of each shared cell in either crop."""
        places = np.stack(shared_cells(*self._pair, self._stride), axis=1)
        per_crop = self._labels[0, 0].size
        overlaps = []
        for number in range(len(self._images)):
            mine = places[places[:, 0] // per_crop == number] % per_crop
            rows, columns = np.divmod(mine[:, 0], self._labels.shape[3])
            if self._pair[0].flipped[number]:
                columns = self._labels.shape[3] - 1 - columns
            top, left = self._pair[0].corners[number] // self._stride
            overlaps.append(np.stack([*mine.T, rows + top, columns + left], axis=1))
        return overlaps

    def _telling_cell(self) -> int:
        """Return the first image's cell with two different labels of the highest confidences.

        If there is none, return a cell in the middle of the overlap.
        """
        places = self._shared[0][:, :2]
        labels, sure = (
            np.stack([values[k, 0].ravel()[places[:, k]] for k in (0, 1)])
            for values in (self._labels, self._confidence)
        )
        differ = labels[0] != labels[1]
        if not differ.any():
            return len(places) // 2
        return int(np.where(differ, sure.min(axis=0), -1).argmax())

    def _image_payload(self, index: int) -> dict[str, Any]:
        truth = cell_truth(self._truth[index:index + 1], self._stride, len(self._classes))[0]
        return {
            "image": data_url(self._images[index]),
            "views": [data_url(view[index]) for view in self._views],
            "corners": [crops.corners[index].tolist() for crops in self._pair],
            "flipped": [bool(crops.flipped[index]) for crops in self._pair],
            "labels": [pack(labels[index]) for labels in self._labels],
            "confidence": [one[index].ravel().round(DIGITS).tolist() for one in self._confidence],
            "shared": self._shared[index].tolist(),
            "truth": pack(truth),
        }
