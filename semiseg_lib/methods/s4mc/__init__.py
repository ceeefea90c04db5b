"""Keeping pixels that their neighbours support, S4MC (Kimhi et al., TMLR 2024).

Moshe Kimhi, Shai Kimhi, Evgenii Zheltonozhskii, Or Litany and Chaim Baskin, "Semi-Supervised
Semantic Segmentation via Marginal Contextual Information".

A threshold on confidence drops most pixels along outlines and many inside of objects. But labels of
neighbouring pixels are mostly the same, so a neighbour's belief is evidence, too. S4MC lets it
raise or lower a pixel's margin before the threshold, which itself sinks as the training goes on.
The label stays the teacher's own; only whether it is kept changes.

:mod:`~semiseg_lib.methods.s4mc.method` has the equations and the method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from semiseg_lib.batches.options import CutMixConfig, StrongConfig
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.methods.registry import Declared

Indicator = Literal["margin", "confidence", "entropy"]
BETA = math.exp(-0.5)
"""How far a neighbour counts, beta of (E4), as published."""
HALF_BOX = CutMixConfig(chance=0.5, boxes=1, area=(0.5, 0.5), aspect=0.25)
"""One box over half of the image, each side at least half of the image's, as in S4MC's code.

The sides follow from the area; an ``aspect`` of up to 0.5 changes nothing.
"""


@dataclass(frozen=True)
class S4MCConfig(Configuration):
    """Options of S4MC.

    The defaults are those of the published code on VOC, but for ``expectation`` and ``start``, and
    for ``strong``, which is UniMatch's: that code mixes images and leaves their colours.

    Attributes:
        weight: of the unlabelled loss. With 0 no unlabelled image is looked at.
        indicator: how sure a pixel is: the largest probability minus the second largest
            (``margin``), the largest one (``confidence``), or minus the entropy (``entropy``).
        neighbours: which pixels around may support a pixel, 4 or 8.
        support: k, how many of them do: for each class those that give it the highest probability.
        beta: how far a neighbour counts, in [0, 1]; with 0 nothing is refined.
        expectation: E_c for each class, how often a neighbour of a pixel of the class has the
            class, too; () measures it in the masks that training sees. Published is a list.
        void_differs: in measuring, a void neighbour is one of another class; False leaves it out.
        drop: alpha_0, the share of pixels that is dropped at the start, by unrefined indicators; it
            falls linearly to 0.
        start: share of the training that is over before unlabelled images are looked at.
        strong: how far the student's view differs, as in UniMatch; None for not at all, as in
            CutMix-Seg.
        cutmix: how the student's views are mixed; None for not at all.
        indicator_of: the teacher's predictions that say how sure a pixel is: of the ``mixed``
            images, as published, in a second pass; or mixed from those of the ``unmixed`` ones.
        by_kept: the loss is the mean over kept pixels, times all pixels over kept ones, as
            published; False leaves the factor out.
        list_ratio: a further factor: labelled over unlabelled images of a pass, which is 1 in the
            published code.
        ema_decay: decay of the moving average that teaches and is deployed.
        hard: the labelled loss is the mean over hard pixels only; None for all of them.
    """

    name: Literal["s4mc"] = "s4mc"
    weight: float = 1.0
    indicator: Indicator = "margin"
    neighbours: Literal[4, 8] = 4
    support: int = 1
    beta: float = BETA
    expectation: tuple[float, ...] = ()
    void_differs: bool = True
    drop: float = 0.4
    start: float = 0.0
    strong: StrongConfig | None = StrongConfig()
    cutmix: CutMixConfig | None = HALF_BOX
    indicator_of: Literal["mixed", "unmixed"] = "mixed"
    by_kept: bool = True
    list_ratio: float = 1.0
    ema_decay: float = 0.99
    hard: HardPixels | None = None

    def __post_init__(self) -> None:
        for name in ("weight", "list_ratio"):
            if getattr(self, name) < 0:
                raise ValueError(f"s4mc.{name} is {getattr(self, name)}; it must be at least 0.")
        for name in ("beta", "drop", "start"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"s4mc.{name} is {getattr(self, name)}; it must be in [0, 1].")
        if self.neighbours not in (4, 8) or not 1 <= self.support <= self.neighbours:
            raise ValueError(
                f"s4mc.neighbours is {self.neighbours} and support {self.support}; there are 4 or "
                "8 neighbours, of which at least one gives support."
            )
        if not all(0 <= share <= 1 for share in self.expectation):
            raise ValueError(f"s4mc.expectation is {self.expectation}; all must be in [0, 1].")


DECLARED = (Declared(
    S4MCConfig, "S4MC", unlabelled=True, variants={"cutmix-s4mc": S4MCConfig(strong=None)},
),)
