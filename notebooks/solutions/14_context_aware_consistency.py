# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: Context-aware consistency
#
# The exercises stand in [chapter 14](../14_context_aware_consistency.ipynb). This notebook runs without it.

# %% jupyter={"source_hidden": true} tags=["install", "remove-cell"]
# Installs the library where it is missing, as on Colab; else does nothing.
from importlib import util
needed = "semiseg_lib", "torch", "timm", "tyro", "anywidget", "lazy_loader"
if None in [getattr(util.find_spec(one), "origin", None) for one in needed]:
    import os
    import sys
    from pathlib import Path
    from shutil import copytree, ignore_patterns
    from subprocess import run
    from tempfile import TemporaryDirectory
    copies = [str(one) for one in (Path.cwd(), *Path.cwd().parents)
              if (one / "semiseg_lib" / "__init__.py").is_file()]
    copies.append("")
    source = os.path.expanduser(os.getenv("SEMISEG_REPOSITORY") or copies[0])
    if not source:
        raise ModuleNotFoundError("semiseg_lib. Run %pip install YOUR_COPY.")
    print("semiseg_lib is missing here. Installing it from", source, "...")
    with TemporaryDirectory() as copy:
        if Path(source).is_dir():  # pip would leave what it builds there
            ignored = ignore_patterns(".*", "_build", "build", "data")
            source = copytree(source, f"{copy}/copy", ignore=ignored)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", source]
        if (done := run(pip, capture_output=True, text=True)).returncode:
            raise RuntimeError(f"It was not installed. {done.stderr}")
    print("Installed. If an import fails now, restart the kernel.")

# %% tags=["parameters"]
profile = None  # smoke, laptop ...; None asks SEMISEG_PROFILE, else laptop
seed = 11  # whose model is looked into and trained further
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
import numpy as np

from semiseg_lib import chapter, checks

profile = chapter.begin("14_context_aware_consistency", profile, device)


# %% [markdown]
# ## 1. Warm-up: corners that are off the grid

# %% tags=["solution"]
def misfit(shift: int, stride: int) -> int:
    """Pixels between a cell's centre in one crop and the nearest centre in
    the other."""
    return min(shift % stride, -shift % stride)


# %% tags=["check"]
with checks.exercise("14.1"):
    for shift, stride, expected in ((8, 4, 0), (2, 4, 2), (7, 8, 1),
                                    (13, 8, 3)):
        checks.same(misfit(shift, stride), expected)


# %% [markdown]
# With $d$ drawn evenly, the mean misfit is a quarter of a cell. The loss would ask a cell to look
# like its neighbour, and would do it most where neighbours differ: along outlines.

# %% [markdown]
# ## 2. Implement: a contrast that survives

# %% tags=["solution"]
def safe_contrast(near: float, far: list[float]) -> float:
    """The contrastive loss of one anchor."""
    largest = max([near, *far])
    total = sum(np.exp(value - largest) for value in [near, *far])
    return float(largest + np.log(total) - near)


# %% tags=["check"]
with checks.exercise("14.2"):
    for near, far, expected in (
        (1.0, [], 0.0), (0.0, [0.0], np.log(2)), (2.0, [2.0] * 7, np.log(8)),
        (1000.0, [1000.0], np.log(2)), (-1000.0, [1000.0], 2000.0),
    ):
        checks.same(safe_contrast(near, far), expected)


# %% [markdown]
# ## 3. Investigate: what would all similarities weigh?

# %% tags=["solution"]
def matrix_gigabytes(pictures: int, side: int, stride: int,
                     shared: float) -> float:
    """One matrix of similarities in single precision, 10^9 bytes."""
    cells = (side // stride) ** 2
    return pictures * cells * shared * 2 * pictures * cells * 4 / 1e9


def rows_below(limit: float, pictures: int, side: int, stride: int) -> int:
    """Anchors at a time whose similarities with all negatives take at most
    ``limit`` GB."""
    return int(limit * 1e9 // (4 * 2 * pictures * (side // stride) ** 2))


# %% tags=["check"]
with checks.exercise("14.3"):
    for shape, expected in {(4, 720, 8, 0.5): 4.19904,
                            (8, 320, 8, 0.5): 0.65536}.items():
        checks.same(matrix_gigabytes(*shape), expected)
    checks.same(rows_below(0.5, 4, 720, 8), 1929)

# %% [markdown]
# And that is one matrix. The loss keeps several of this size for the backward pass, for both
# directions.
