"""The provenance of a result beyond its configuration: the state of the machine and the code.

The machine affects a result only by rounding, which training amplifies: the same run differs by one
to two points of mIoU between one thread and two, or between two instruction sets. So both are
stored with every run and every row of a record, and compared when results are combined.
``benchmarks/rounding.py`` measures the effect.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import torch
from accelerate import PartialState

import semiseg_lib
from semiseg_lib.core.paths import in_checkout

LIBRARY = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pillow")
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
    libraries = {name: one for name, one in here["libraries"].items()
                 if name in made["libraries"]}
    here = {**here, "libraries": libraries}
    return [f"{key} {made[key]}, here {here[key]}" for key in here
            if key in made and made[key] != here[key]]


@cache
def code_version() -> str:
    """Return the version of the library's code: a commit or a release, and a digest of its files.

    ``+`` and the digest are left out where the files are known to be those of the commit. Only
    Python files count: recipes and data are inputs of a run, and records are its results.
    """
    commit = in_checkout() and _git(LIBRARY, "describe", "--always", "--exclude=*", "--abbrev=10")
    changes = _git(
        LIBRARY, "status", "--porcelain", "--ignored", "--untracked-files=all", "--", "*.py"
    )
    if commit and changes == "":
        return commit
    return f"{commit or semiseg_lib.__version__}+{_digest_of_files()}"


def source_version(kind: type | FunctionType) -> str:
    """Return ten hex digits over the source of a class or function and of what it reads.

    Classes and functions of the same package or notebook are followed, and so are values that JSON
    can hold, such as numbers. "" if there is no source.
    """
    pieces = "\n".join(_pieces(kind, kind.__module__.partition(".")[0], set()))
    return hashlib.sha256(pieces.encode()).hexdigest()[:10] if pieces else ""


def _pieces(one: Any, package: str, seen: set[Any]) -> Iterator[str]:
    """Yield the source of a class or function and of what it reads, or a value as JSON."""
    if isinstance(one, property | classmethod | staticmethod):
        one = one.fget if isinstance(one, property) else one.__func__
    if not (inspect.isfunction(one) or inspect.isclass(one)):
        with suppress(TypeError, ValueError):
            yield json.dumps(one, sort_keys=True)
        return
    one = inspect.unwrap(one)
    if str(one.__module__).partition(".")[0] != package or one in seen:
        return
    seen.add(one)
    if inspect.isclass(one):
        reads = {name: member for name, member in vars(one).items()
                 if inspect.isfunction(member) or not name.startswith("__")}
        reads |= {base.__name__: base for base in one.__bases__}
    else:  # by its functions, for a class of a notebook has no source
        with suppress(OSError, TypeError):
            yield inspect.getsource(one)
        reads = {name: one.__globals__[name] for name in _names_read(one.__code__)
                 if name in one.__globals__}
        reads |= inspect.getclosurevars(one).nonlocals
    for name in sorted(reads):
        for piece in _pieces(reads[name], package, seen):
            yield f"{name}: {piece}"


def _names_read(code: CodeType) -> set[str]:
    """Return the global names that a function reads, and the functions defined within it."""
    own = {one.argval for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
    return own.union(*(_names_read(one) for one in code.co_consts if inspect.iscode(one)))


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what a git command prints in a folder; None if it fails."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=10, check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _digest_of_files() -> str:
    """Return ten hex digits over the names and bytes of the library's Python files."""
    found = hashlib.sha256()
    for path in sorted(LIBRARY.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(LIBRARY).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()[:10]


def is_tracked(path: Path) -> bool:
    """Return whether git tracks a file."""
    return _git(path.parent, "ls-files", "--error-unmatch", path.name) is not None


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
