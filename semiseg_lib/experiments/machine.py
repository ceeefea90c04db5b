"""What a result is computed on; it decides no result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Where and how something is computed; none of it decides the result.

    Attributes:
        device: "cpu" to stay on the CPU; None takes the best device there is.
        root: the folder that holds real datasets; None asks ``SEMISEG_DATA``.
        workers: processes that read batches ahead; 0 reads them in this one.
        trackers: names of experiment trackers, such as ``tensorboard``.
    """

    device: str | None = None
    root: Path | None = None
    workers: int = 0
    trackers: tuple[str, ...] = ()

    @staticmethod
    def of(machine: Machine | str | None) -> Machine:
        """Return a machine; a name is that of its device."""
        return machine if isinstance(machine, Machine) else Machine(machine)
