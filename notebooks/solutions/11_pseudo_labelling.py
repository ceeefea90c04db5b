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
# # Solutions: Pseudo-labelling
#
# The exercises stand in [chapter 11](../11_pseudo_labelling.ipynb). This notebook runs without it.

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
seed = 11  # whose teacher and students are shown
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
import numpy as np
import torch
from scipy import stats

from semiseg_lib import chapter, checks, recipes

profile = chapter.begin("11_pseudo_labelling", profile, device)


# %% [markdown]
# ## 1. Warm-up: epochs into steps

# %% tags=["solution"]
def steps(epochs: int, pictures: int, batch: int) -> int:
    """Steps of so many epochs; the last batch of an epoch may be smaller."""
    return epochs * -(-pictures // batch)


# %%
paper = recipes.load("paper", "camvid", "pseudo-label")

# %% tags=["check"]
with checks.exercise("11.1"):
    for epochs, expected in ((400, paper.train_supervised.steps),
                             (200, paper.rounds.finetune.steps)):
        checks.same(steps(epochs, 367, 12), expected)


# %% [markdown]
# ## 2. Implement: a threshold for each class

# %% tags=["solution"]
def class_thresholds(
    confidence: np.ndarray, labels: np.ndarray, classes: int, share: float
) -> np.ndarray:
    """For each class the confidence that ``share`` of its pixels reach,
    (C,)."""
    found = []
    for label in range(classes):
        sure_first = np.sort(confidence[labels == label])[::-1]
        least = sure_first[max(int(np.ceil(share * len(sure_first))) - 1, 0)]
        found.append(np.floor(100_000 * least) / 100_000)
    return np.array(found)


# %% tags=["check"]
noise = torch.Generator().manual_seed(112)
maps = ((3 * torch.randn(4, 3, 40, 40, generator=noise, dtype=torch.float64))
        .softmax(dim=1))
confidence, called_so = (one.flatten().numpy() for one in maps.max(dim=1))
with checks.exercise("11.2"):
    for share, expected in {0.2: (0.97848, 0.98187, 0.97715),
                            0.5: (0.86771, 0.87086, 0.85808),
                            1.0: (0.34637, 0.34197, 0.35146)}.items():
        checks.same(class_thresholds(confidence, called_so, 3, share),
                    expected, f"a share of {share}")


# %% [markdown]
# ## 3. Investigate: what is choosing on the test set worth?

# %% tags=["solution"]
def flattery(checkpoints: int, pictures: int, right: float) -> float:
    """Points by which the best of equal checkpoints is flattered by its own
    test score."""
    reached = stats.binom.cdf(np.arange(pictures), pictures, right)
    return 100 * float((1 - reached**checkpoints).sum() / pictures - right)


# %% tags=["check"]
draws = np.random.default_rng(113)
with checks.exercise("11.3"):
    for checkpoints, pictures in ((1, 100), (20, 500), (210, 10_000)):
        best = draws.binomial(pictures, 0.8, (4000, checkpoints)).max(axis=1)
        simulated = 100 * (best.mean() / pictures - 0.8)
        answer = flattery(checkpoints, pictures, 0.8)
        assert abs(answer - simulated) < 0.3, (
            f"simulated {simulated:.2f}, got {answer:.2f}"
        )
        print(f"best of {checkpoints:3} on {pictures:6,} pictures: "
              f"{answer + 0:+.1f} points")

# %% [markdown]
# Real checkpoints resemble each other, which makes the luck smaller. They also differ in quality,
# which makes choosing useful. For that there are validation pictures.
