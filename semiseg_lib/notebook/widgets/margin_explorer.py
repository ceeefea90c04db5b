"""The margin explorer: the effect of a pixel's neighbours on its margin and selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.losses import enlarge
from semiseg_lib.methods.s4mc import BETA
from semiseg_lib.methods.s4mc.method import indicator, refine, threshold
from semiseg_lib.notebook import plots
from semiseg_lib.notebook.plots.images import VOID_COLOUR
from semiseg_lib.notebook.plots.style import png_bytes
from semiseg_lib.notebook.widgets.encoding import data_url, pack, quantise
from semiseg_lib.notebook.widgets.inputs import as_images, as_labels, as_logits, as_offered
from semiseg_lib.notebook.widgets.static_widget import StaticWidget

SHARES = tuple(i / 100 for i in range(61))
BETAS = (0.0, 0.3, BETA, 1.0)


class MarginExplorer(StaticWidget):
    """Slider over the fraction that S4MC drops, and a pixel to pick by mouse or arrow keys.

    The threshold is that quantile of the unrefined margins of all images together, as in a batch.
    The window around the pixel, its probabilities before and after refinement and the map of the
    changes by its neighbours depend on the pixel, the number of neighbours and beta.

    Args:
        images: uint8 (N, 3, H, W), N >= 1.
        logits: float (N, C, h, w); upsampled before the softmax.
        truth: uint8 (N, H, W), 255 = void.
        expectation: (C,) in [0, 1], how often a neighbour of a pixel of the class has it, too.
        classes: C names; the first is background.
        dropped: initial value of the slider, one of ``SHARES``.

    Attributes:
        dropped, neighbours, beta, picture, row, column: the slider's value, the choices, and the
            pixel, synchronized with the browser.

    Raises:
        ValueError: inconsistent shapes, or a fraction that the slider does not offer.
    """

    scripts = (
        "arithmetic.js", "margin_arithmetic.js", "drawing.js", "track.js", "margin_explorer.js"
    )
    sheets = ("shared.css", "two_columns.css", "margin_explorer.css")
    root_class = "margin-explorer"

    dropped = traitlets.Float(0.4, min=0.0, max=1.0).tag(sync=True)
    neighbours = traitlets.Enum((4, 8), default_value=4).tag(sync=True)
    beta = traitlets.Enum(BETAS, default_value=BETA).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)
    row = traitlets.Int(0, min=0).tag(sync=True)
    column = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        images: np.ndarray,
        logits: np.ndarray | torch.Tensor,
        truth: np.ndarray,
        expectation: Sequence[float] | torch.Tensor,
        classes: Sequence[str],
        dropped: float = 0.4,
    ) -> None:
        self._classes = [str(name) for name in classes]
        self._images = as_images(images)
        self._truth = as_labels("truth", truth, self._images, len(self._classes))
        self._logits = as_logits("logits", logits, self._images, len(self._classes))
        self._expectation = torch.as_tensor(expectation).float()
        shares, expected = self._expectation, len(self._classes)
        if shares.shape != (expected,) or not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(f"expectation must be {expected} values in [0, 1]")
        size = self._truth.shape[1:]
        self._probabilities = enlarge(self._logits, size).softmax(dim=1)
        doubtful = int(indicator(self._probabilities[:1]).argmin())
        row, column = divmod(doubtful, size[1])
        dropped = as_offered("dropped", dropped, SHARES)
        super().__init__(dropped=dropped, row=row, column=column)

    def payload(self) -> dict[str, Any]:
        """Return images, logits in 8 bits and truths; all else is computed from them."""
        state = ("dropped", "neighbours", "beta", "picture", "row", "column")
        return {
            "label": self.text(),
            "state": {name: getattr(self, name) for name in state},
            "classes": self._classes,
            "colours": plots.class_colours(len(self._classes)).tolist(),
            "voidColour": list(VOID_COLOUR),
            "size": list(self._truth.shape[1:]),
            "head": list(self._logits.shape[-2:]),
            "shares": list(SHARES),
            "betas": list(BETAS),
            "expectation": self._expectation.tolist(),
            "pictures": [
                {"image": data_url(image), "logits": quantise(logits.numpy()),
                 "truth": pack(truth)}
                for image, logits, truth in zip(
                    self._images, self._logits, self._truth, strict=True)
            ],
        }

    def fallback_png(self) -> bytes:
        """Return the first image's row at the initial fraction, as PNG."""
        plain = indicator(self._probabilities)
        everywhere = torch.ones_like(plain, dtype=torch.bool)
        least = threshold(plain, everywhere, self.dropped)
        refined = refine(self._probabilities[:1], self._expectation, self.neighbours,
                         beta=self.beta)
        kept = (indicator(refined)[0] > least).numpy()
        label = self._probabilities[0].argmax(dim=0).numpy()
        columns = {"picture": [self._images[0]], "truth": [self._truth[0]],
                   "prediction": [label], "kept": [np.where(kept, label, VOID)]}
        return png_bytes(plots.gallery(columns, self._classes))

    def text(self) -> str:
        """Return one sentence that describes the widget, the same in every run."""
        return (
            f"Margin explorer: {len(self._images)} pictures; pick a pixel to see its neighbours "
            "and its probabilities before and after refinement; a slider over the dropped share "
            "shows which pixels are kept."
        )
