"""Mean Teacher (Tarvainen and Valpola, NeurIPS 2017), pixel by pixel.

It is the plainest consistency method. The moving average of a student's weights is its teacher. On
an unlabelled image the student is to give the probabilities that the teacher gives, though it sees
a stronger view. There is no label, no threshold and no second network in it, so this room is also
the template for methods of your own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.methods.registry import Declared


@dataclass(frozen=True)
class MeanTeacherConfig(Configuration):
    """Options of Mean Teacher. The defaults are the book's.

    Attributes:
        weight: of the squared difference, once it has risen. With 0 no unlabelled image is
            looked at.
        ramp: share of the training in which the weight rises; 0 for none.
        strong: how far the student's view differs from the teacher's; None for not at all.
        ema_decay: decay of the moving average that teaches and is deployed.
        hard: the labelled loss is the mean over hard pixels only; None for all of them.
    """

    name: Literal["mean-teacher"] = "mean-teacher"
    weight: float = 5.0
    ramp: float = 0.25
    strong: StrongConfig | None = StrongConfig()
    ema_decay: float = 0.99
    hard: HardPixels | None = None

    def __post_init__(self) -> None:
        self.check_ranges("mean-teacher", weight=(0, inf), ramp=(0, 1))


DECLARED = (Declared(MeanTeacherConfig, "MeanTeacher", unlabelled=True),)
