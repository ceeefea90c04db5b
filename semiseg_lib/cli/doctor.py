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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from semiseg_lib.core import compat
from semiseg_lib.core.paths import dataset_root, work_root
from semiseg_lib.core.terminal import say
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
class Diagnosis:
    """One finding, with the `fix` if something is wrong or could be better."""

    status: Literal["OK", "NOTE", "FAIL"]
    text: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{f'[{self.status}]':<7} {self.text}"
        return f"{line}\n        -> {self.fix}" if self.fix else line


def version_of(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version: (2, 13) for "2.13.0+cpu"."""
    return tuple(int(part) for part in version.split("+")[0].split(".")[:2])


def check_python(version: Sequence[int] = tuple(sys.version_info[:3])) -> Diagnosis:
    """Diagnose whether Python is 3.11 or newer."""
    number = ".".join(map(str, version))
    text = f"Python {number} on {platform.system()} {platform.machine()}"
    if tuple(version) < (3, 11):
        return Diagnosis("FAIL", text, "install Python 3.11 or newer and recreate the environment")
    return Diagnosis("OK", text)


def check_packages() -> list[Diagnosis]:
    """Diagnose the packages of the library, and those that only parts of the book use."""
    found = []
    for package in (*REQUIRED, *LIBRARIES):
        version, least = version_of(package), REQUIRED.get(package, (0, 0))
        if version is None:
            found.append(Diagnosis("FAIL", f"{package} is not installed", INSTALL))
        elif version_numbers(version) < least:
            wanted = ".".join(map(str, least))
            found.append(Diagnosis("FAIL", f"{package} {version}, {wanted} is needed", INSTALL))
        else:
            found.append(Diagnosis("OK", f"{package} {version}"))
    for package, purpose in OPTIONAL.items():
        version = version_of(package)
        if version is None:
            found.append(Diagnosis("NOTE", f"{package} is not installed ({purpose})", INSTALL))
        else:
            found.append(Diagnosis("OK", f"{package} {version}"))
    return found


def check_jupyterlab() -> list[Diagnosis]:
    """Note JupyterLab >= 4.6, which does not load jupyterlab_myst and shows admonitions as text."""
    lab = version_of("jupyterlab")
    if lab is not None and version_numbers(lab) >= (4, 6):
        fix = 'python -m pip install "jupyterlab==4.5.*"'
        return [Diagnosis("NOTE", f"jupyterlab {lab} does not load jupyterlab_myst", fix)]
    return []


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
        fix = "make setup INDEX= with PyTorch's CUDA index (pytorch.org, Get started, says which)"
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
        return Diagnosis("FAIL", f"PyTorch cannot compute here: {error}", INSTALL)
    if not correct:
        return Diagnosis("FAIL", "PyTorch computes a wrong gradient here", INSTALL)
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
    where = "SEMISEG_WORK" if os.environ.get("SEMISEG_WORK") else "the book's data folder"
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
    fix = "data/README.md says where real datasets come from and which folders they need"
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
        *check_jupyterlab(),
        check_torchvision(),
        *check_devices(),
        check_computation(),
        check_memory(),
        *check_disk(),
        *check_datasets(),
    ]


def main() -> int:
    """Print every diagnosis; return 1 if something must be fixed to run the book, else 0."""
    found = examine()
    for one in found:
        say(one)
    failed = sum(one.status == "FAIL" for one in found)
    say(f"\n{failed} to fix." if failed else "\nEverything that the book needs is here.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
