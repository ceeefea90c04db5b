"""Self-Correcting Networks (Ibrahim, Vahdat, Ranjbar and Macready, CVPR 2020).

Few images F come with masks y and boxes b, many images W with boxes only. An *ancillary* model sees
image and boxes, learns from F and labels W. A *primary* model sees the image alone; it learns from
both, and it is what is deployed. The ancillary errs, so *self-correction* puts a mixture of both
models in place of its label: by a closed form, or by a small network. So the primary can overrule
the ancillary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import inf
from typing import Literal

from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.core.fingerprint import Configuration, Schema
from semiseg_lib.methods.registry import Declared


@dataclass(frozen=True)
class AlphaSchedule(Configuration):
    """How the trust in the ancillary falls during training.

    Attributes:
        start: alpha at the first step; the paper starts at 30.
        end: alpha at the end; the paper's is 0.5.
        until: the share of the training at which ``end`` is reached and then held; 0 holds it
            from the first step.
        shape: the way from start to end: ``linear`` in equal steps, ``geometric`` by equal
            factors, ``cosine`` along half a cosine wave, slow at both ends; ``constant`` is
            ``end`` throughout. The paper states the end points only.

    Raises:
        ValueError: an end is negative, or 0 in a geometric schedule.
    """

    start: float = 30.0
    end: float = 0.5
    until: float = 1.0
    shape: Literal["linear", "geometric", "cosine", "constant"] = "linear"

    def __post_init__(self) -> None:
        lowest = min(self.start, self.end)
        if lowest < 0:
            raise ValueError(f"alpha is {lowest}; it must be >= 0.")
        if self.shape == "geometric" and lowest == 0:
            raise ValueError(
                "no factor leads to or from an alpha of 0; in a geometric schedule set start and "
                "end above 0 (such as 0.01), or choose shape linear or cosine."
            )

    def at(self, progress: float) -> float:
        """Return alpha (E4) when a share ``progress``, in [0, 1], of the training is done."""
        if progress >= self.until or self.shape == "constant":
            return self.end
        if self.shape == "geometric":
            return self.start * (self.end / self.start) ** (progress / self.until)
        if self.shape == "cosine":
            left = (1 + math.cos(math.pi * progress / self.until)) / 2
            return self.end + (self.start - self.end) * left
        return self.start + (self.end - self.start) * progress / self.until  # (E4)


@dataclass(frozen=True)
class AncillaryConfig(Configuration):
    """Options of the ancillary model.

    Attributes:
        ema_decay: decay of the moving average that is deployed.
        boxes: what the network sees of them: ``class maps``, a channel for each class as in the
            paper, or a single ``heat map``, 1 inside any box, as in a public re-implementation; it
            tells where objects are but not which, and is kept as a counter-example.
    """

    name: Literal["ancillary"] = "ancillary"
    ema_decay: float = 0.99
    boxes: Literal["class maps", "heat map"] = "class maps"


@dataclass(frozen=True)
class PrimaryConfig(Configuration):
    """Options of the primary model.

    Attributes:
        correction: ``none`` learns the ancillary's labels as they are; ``linear`` corrects them by
            a weighted mean of both models' logits; ``bootstrap`` by the same mean of their
            probabilities, which is soft bootstrapping (Reed et al. 2015) with two models.
        alpha: the schedule of the correction.
        ema_decay: decay of the moving average that is deployed.
        constrain: the labels keep to what the boxes allow: no class outside its own boxes.
        temperature: divides the ancillary's logits; above 1 its labels are less sure. A control:
            is it correction that helps, or doubt?
        smoothing: share of each label that is spread evenly over all classes, in [0, 1]. Another
            control of this kind. It comes last, so it undoes ``constrain`` in part.
        strong: learn the labels on a strong view of the unlabelled images; None for weak views.
            The label is that of the weak view.
        strong_labelled: learn the masks on a strong view, too, with the colours of this option;
            None for weak views.
    """

    SCHEMA = Schema(before={
        "temperature": 1.0, "smoothing": 0.0, "strong": None, "strong_labelled": None,
    })

    name: Literal["primary"] = "primary"
    correction: Literal["none", "linear", "bootstrap"] = "linear"
    alpha: AlphaSchedule = AlphaSchedule()
    ema_decay: float = 0.99
    constrain: bool = False
    temperature: float = 1.0
    smoothing: float = 0.0
    strong: StrongConfig | None = None
    strong_labelled: StrongConfig | None = None

    def __post_init__(self) -> None:
        self.check_ranges("primary", smoothing=(0, 1))
        if not 0 < self.temperature < inf:
            raise ValueError(f"primary.temperature is {self.temperature}; it must be above 0.")


@dataclass(frozen=True)
class ConvPrimaryConfig(Configuration):
    """Options of the primary model with convolutional self-correction.

    Attributes:
        stage: ``start`` learns from the labelled images alone, with the logits of an ancillary
            that was trained on half of them; ``full`` goes on with the unlabelled images.
        through: the correction's loss also teaches the primary, through the primary's logits, as
            in a public reproduction; False leaves it to the correction alone. The paper's slides
            leave this open.
        width: hidden channels of the correction.
        ema_decay: decay of the moving average that is deployed.
    """

    name: Literal["conv-primary"] = "conv-primary"
    stage: Literal["start", "full"] = "full"
    through: bool = True
    width: int = 128
    ema_decay: float = 0.99


DECLARED = (
    Declared(AncillaryConfig, "Ancillary"),
    Declared(PrimaryConfig, "Primary"),
    Declared(ConvPrimaryConfig, "ConvPrimary"),
)
