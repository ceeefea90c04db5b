"""`python -m semiseg_lib doctor`: is everything here that the book needs, and if not, what to do.

One line a fact: [OK], [NOTE] (worth knowing, nothing is broken) or [FAIL] with the mend below it.
No line names a folder of this machine, so that the output can be pasted into a public report.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from semiseg_lib.core import compat
from semiseg_lib.core.paths import dataset_root, work_root
from semiseg_lib.datasets.dataset import Dataset, find, names

INSTALL = 'python -m pip install -c requirements.lock -e ".[lab,test,book,browser]"'
REQUIRED = {"torch": (2, 8), "torchvision": (0, 23), "numpy": (2, 0)}
LIBRARIES = ("accelerate", "timm", "safetensors", "scipy", "pandas", "matplotlib", "pillow")
OPTIONAL = {
    "jupyterlab": "to read the book live",
    "jupyterlab_myst": "to show the book's boxes and drop-downs in JupyterLab",
    "jupytext": "to open the .py sources as notebooks",
    "nbclient": "to run the whole book",
    "Sphinx": "to build the HTML",
    "pytest": "to run the tests",
    "nbval": "to test the chapters",
    "playwright": "to test the widgets in a browser",
}
LEAST_DISK_GB, LEAST_MEMORY_GB = 1.0, 2.0


@dataclass(frozen=True)
class Check:
    """One finding; `mend` says what to do where something is wrong or could be better."""

    status: Literal["OK", "NOTE", "FAIL"]
    text: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{f'[{self.status}]':<7} {self.text}"
        return f"{line}\n        -> {self.mend}" if self.mend else line


def version_of(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def version_numbers(version: str) -> tuple[int, ...]:
    """(2, 13) of "2.13.0+cpu": the first two numbers of a version."""
    return tuple(int(part) for part in version.split("+")[0].split(".")[:2])


def check_python(version: Sequence[int] = tuple(sys.version_info[:3])) -> Check:
    """Python 3.11 or newer."""
    number = ".".join(map(str, version))
    text = f"Python {number} on {platform.system()} {platform.machine()}"
    if tuple(version) < (3, 11):
        return Check("FAIL", text, "install Python 3.11 or newer and make the environment anew")
    return Check("OK", text)


def check_packages() -> list[Check]:
    """The packages that the library imports, and those that only parts of the book use."""
    checks = []
    for package in (*REQUIRED, *LIBRARIES):
        version, least = version_of(package), REQUIRED.get(package, (0, 0))
        if version is None:
            checks.append(Check("FAIL", f"{package} is not installed", INSTALL))
        elif version_numbers(version) < least:
            wanted = ".".join(map(str, least))
            checks.append(Check("FAIL", f"{package} {version}, {wanted} is needed", INSTALL))
        else:
            checks.append(Check("OK", f"{package} {version}"))
    for package, purpose in OPTIONAL.items():
        version = version_of(package)
        if version is None:
            checks.append(Check("NOTE", f"{package} is not installed ({purpose})", INSTALL))
        else:
            checks.append(Check("OK", f"{package} {version}"))
    return checks


def check_jupyterlab() -> list[Check]:
    """jupyterlab_myst does not load on JupyterLab 4.6; without it, admonitions show as text."""
    lab = version_of("jupyterlab")
    if lab is not None and version_numbers(lab) >= (4, 6):
        mend = 'python -m pip install "jupyterlab==4.5.*"'
        return [Check("NOTE", f"jupyterlab {lab} does not load jupyterlab_myst", mend)]
    return []


def check_torchvision() -> Check:
    """Whether torchvision's compiled operators match this PyTorch."""
    if compat.make_torchvision_importable():
        return Check(
            "NOTE",
            "torchvision was compiled for another PyTorch build; the book does not need the part "
            "that is missing (ops.nms, ops.roi_align, torchvision.io)",
        )
    return Check("OK", "torchvision's compiled operators match PyTorch")


