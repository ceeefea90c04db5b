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
# # Solutions: The comparison
#
# The exercises stand in [chapter 17](../17_comparison.ipynb). This notebook runs without it.

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
seed = 11  # not used: the records of all seeds are read
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
import numpy as np
from scipy import stats

from semiseg_lib import chapter, checks, recipes
from semiseg_lib.studies import comparison

profile = chapter.begin("17_comparison", profile, device)


# %% [markdown]
# ## 1. Warm-up: at which ratio do boxes break even?

# %% tags=["solution"]
def break_even(masks: int, boxes: int, other: int) -> float:
    """The time of a mask over that of a picture's boxes at which the work is
    equal."""
    return boxes / (other - masks)


# %% tags=["check"]
with checks.exercise("17.1"):
    for masks, boxes, other, expected in (
        (24, 800, 124, 8.0), (24, 800, 224, 4.0), (10, 90, 40, 3.0)
    ):
        checks.same(break_even(masks, boxes, other), expected)


# %% [markdown]
# ## 2. Implement: Holm's correction

# %% tags=["solution"]
def adjust(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, i in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[i])
        adjusted[i] = min(1.0, largest)
    return adjusted


# %% tags=["check"]
with checks.exercise("17.2"):
    for some in ([0.04, 0.01, 0.03], [0.5], [0.9, 0.8, 0.001],
                 [0.02, 0.02, 0.02, 0.6]):
        checks.same(adjust(some), comparison.holm(some))


# %% [markdown]
# ## 3. Investigate: how many seeds would have told them apart?

# %% tags=["solution"]
def seeds_needed(sd: float, points: float) -> int:
    """The smallest number of seeds whose 95 % interval leaves out zero."""
    n = 2
    while stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n) >= points:
        n += 1
    return n


# %%
laptop = recipes.load("laptop")
found = comparison.read("minivoc", laptop).with_todays_settings()
rows = found.rows
text = {name: row.text for name, row in rows.items()}
equal = {name: row for name, row in found.of_role("control", "method").items()
         if row.masks == laptop.data.labelled}
methods = [name for name, row in equal.items() if row.entry.role == "method"]


# %%
def by_seed(one: comparison.Row, other: comparison.Row) -> list[float]:
    """Differences in points, one for each seed that both rows have."""
    seeds = comparison.difference(one, other).seeds
    return [one.scores[s] - other.scores[s] for s in seeds]


# %%
def best_of(names: list[str]) -> tuple[str, list[str]]:
    """The highest mean, and those that the paired interval does not tell
    apart from it."""
    top = max(names, key=lambda name: rows[name].interval.mean)
    verdicts = {
        name: comparison.difference(rows[name], rows[top]).verdict
        for name in names if name != top
    }
    return top, [name for name in verdicts if verdicts[name] == "cannot tell"]


free = [name for name in methods if not rows[name].boxes]
top, alike = best_of(free)

# %% tags=["check"]
with checks.exercise("17.3"):
    for sd, difference_, expected in ((2.0, 1.0, 18), (1.0, 1.0, 7),
                                      (2.0, 5.0, 3), (0.1, 2.0, 2)):
        checks.same(seeds_needed(sd, difference_), expected)
    for name in alike:
        apart = np.array(by_seed(rows[top], rows[name]))
        mean, sd = abs(apart.mean()), apart.std(ddof=1)
        if mean > 0.05 * sd:
            print(f"{text[top]} and {text[name]}: {mean:.1f} points, sd "
                  f"{sd:.1f}: {seeds_needed(sd, mean)} seeds, here "
                  f"{len(apart)}")

# %% [markdown]
# If the means stayed as they are, which they will not: a mean difference of few seeds is itself
# uncertain, and of several candidates the top one is likely to have been lucky.
