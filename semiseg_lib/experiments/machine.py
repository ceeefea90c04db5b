"""What a result is computed on: it decides no result, and is stated beside each."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from semiseg_lib.paths import CHECKOUT


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


def state_of_machine() -> dict[str, Any]:
    """Return what a number may depend on, up to rounding, beside its description.

    To be asked once the process has its accelerator, which decides the device.
    """
    state = PartialState()
    device = state.device.type
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {
        "device": device, "processor": name, "threads": torch.get_num_threads(),
        "processes": state.num_processes, "torch": torch.__version__, "system": platform.system(),
    }


@cache
def code_version() -> str:
    """Return the commit of the checkout, with ``+`` for changes; else the package's version."""
    try:
        described = subprocess.run(
            ["git", "-C", str(CHECKOUT), "describe", "--always", "--exclude=*", "--dirty=+"],
            capture_output=True, text=True, timeout=10, check=True,
        )
        if (CHECKOUT / "book.yml").is_file():
            return described.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return version("semiseg_lib")
