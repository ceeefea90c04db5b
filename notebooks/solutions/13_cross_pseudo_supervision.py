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
# # Solutions: Cross pseudo supervision
#
# The exercises stand in [chapter 13](../13_cross_pseudo_supervision.ipynb). This notebook runs without it.

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
seed = 11  # whose two networks are trained and taken apart
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from semiseg_lib import (
    batches, chapter, checks, draw_masks, resolve, semi_supervised,
)

profile = chapter.begin("13_cross_pseudo_supervision", profile, device)


# %% [markdown]
# ## 1. Warm-up: odd numbers of boxes

# %% tags=["solution"]
def odd_share(chance: float, boxes: int) -> float:
    """The chance that a pixel lies in an odd number of boxes, 0 .. 1."""
    return (1 - (1 - 2 * chance) ** boxes) / 2


# %%
many = draw_masks(
    4000, (64, 64), batches.THREE_BOXES, np.random.default_rng(130)
).float()
covered = many.mean(dim=(1, 2))

# %% tags=["check"]
with checks.exercise("13.1"):
    for chance, boxes, expected in (
        (0.125, 1, 0.125), (0.5, 3, 0.5), (0.2, 2, 0.32), (1.0, 3, 1.0)
    ):
        checks.same(odd_share(chance, boxes), expected)
    print(f"  evenly spread: {odd_share(0.125, 3):.3f}, measured: "
          f"{float(covered.mean()):.3f}")


# %% [markdown]
# <details><summary>Why it is smaller still</summary>
#
# The boxes crowd in the middle. There $p$ is large and overlaps are common, and what the middle
# loses the rim does not win back: the share is a concave function of $p$ up to one half.
#
# </details>

# %% [markdown]
# ## 2. Implement: more than two students

# %% tags=["solution"]
def cross_of_many(*students: Tensor) -> Tensor:
    """The sum over students of the mean loss on the others' hard labels."""
    labels = [logits.argmax(dim=1) for logits in students]
    total = 0
    for number, logits in enumerate(students):
        others = [one for place, one in enumerate(labels) if place != number]
        total += sum(functional.cross_entropy(logits, one)
                     for one in others) / len(others)
    return total


# %%
both_runs = semi_supervised.warm_starts(profile, seed, networks=2)
start = [resolve(run, device) for run in both_runs]
data = start[0].data
count = len(data.classes)

# %% tags=["check"]
noise = torch.Generator().manual_seed(132)
one, two, three = (torch.randn(2, count, 8, 8, generator=noise)
                   for _ in range(3))
with checks.exercise("13.2"):
    checks.same(cross_of_many(one, two), 3.9966)
    checks.same(cross_of_many(one, two, three), 5.9868)
    unsure = [torch.zeros(1, count, 4, 4)] * 3
    checks.same(cross_of_many(*unsure), 3 * np.log(count))


# %% [markdown]
# ## 3. Investigate: what a twin can teach

# %% tags=["solution"]
def gradient_from_twin(logits: Tensor, hard: bool) -> Tensor:
    """The gradient (B, C, H, W) of the mean cross-entropy with a twin's
    label."""
    logits = logits.detach().requires_grad_()
    target = (logits.detach().argmax(dim=1) if hard
              else logits.detach().softmax(dim=1))
    functional.cross_entropy(logits, target).backward()
    return logits.grad


# %% tags=["check"]
with checks.exercise("13.3"):
    checks.same(gradient_from_twin(one, False), torch.zeros_like(one),
                "soft labels")
    undecided = gradient_from_twin(torch.zeros(1, 2, 1, 4), True)
    checks.same(undecided[0, :, 0], [[-0.125] * 4, [0.125] * 4],
                "two classes, undecided at each of four pixels")
    hard = gradient_from_twin(one, True)
    checks.same(hard.sum(dim=1), torch.zeros(2, 8, 8),
                "the sum over the classes")
    checks.same(hard.argmin(dim=1), one.argmax(dim=1), "the class that gains")

# %% [markdown]
# <details><summary>What it means</summary>
#
# The step goes towards the winner, by as much as the network is unsure of it. Every pixel is
# pushed to certainty, right or wrong: confirmation, without a second opinion.
#
# </details>
