"""The CutMix sampler: sampled masks, and two images mixed by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import traitlets

from semiseg_lib.notebook import plots
from semiseg_lib.notebook.plots.style import png_bytes
from semiseg_lib.notebook.widgets.encoding import data_url, pack
from semiseg_lib.notebook.widgets.inputs import as_images, as_names
from semiseg_lib.notebook.widgets.static_widget import StaticWidget


class CutMixSampler(StaticWidget):
    """Slider over the draws of CutMix masks of several kinds.

    Each image can be the base; the next one (after the last, the first) is pasted into it.

    Args:
        images: uint8 (N, 3, H, W), N >= 2.
        masks: kind -> bool (D, H, W), True where the next image is pasted; D draws of every kind.

    Attributes:
        kind, draw, picture: the chosen kind, draw (from 0) and base image, synchronized with the
            browser.

    Raises:
        ValueError: fewer than two images, no kind, or masks of another type, size or number.
    """

    scripts = ("arithmetic.js", "drawing.js", "track.js", "cutmix_sampler.js")
    sheets = ("shared.css", "two_columns.css")
    root_class = "cutmix-sampler"

    kind = traitlets.Unicode().tag(sync=True)
    draw = traitlets.Int(0, min=0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(self, images: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
        self._images = as_images(images, at_least=2)
        self._masks = {
            kind: np.asarray(drawn)
            for kind, drawn in zip(as_names(masks), masks.values(), strict=True)
        }
        if not self._masks:
            raise ValueError("masks of at least one kind are needed")
        draws, size = len(next(iter(self._masks.values()))), self._images.shape[2:]
        for kind, drawn in self._masks.items():
            if drawn.dtype != bool or drawn.shape != (draws, *size) or not draws:
                raise ValueError(
                    f"masks of {kind!r} must be bool (D, {size[0]}, {size[1]}), D >= 1 and the "
                    f"same in every kind; got {drawn.dtype} {drawn.shape}"
                )
        super().__init__(kind=next(iter(self._masks)))

    @traitlets.validate("kind")
    def _known_kind(self, proposal: Any) -> str:
        if proposal["value"] not in self._masks:
            raise traitlets.TraitError(f"kind must be one of {list(self._masks)}, "
                                       f"got {proposal['value']!r}")
        return proposal["value"]

    def payload(self) -> dict[str, Any]:
        """Return images, masks and the pasted pixels of every draw."""
        return {
            "label": self.text(),
            "state": {"kind": self.kind, "draw": self.draw, "picture": self.picture},
            "size": list(self._images.shape[2:]),
            "kinds": list(self._masks),
            "draws": self._draws,
            "masks": [pack(drawn) for drawn in self._masks.values()],
            "pasted": [drawn.sum(axis=(1, 2)).tolist() for drawn in self._masks.values()],
            "pictures": [{"image": data_url(image)} for image in self._images],
        }

    def fallback_png(self) -> bytes:
        """Return two images and their mixture by each kind's first mask, as PNG."""
        base, pasted = self._images[:2]
        columns = {"base": [base], "pasted": [pasted]}
        columns |= {kind: [np.where(drawn[0], pasted, base)] for kind, drawn in
                    self._masks.items()}
        return png_bytes(plots.gallery(columns, (), legend=False))

    def text(self) -> str:
        """Return one sentence that describes the widget, the same in every run."""
        return (
            f"CutMix sampler: {' or '.join(self._masks)}; a slider over {self._draws} draws shows "
            "the mask, the mixed picture and the pasted share."
        )

    @property
    def _draws(self) -> int:
        return len(next(iter(self._masks.values())))
