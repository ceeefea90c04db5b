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
# # Solutions: Error localisation
#
# The exercises stand in [chapter 15](../15_error_localization.ipynb). This notebook runs without it.

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
seed = 11  # whose networks are trained and looked into
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from semiseg_lib import (
    ImageSet, VOID, chapter, checks, resolve, semi_supervised,
)

profile = chapter.begin("15_error_localization", profile, device)


# %% [markdown]
# ## 1. Warm-up: the weight of a wrong pixel

# %% tags=["solution"]
def share_of_the_wrong(right: int, wrong: int, balance: float) -> float:
    """The wrong pixels' part of all weight, 0 .. 1; 0 if there is no
    pixel."""
    weight = min(max(right / max(wrong, 1), 1 / balance), balance)
    total = right + weight * wrong
    return weight * wrong / total if total else 0.0


# %% tags=["check"]
with checks.exercise("15.1"):
    for given, expected in (
        ((90, 10, 100.0), 0.5), ((100, 1, 10.0), 0.0909091),
        ((50, 0, 100.0), 0.0), ((0, 50, 100.0), 1.0), ((10, 90, 100.0), 0.5),
        ((0, 0, 100.0), 0.0),
    ):
        checks.same(share_of_the_wrong(*given), expected)


# %% [markdown]
# ## 2. Implement: AUROC without sorting by hand

# %% tags=["solution"]
def auroc(wrong: np.ndarray, score: np.ndarray) -> float:
    """The chance that a wrong pixel scores higher than a right one."""
    above = score[wrong][:, None] - score[~wrong][None]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


# %% tags=["check"]
rng = np.random.default_rng(15)
some, their = rng.random(400) < 0.1, rng.integers(0, 30, 400) / 30
with checks.exercise("15.2"):
    checks.same(auroc(some, their), 0.417139)
    checks.same(auroc(some, their), auroc(some, their**2))
    checks.same(auroc(some, np.zeros(400)), 0.5)


# %% [markdown]
# ## 3. Investigate: a cheaper judge

# %% tags=["solution"]
def class_by_class(keeps: np.ndarray, labels: np.ndarray,
                   sure: np.ndarray) -> np.ndarray:
    """Bool like ``keeps``: as many pixels of each predicted class, the
    surest."""
    result = np.zeros_like(keeps)
    for number in np.unique(labels):
        mine = np.flatnonzero(labels == number)
        wanted = int(keeps.flat[mine].sum())
        order = np.argsort(-sure.flat[mine], kind="stable")
        result.flat[mine[order[:wanted]]] = True
    return result


# %%
start = resolve(semi_supervised.supervised(profile, seed), device)
data, count = start.data, len(start.classes)
unlabelled = data.unlabelled.without_boxes()
few = range(min(len(unlabelled), 300))  # enough to count on
looked_at = unlabelled.take(few)
truth = np.asarray(data.unlabelled_truth)[few]
known = truth != VOID


@torch.inference_mode()
def beliefs(
    method: nn.Module, images: ImageSet
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, confidence, entropy / log C of every pixel, (N, H, W) each."""
    place, found = next(method.parameters()).device, []
    for numbers in torch.arange(len(images)).split(50):
        part = images.part(numbers.tolist())
        p = method(part.images.to(place)).softmax(dim=1)
        entropy = (
            -(p * p.clamp(min=1e-12).log()).sum(dim=1) / np.log(p.shape[1])
        )
        found.append([p.argmax(dim=1), p.amax(dim=1), entropy])
    return tuple(
        torch.cat(maps).cpu().numpy() for maps in zip(*found, strict=True)
    )


# %%
options, train = profile.unlabelled["eln"], profile.train_unlabelled

# %%
short = replace(profile,
                train_unlabelled=replace(train, steps=min(train.steps, 400)))
trained = resolve(semi_supervised.learn(short, seed, options), device)
method = trained.method.eval()

# %%
judged_labels, sureness, entropy = beliefs(method, looked_at)
with torch.inference_mode():
    place = next(method.parameters()).device
    right = torch.cat([
        method.error_map(looked_at.part(some.tolist()).images.to(place)).cpu()
        for some in torch.arange(len(looked_at)).split(50)
    ]).numpy()

# %%
missed = (judged_labels != truth) & known
kept = right >= options.threshold

# %% tags=["check"]
tiny = (np.array([1, 1, 0, 1, 0, 0], bool), np.array([0, 0, 0, 1, 1, 1]),
       np.array([0.7, 0.9, 0.8, 0.3, 0.2, 0.6]))
with checks.exercise("15.3"):
    checks.same(class_by_class(*tiny), np.array([0, 1, 1, 0, 0, 1], bool))
    cheap = class_by_class(kept, judged_labels, sureness)
    for name, keeps in (("error network", kept),
                        ("confidence, class by class", cheap)):
        print(f"  {name:<27} {100 * (1 - missed[keeps & known].mean()):.1f} "
              "% right")

# %% [markdown]
# <details><summary>What it says</summary>
#
# The two keep equally many pixels of every class. So what is left of a difference lies **within**
# the classes: it is which pixels of a class are trusted. Whatever the difference in the chapter's table
# was more than this is owed to which classes are trusted.
#
# </details>
