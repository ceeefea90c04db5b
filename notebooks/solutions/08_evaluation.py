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
# # Solutions: Evaluation
#
# The exercises stand in [chapter 08](../08_evaluation.ipynb). This notebook runs without it.

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
# whose pictures are shown; scores are over all of the profile's seeds
seed = 11
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
import numpy as np
from scipy import stats

from semiseg_lib import chapter, checks

profile = chapter.begin("08_evaluation", profile, device)


# %% [markdown]
# ## 1. Warm-up: what did the boxes cost?

# %% tags=["solution"]
def worth_in_masks(masks: int, unlabelled: int, ratio: float = 8.0) -> float:
    """Annotation time in units of one mask.

    Args:
        masks: pictures with a mask, whose boxes cost nothing more.
        unlabelled: pictures with boxes only.
        ratio: the time of one mask over the time of one picture's boxes.
    """
    return masks + unlabelled / ratio


# %% tags=["check", "nbval-check-output"]
with checks.exercise("8.1"):
    checks.same(worth_in_masks(24, 800, 8.0), 124)
    checks.same(worth_in_masks(24, 800, 20.0), 64)


# %% [markdown]
# A fair comparison at equal annotation time would train the supervised model on *that* many
# masks. Try it: `semiseg train supervised --data.labelled N`.

# %% [markdown]
# ## 2. Implement: the paired interval

# %% tags=["solution"]
def interval_of_differences(a: np.ndarray,
                            b: np.ndarray) -> tuple[float, float]:
    """Low and high end of the 95 % t interval for the mean of a − b, paired
    by position."""
    differences = np.asarray(a) - np.asarray(b)
    number = len(differences)
    half = (stats.t.ppf(0.975, number - 1) * differences.std(ddof=1)
            / np.sqrt(number))
    return differences.mean() - half, differences.mean() + half


# %% tags=["check"]
first, second = np.array([75.1, 73.0, 76.4]), np.array([72.2, 71.1, 73.1])
with checks.exercise("8.2"):
    checks.same(interval_of_differences(first, second), (0.908663, 4.491337))


# %% [markdown]
# ## 3. Investigate: how many seeds?

# %% tags=["solution"]
def seeds_needed(sd: float, effect: float) -> int:
    """The smallest number of seeds (at least 2) with which eight of ten
    experiments find an effect of ``effect`` points."""
    number, power = 1, 0.0
    while power < 0.8:
        number += 1
        needed = stats.t.ppf(0.975, number - 1)
        shift = effect / sd * np.sqrt(number)
        power = stats.nct.sf(needed, number - 1, shift)
    return number


# %% tags=["check", "nbval-check-output"]
with checks.exercise("8.3"):
    checks.same(seeds_needed(0.1, 2.0), 2, "sd 0.1, effect 2.0")
    for sd, effect, expected in ((0.5, 2.0, 3), (1.0, 1.0, 10),
                                 (1.0, 0.5, 34)):
        answer = seeds_needed(sd, effect)
        assert answer == expected, (f"sd {sd}, effect {effect}: expected "
                                    f"{expected}, got {answer}")
        print(f"sd {sd}, effect {effect}: {answer} seeds")
