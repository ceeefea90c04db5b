"""Trainings that end as those that a person interrupts do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from semiseg_lib.experiments import training


def stopped_after(step: int) -> Callable[..., NoReturn]:
    """Return what to put in the place of ``training.fit``: it stops after a step, as by Ctrl-C.

    It trains with the ``fit`` that is there when this is called.
    """
    fit = training.fit

    def stopped(*arguments: Any, **options: Any) -> NoReturn:
        fit(*arguments, **{**options, "stop_at": step})
        raise KeyboardInterrupt

    return stopped
