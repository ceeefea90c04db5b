"""Supervised training: the masks that there are, and nothing else. The bar for every method.

It belongs to no paper: the cross-entropy of every labelled pixel. With strong views it is the
control of the methods that learn from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semiseg_lib.batches.options import CutMixConfig, StrongConfig
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.registry import Declared


@dataclass(frozen=True)
class SupervisedConfig(Configuration):
    """Options of supervised training.

    Attributes:
        ema_decay: decay of the moving average that is deployed.
        strong: learn from strong views, as the control of methods that do; None for weak ones.
        cutmix: how strong views are mixed; None for not at all.
    """

    name: Literal["supervised"] = "supervised"
    ema_decay: float = 0.99
    strong: StrongConfig | None = None
    cutmix: CutMixConfig | None = None


DECLARED = (Declared(SupervisedConfig, "Supervised"),)
