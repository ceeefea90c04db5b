"""The provenance of a result beyond its configuration: the state of the machine and the code.

The machine affects a result only by rounding, which training amplifies: the same run differs by one
to two points of mIoU between one thread and two, or between two instruction sets. So both are
stored with every run and every row of a record, and compared when results are combined.
``benchmarks/rounding.py`` measures the effect.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from semiseg_lib.core.paths import CHECKOUT, in_checkout

LIBRARIES = ("torch", "torchvision", "numpy", "pillow")
OVERRIDES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS")
CPU_KEYS = ("vendor_id", "cpu family", "model", "stepping")


def state_of_machine() -> dict[str, Any]:
    """Return all known properties of this process that change a result by rounding.

    Call it after the accelerator is set up, which selects the device.
    """
    state = PartialState()
    device = state.device.type
    return {
        "device": device, "gpu": torch.cuda.get_device_name() if device == "cuda" else "",
        "threads": torch.get_num_threads(), "processes": state.num_processes,
        "cpu": _cpu(), "instructions": torch.backends.cpu.get_cpu_capability(),
        "overrides": {key: os.environ[key] for key in OVERRIDES if key in os.environ},
        "libraries": {name: version_of(name) or "none" for name in LIBRARIES},
        "build": hashlib.sha256(torch.__config__.show().encode()).hexdigest()[:10],
        "system": platform.system(),
    }


def in_words(machine: Mapping[str, Any]) -> str:
    """Return the state of a machine as one line of text."""
    threads, processes = machine["threads"], machine["processes"]
    where = machine["gpu"] or machine["cpu"]
    overrides = "".join(f", {key}={value}" for key, value in machine["overrides"].items())
    return (
        f"{machine['device']} ({where}, {machine['instructions']}), {threads} "
        f"thread{'s' * (threads > 1)}, {processes} process{'es' * (processes > 1)}, torch "
        f"{machine['libraries']['torch']}{overrides}"
    )


def compare_machines(made: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return one line per entry in which two states of machines differ."""
    return [f"{key} {made[key]}, here {here[key]}" for key in here
            if key in made and made[key] != here[key]]


@cache
def code_version() -> str:
    """Return the commit of the checkout, with ``+`` if modified; else the package version."""
    try:
        described = subprocess.run(
            ["git", "-C", str(CHECKOUT), "describe", "--always", "--exclude=*", "--dirty=+"],
            capture_output=True, text=True, timeout=10, check=True,
        )
        if in_checkout():
            return described.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return version("semiseg_lib")


def is_tracked(path: Path) -> bool:
    """Return whether git tracks a file."""
    try:
        return subprocess.run(
            ["git", "-C", str(path.parent), "ls-files", "--error-unmatch", path.name],
            capture_output=True, timeout=10,
        ).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


@cache
def _cpu() -> str:
    """Return the CPU model by its ids: the name alone may be masked, as in a virtual machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = {key.strip(): value.strip() for key, _, value in (one.partition(":") for one in lines)}
    kind = " ".join(known[key] for key in CPU_KEYS if key in known)
    return f"{platform.machine()} {kind}".strip()


def version_of(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
