"""FixMatch for segmentation (Sohn et al., NeurIPS 2020), and UniMatch (Yang et al., CVPR 2023).

A teacher labels a weak view of an unlabelled image; the student learns the confident part of that
label on a strong view of the same image. With a second strong view and dropped features this is
UniMatch's recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from semiseg_lib.batches.options import CutMixConfig, StrongConfig
from semiseg_lib.core.fingerprint import Configuration, Schema
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.methods.registry import Declared


@dataclass(frozen=True)
class FixMatchConfig(Configuration):
    """Options of FixMatch.

    Threshold, strong view and CutMix are those of UniMatch's code on VOC, and with ``views=2``,
    ``feature_dropout=0.5`` and ``ema_decay=0`` this is its first version, but for the ratio of the
    box's sides, the evaluation mode of the labels, and the halved loss.

    Attributes:
        weight: of the unlabelled loss. With 0 no unlabelled image is looked at, and this is
            supervised training to the last bit.
        threshold: a pixel is learnt if the teacher's largest probability is at least this.
        strong: how far a strong view differs.
        cutmix: how strong views are mixed; None for not at all.
        views: strong views per image; their losses are averaged.
        feature_dropout: share of the feature maps that is dropped in a further, weak view (0.5 in
            UniMatch), which then makes up half of the unlabelled loss; 0 for no such view.
        ema_decay: decay of the moving average that teaches and is deployed; with 0 the student
            teaches itself.
        hard: the labelled loss is the mean over hard pixels only; None for all of them.
        constrain: the teacher's labels keep to the boxes of the unlabelled images: no class outside
            its own boxes. An image without boxes allows all.
    """

    SCHEMA = Schema(before={"constrain": False})

    name: Literal["fixmatch"] = "fixmatch"
    weight: float = 1.0
    threshold: float = 0.95
    strong: StrongConfig = StrongConfig()
    cutmix: CutMixConfig | None = CutMixConfig()
    views: Literal[1, 2] = 1
    feature_dropout: float = 0.0
    ema_decay: float = 0.99
    hard: HardPixels | None = None
    constrain: bool = False

    def __post_init__(self) -> None:
        self.check_ranges("fixmatch", weight=(0, inf), threshold=(0, 1))
        if not 0 <= self.feature_dropout < 1:
            raise ValueError(
                f"fixmatch.feature_dropout is {self.feature_dropout}; it must be in [0, 1)."
            )


DECLARED = (Declared(FixMatchConfig, "FixMatch", unlabelled=True),)
