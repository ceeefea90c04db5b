"""`semiseg doctor`: diagnose whether this machine has everything that the book needs.

One line per finding: [OK], [NOTE] (worth knowing, nothing is broken) or [FAIL] with the fix below
it. No line names a folder of this machine, so the output can be pasted into a public report.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch
from packaging.requirements import Requirement

from semiseg_lib.core import compat
from semiseg_lib.core.paths import dataset_root, in_checkout, work_root
from semiseg_lib.core.provenance import version_of
from semiseg_lib.core.terminal import give
from semiseg_lib.datasets.dataset import Dataset, find, names

CHECKOUT_INSTALL = 'python -m pip install -c requirements.lock -e ".[lab,test,book,browser]"'
EXTRAS = {
    "lab": "to read the book live",
    "test": "to run the tests",
    "book": "to build the HTML",
    "browser": "to test the widgets in a browser",
    "grabcut": "to draw GrabCut labels from boxes",
    "video": "to read videos",
}
"""What each group of optional packages in pyproject.toml is for."""
REINSTALL = "python -m pip install --force-reinstall torch torchvision"
LEAST_DISK_GB, LEAST_MEMORY_GB = 1.0, 2.0


@dataclass(frozen=True)
class Diagnosis:
    """One finding, with the `fix` if something is wrong or could be better."""

    status: Literal["OK", "NOTE", "FAIL"]
    text: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{f'[{self.status}]':<7} {self.text}"
        return f"{line}\n        -> {self.fix}" if self.fix else line


def check_python() -> Diagnosis:
    """Return the version of Python, which is new enough: an older one cannot import this module."""
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Diagnosis("OK", text)


def check_packages() -> list[Diagnosis]:
    """Diagnose the packages that pyproject.toml asks for: the library's and the optional ones."""
    if version_of("semiseg_lib") is None:  # so nobody knows what it asks for
        return [Diagnosis("FAIL", "semiseg_lib is not installed", CHECKOUT_INSTALL)]
    found: dict[str, Diagnosis] = {}
    missing: dict[str, dict[str, Requirement]] = {extra: {} for extra in ("", *EXTRAS)}
    for package in map(Requirement, importlib.metadata.requires("semiseg_lib")):
        extra = next((one for one in EXTRAS
                      if package.marker and package.marker.evaluate({"extra": one})), "")
        name, version = package.name, version_of(package.name)
        if version is None:
            missing[extra][name] = package
        elif package.specifier.contains(version, prereleases=True):
            found[name] = Diagnosis("OK", f"{name} {version}")
        else:
            purpose = f" ({EXTRAS[extra]})" if extra else ""
            text = f"{name} {version}, but {package.specifier} is needed{purpose}"
            found[name] = Diagnosis("NOTE" if extra else "FAIL", text, installing(package))
    absent = [
        Diagnosis("NOTE" if extra else "FAIL",
                  f"not installed{extra and f', {EXTRAS[extra]}'}: {', '.join(packages)}",
                  installing(*packages.values()))
        for extra, packages in missing.items() if packages
    ]
    return [*found.values(), *absent]


def installing(*packages: Requirement) -> str:
    """Return the command that installs packages, or all that a checkout needs."""
    if in_checkout():
        return CHECKOUT_INSTALL
    named = (f'"{one.name}{one.specifier}"' if one.specifier else one.name for one in packages)
    return f"python -m pip install {' '.join(named)}"


def check_torchvision() -> Diagnosis:
    """Diagnose whether torchvision's compiled operators match this PyTorch."""
    if compat.make_torchvision_importable():
        return Diagnosis(
            "NOTE",
            "torchvision was compiled for another PyTorch build; the book does not need the part "
            "that is missing (ops.nms, ops.roi_align, torchvision.io)",
        )
    return Diagnosis("OK", "torchvision's compiled operators match PyTorch")


def check_devices() -> list[Diagnosis]:
    """Diagnose the devices; a NOTE if a GPU is not used."""
    threads, cores = torch.get_num_threads(), psutil.cpu_count(logical=True) or 1
    found = [Diagnosis("OK", f"CPU: {cores} cores, PyTorch uses {threads} threads")]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            memory = card.total_memory / 2**30
            text = f"CUDA {torch.version.cuda}: {card.name}, {memory:.0f} GiB"
            found.append(Diagnosis("OK", text))
    elif shutil.which("nvidia-smi"):
        fix = ("install PyTorch from its CUDA index; pytorch.org, Get started, says which (in the "
               "book's checkout: make setup INDEX=...)")
        found.append(Diagnosis("NOTE", "an NVIDIA driver is here, but PyTorch sees no CUDA", fix))
    if torch.backends.mps.is_available():
        found.append(Diagnosis("OK", "MPS: Apple's graphics processor"))
    if len(found) == 1:
        found.append(Diagnosis("NOTE", "no graphics card: the laptop profile is made for that"))
    return found


