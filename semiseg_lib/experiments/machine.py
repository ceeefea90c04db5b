"""Options of the machine, which affect no result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Machine:
    """Device, data folder, workers and trackers; none of them affects the result.

    Attributes:
        device: cpu to stay on the CPU; None selects the best available device.
        root: the folder that holds the dataset; unset: SEMISEG_DATA, else datasets/ in the work
            folder.
        workers: processes that prefetch batches; 0 reads them in this one.
        trackers: experiment trackers, such as tensorboard, that show the losses during a run.

    Raises:
        ValueError: the number of workers is negative, or a tracker is unknown or not installed.
    """

    device: Literal["cpu"] | None = None
    root: Path | None = None
    workers: int = 0
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers is {self.workers}; it must be >= 0, 0 for none.")
        if self.trackers:
            from semiseg_lib.training.loop import check_trackers  # imports torch

            check_trackers(self.trackers)

    @staticmethod
    def of(machine: AnyMachine) -> Machine:
        """Return a machine; a string names its device."""
        return machine if isinstance(machine, Machine) else Machine(machine)


AnyMachine: TypeAlias = Machine | Literal["cpu"] | None
"""What functions take for a machine; a string names its device, None is the best device here."""
