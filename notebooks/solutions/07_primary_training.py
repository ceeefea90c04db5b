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
# # Solutions: Training the primary model
#
# The exercises stand in [chapter 07](../07_primary_training.ipynb). This notebook runs without it.

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
# smoke, laptop ...; None asks SEMISEG_PROFILE, and failing that means laptop
profile = None
# whose batches and curves are shown; scores are over all of the profile's
# seeds
seed = 11
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
import numpy as np
import torch
from torch import Tensor

from semiseg_lib import (
    AlphaSchedule, chapter, checks, linear_correction, predict_logits,
    resolve, self_correction as story,
)

profile = chapter.begin("07_primary_training", profile, device)


# %% [markdown]
# ## 1. Warm-up: who has the louder voice?

# %% tags=["solution"]
def louder_from(start: float, end: float, until: float) -> float:
    """The share of the training (0 .. 1) at which alpha passes 1."""
    return until * (start - 1) / (start - end)


# %% tags=["check"]
with checks.exercise("7.1"):
    for until in (0.3, 1.0):
        moment = louder_from(30.0, 0.5, until)
        schedule = AlphaSchedule(30.0, 0.5, until)
        assert abs(schedule.at(moment) - 1) < 1e-6, (
            f"at {moment:.3f}, alpha is {schedule.at(moment)}"
        )
        print(f"falling by {until:.0%}, the primary is louder from "
              f"{moment:.1%} on")


# %% [markdown]
# ## 2. Implement: a schedule with another shape

# %% tags=["solution"]
def geometric_alpha(progress: float, start: float, end: float,
                    until: float) -> float:
    """Alpha that falls from ``start`` to ``end`` by equal factors until
    ``until``, then holds."""
    if progress >= until:
        return end
    return start * (end / start) ** (progress / until)


# %% tags=["check"]
with checks.exercise("7.2"):
    for done, expected in {0.0: 8.0, 0.25: 2.0, 0.5: 0.5, 0.9: 0.5}.items():
        checks.same(geometric_alpha(done, 8.0, 0.5, 0.5), expected)


# %% [markdown]
# The library has it as `AlphaSchedule(shape="geometric")`, beside `"cosine"` and `"constant"`. To
# find out whether the shape matters, train two primaries that differ in nothing else, several
# seeds each, and look at the paired difference. Choose on the validation pictures. [Chapter
# 10](10_convolutional_self_correction.ipynb) draws all four shapes.

# %% [markdown]
# ## 3. Investigate: where do the labels pull?

# %% tags=["solution"]
def pull(logits: Tensor, target: Tensor) -> Tensor:
    """Half the sum over classes of |p - q|, (B, h, w); both arguments are
    (B, C, h, w)."""
    return (logits.softmax(dim=1) - target).abs().sum(dim=1) / 2


# %% tags=["check"]
sure = torch.tensor([[20.0, 0.0], [0.0, 20.0]]).reshape(2, 2, 1, 1)
car = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).reshape(2, 2, 1, 1)
with checks.exercise("7.3"):
    checks.same(pull(sure, car), np.array([0.0, 1.0]).reshape(2, 1, 1))
    undecided, first = torch.zeros(1, 4, 1, 1), torch.eye(4)[:1]
    checks.same(pull(undecided, first[..., None, None]), [[[0.75]]],
                "four classes, undecided")

# %%
seeds = tuple(dict.fromkeys((seed, *profile.seeds)))
runs = {
    "supervised": {
        s: resolve(story.supervised(profile, s), device) for s in seeds
    },
    "no correction": {
        s: resolve(story.primary(profile, s, story.UNCORRECTED), device)
        for s in seeds
    },
    "linear correction": {
        s: resolve(story.primary(profile, s), device) for s in seeds
    },
}

# %%
data, train = runs["linear correction"][seed].data, profile.train_primary
stored = resolve(story.logits(profile, seed), device).read()

# %%
end = profile.primary.alpha.end

# %% tags=["check"]
logits_ancillary = stored.float()
corrected = runs["linear correction"][seed].method
logits = predict_logits(corrected, data.unlabelled)
disagree = logits.argmax(dim=1) != logits_ancillary.argmax(dim=1)
targets = {
    "uncorrected": logits_ancillary.softmax(dim=1),
    "corrected": linear_correction(logits, logits_ancillary, end)
    .softmax(dim=1),
}
with checks.after("7.3"):
    for name, target in targets.items():
        force = pull(logits, target)
        print(f"{name:<12} mean pull where they agree "
              f"{force[~disagree].mean():.3f}, where they disagree "
              f"{force[disagree].mean():.3f}")