def check_computation() -> Diagnosis:
    """Diagnose whether a convolution and its gradient are correct on the CPU."""
    try:
        images = torch.ones(1, 3, 8, 8, requires_grad=True)
        torch.nn.functional.conv2d(images, torch.ones(2, 3, 3, 3)).sum().backward()
        correct = images.grad is not None and images.grad[0, 0, 4, 4].item() == 18.0
    except RuntimeError as error:
        return Diagnosis("FAIL", f"PyTorch cannot compute here: {error}", REINSTALL)
    if not correct:
        return Diagnosis("FAIL", "PyTorch computes a wrong gradient here", REINSTALL)
    return Diagnosis("OK", "PyTorch computes a convolution and its gradient")


def check_memory() -> Diagnosis:
    """Diagnose whether there is enough memory for the laptop profile."""
    memory = psutil.virtual_memory()
    text = f"memory: {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if memory.available / 1e9 < LEAST_MEMORY_GB:
        return Diagnosis("FAIL", text, "close other programs: the chapters need about 2 GB")
    return Diagnosis("OK", text)


def check_disk(folder: Path | None = None) -> list[Diagnosis]:
    """Diagnose free space and write permission of the folder of images, logits and runs."""
    folder = work_root() if folder is None else folder
    where = "SEMISEG_WORK" if os.environ.get("SEMISEG_WORK") else "the work folder"
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free / 1e9
    fix = "set the environment variable SEMISEG_WORK to a folder on a disk with room"
    enough = free >= LEAST_DISK_GB
    text = f"disk: {free:.1f} GB free in {where}"
    found = [Diagnosis("OK", text) if enough else Diagnosis("FAIL", text, fix)]
    try:
        with tempfile.TemporaryFile(dir=existing):
            found.append(Diagnosis("OK", f"{where} can be written to"))
    except OSError as error:
        found.append(Diagnosis("FAIL", f"{where} cannot be written to: {error.strerror}", fix))
    return found


def check_datasets(root: Path | None = None) -> list[Diagnosis]:
    """List the real datasets under SEMISEG_DATA; the chapters themselves need none."""
    root = dataset_root() if root is None else root
    fix = "`semiseg data --help` lists those that it gets, or says how to get"
    if root is None:
        return [Diagnosis("NOTE", "SEMISEG_DATA is not set: mini-VOC only, which suffices", fix)]
    if not root.is_dir():
        return [Diagnosis("FAIL", "SEMISEG_DATA names a folder that does not exist", fix)]
    found = []
    for name in names():
        try:
            dataset = find(name)
        except (ImportError, AttributeError, ValueError) as error:
            text = f"the dataset {name} cannot be loaded ({type(error).__name__})"
            found.append(Diagnosis("NOTE", text, "install or fix the package that declares it"))
            continue
        if _lies_below(dataset, root):
            found.append(Diagnosis("OK", f"dataset found: {dataset.title}"))
    return found or [Diagnosis("NOTE", "no known dataset under SEMISEG_DATA", fix)]


def _lies_below(dataset: Dataset, root: Path) -> bool:
    """Return whether a dataset with a place of its own is found below ``root``."""
    folder = root / dataset.place
    return bool(dataset.place) and any((folder / mark).exists() for mark in dataset.marks)


def examine() -> list[Diagnosis]:
    """Return every diagnosis, in the order of printing."""
    return [
        check_python(),
        *check_packages(),
        check_torchvision(),
        *check_devices(),
        check_computation(),
        check_memory(),
        *check_disk(),
        *check_datasets(),
    ]


def main() -> int:
    """Check this machine: versions, device, memory, datasets; exit code 1 if one needs a fix."""
    found = examine()
    failed = sum(one.status == "FAIL" for one in found)
    verdict = f"{failed} to fix." if failed else "Everything that the book needs is here."
    give({"failed": failed, "findings": list(map(asdict, found))},
         "\n".join([*map(str, found), "", verdict]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
