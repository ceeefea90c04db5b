"""Iterated pseudo-labelling, as published for SwiftNet on CamVid (Petrač, a master's thesis).

A teacher labels all unlabelled images, every pixel of them. A new student with ImageNet weights
learns these labels alone, is then fine-tuned on the masks, and becomes the next teacher. Two ways
to select pixels are here as options: a confidence threshold, and a share of each class
(class-balanced self-training, Zou et al., ECCV 2018).

The rounds themselves are in :mod:`semiseg_lib.experiments.pseudo_labelling`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.registry import Declared


@dataclass(frozen=True)
class Selection(Configuration):
    """Selection of the pixels of a teacher's label that are kept.

    Attributes:
        keep: ``all`` of them, as published; the ``confident`` ones; or of each class the same
            share, its most confident pixels (``balanced``).
        threshold: for ``confident``: the least probability of the chosen class.
        share: for ``balanced``: how much of each class is kept, in [0, 1].
    """

    keep: Literal["all", "confident", "balanced"] = "all"
    threshold: float = 0.9
    share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("threshold", "share"):
            if not 0 <= getattr(self, name) <= 1:
                value = getattr(self, name)
                raise ValueError(f"selection.{name} is {value}; it must be in [0, 1].")


@dataclass(frozen=True)
class PseudoLabelConfig(Configuration):
    """Options of a student.

    Attributes:
        stage: ``pretrain`` on pseudo-labels, or ``fine-tune`` on the masks.
        round: counted from 1.
        ema_decay: decay of the moving average that is deployed.
    """

    name: Literal["pseudo-label"] = "pseudo-label"
    stage: Literal["pretrain", "fine-tune"] = "pretrain"
    round: int = 1
    ema_decay: float = 0.99


DECLARED = (Declared(PseudoLabelConfig, "PseudoLabel"),)