def check_devices() -> list[Check]:
    """What there is to compute on; a NOTE where a graphics card stays unused."""
    threads, cores = torch.get_num_threads(), psutil.cpu_count(logical=True) or 1
    checks = [Check("OK", f"CPU: {cores} cores, PyTorch uses {threads} threads")]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            memory = card.total_memory / 2**30
            checks.append(Check("OK", f"CUDA {torch.version.cuda}: {card.name}, {memory:.0f} GiB"))
    elif shutil.which("nvidia-smi"):
        mend = "make setup INDEX= with PyTorch's CUDA index (pytorch.org, Get started, says which)"
        checks.append(Check("NOTE", "an NVIDIA driver is here, but PyTorch sees no CUDA", mend))
    if torch.backends.mps.is_available():
        checks.append(Check("OK", "MPS: Apple's graphics processor"))
    if len(checks) == 1:
        checks.append(Check("NOTE", "no graphics card: the laptop profile is made for that"))
    return checks


def check_computation() -> Check:
    """One convolution with its gradient, on the CPU."""
    try:
        images = torch.ones(1, 3, 8, 8, requires_grad=True)
        torch.nn.functional.conv2d(images, torch.ones(2, 3, 3, 3)).sum().backward()
        correct = images.grad is not None and images.grad[0, 0, 4, 4].item() == 18.0
    except RuntimeError as error:
        return Check("FAIL", f"PyTorch cannot compute here: {error}", INSTALL)
    if not correct:
        return Check("FAIL", "PyTorch computes a wrong gradient here", INSTALL)
    return Check("OK", "PyTorch computes a convolution and its gradient")


def check_memory() -> Check:
    """Enough working memory for the laptop profile."""
    memory = psutil.virtual_memory()
    text = f"memory: {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if memory.available / 1e9 < LEAST_MEMORY_GB:
        return Check("FAIL", text, "close other programs: the chapters need about 2 GB")
    return Check("OK", text)


def check_disk(folder: Path | None = None) -> list[Check]:
    """Room, and the right to write, where the book keeps its images, logits and runs."""
    folder = work_root() if folder is None else folder
    where = "SEMISEG_WORK" if os.environ.get("SEMISEG_WORK") else "the book's data folder"
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free / 1e9
    mend = "set the environment variable SEMISEG_WORK to a folder on a disk with room"
    enough = free >= LEAST_DISK_GB
    text = f"disk: {free:.1f} GB free in {where}"
    checks = [Check("OK", text) if enough else Check("FAIL", text, mend)]
    try:
        with tempfile.TemporaryFile(dir=existing):
            checks.append(Check("OK", f"{where} can be written to"))
    except OSError as error:
        checks.append(Check("FAIL", f"{where} cannot be written to: {error.strerror}", mend))
    return checks


def check_datasets(root: Path | None = None) -> list[Check]:
    """Which real datasets lie under SEMISEG_DATA; the chapters themselves need none."""
    root = dataset_root() if root is None else root
    mend = "data/README.md says where real datasets come from and how they must lie"
    if root is None:
        return [Check("NOTE", "SEMISEG_DATA is not set: mini-VOC only, which suffices", mend)]
    if not root.is_dir():
        return [Check("FAIL", "SEMISEG_DATA names a folder that does not exist", mend)]
    checks = []
    for name in names():
        try:
            dataset = find(name)
        except (ImportError, AttributeError, ValueError) as error:
            text = f"the dataset {name} cannot be loaded ({type(error).__name__})"
            checks.append(Check("NOTE", text, "install or mend the package that declares it"))
            continue
        if _lies_below(dataset, root):
            checks.append(Check("OK", f"dataset found: {dataset.title}"))
    return checks or [Check("NOTE", "no known dataset under SEMISEG_DATA", mend)]


def _lies_below(dataset: Dataset, root: Path) -> bool:
    """Return whether a dataset that has a place of its own lies there."""
    folder = root / dataset.place
    return bool(dataset.place) and any((folder / mark).exists() for mark in dataset.marks)


def examine() -> list[Check]:
    """Every check, in the order in which they are printed."""
    return [
        check_python(),
        *check_packages(),
        *check_jupyterlab(),
        check_torchvision(),
        *check_devices(),
        check_computation(),
        check_memory(),
        *check_disk(),
        *check_datasets(),
    ]


def main() -> int:
    """Print every finding; 1 when something must be mended before the book can run, else 0."""
    checks = examine()
    for check in checks:
        print(check)
    failed = sum(check.status == "FAIL" for check in checks)
    print(f"\n{failed} to mend." if failed else "\nEverything that the book needs is here.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
