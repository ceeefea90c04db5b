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
# # Solutions: Marginal context
#
# The exercises stand in [chapter 16](../16_marginal_context.ipynb). This notebook runs without it.

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
# whose pictures are shown; shares are over all of the profile's seeds
seed = 11
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
import numpy as np
import torch
from torch import Tensor

from semiseg_lib import (
    VOID, Data, chapter, checks, enlarge, predict_logits, resolve,
    semi_supervised, tables,
)
from semiseg_lib.methods.s4mc import method as s4mc
from semiseg_lib.methods.s4mc.method import refine

profile = chapter.begin("16_marginal_context", profile, device)


# %% [markdown]
# ## 1. Warm-up: neither up nor down

# %% tags=["solution"]
def break_even(p: float, expected: float) -> float:
    """The neighbour's probability that leaves p unchanged."""
    return p * expected


# %% tags=["check"]
with checks.exercise("16.1"):
    for p, share in ((0.8, 0.95), (0.3, 0.9), (0.99, 0.5)):
        n = break_even(p, share)
        pair = torch.tensor([[p, n]], dtype=torch.float64).view(1, 1, 1, 2)
        unchanged = refine(pair, torch.tensor([share]), beta=1.0)[0, 0, 0, 0]
        checks.same(unchanged, p)


# %% [markdown]
# <details><summary>Up or down?</summary>
#
# Up, as long as $n > p\,E$: with $E$ near 1 the tipping point is just below $p$. So in a smooth
# region *both* of two neighbours pull each other up, and so do both of their rivals.
#
# </details>

# %% [markdown]
# ## 2. Implement: which pixels are kept

# %% tags=["solution"]
def kept_pixels(plain: Tensor, after: Tensor, shown: Tensor,
                dropped: float) -> Tensor:
    """Which pixels are learnt, bool (B, H, W).

    Args:
        plain, after: indicators (B, H, W) before and after refinement.
        shown: bool (B, H, W), False in padding.
        dropped: the share that is asked to be dropped, 0 .. 1.
    """
    ordered = plain[shown].sort().values
    rank = round(dropped * len(ordered))
    return shown & (after > ordered[rank - 1]) if rank else shown.clone()


# %% tags=["check"]
noise = torch.Generator().manual_seed(162)
plain, after = torch.rand(2, 2, 8, 9, generator=noise)
window = torch.ones(2, 8, 9, dtype=torch.bool)
window[0, :3] = window[1, :, 5:] = False
plain[0, :3] = -1.0  # a padding that would be dropped first
with checks.exercise("16.2"):
    for share, counts in {0.0: (45, 40), 0.25: (34, 30), 0.4: (29, 25),
                          1.0: (0, 0)}.items():
        kept = kept_pixels(plain, after, window, share)
        checks.same(kept.sum(dim=(1, 2)), counts,
                    f"kept of each picture at {share}")
    checks.same(kept_pixels(plain, after, window, 0.4).nonzero().sum(dim=0),
                (25, 232, 171), "where")

# %% [markdown]
# ## 3. Investigate: the mean of the neighbours

# %%
BETA, neighbours = s4mc.BETA, s4mc.neighbours  # refine, below, uses them


# %% tags=["solution"]
def blurred(
    probabilities: Tensor, count: int = 4, beta: float = BETA
) -> Tensor:
    """Probabilities (B, C, H, W), moved by beta towards the mean of the
    neighbours."""
    inside = torch.ones_like(probabilities[:, :1])
    there = neighbours(inside, count).sum(dim=0)
    mean = neighbours(probabilities, count).sum(dim=0) / there
    return probabilities + beta * (mean - probabilities)


# %%
def strip(*car: float) -> Tensor:
    """Pixels side by side with these probabilities of car: (1, 2, 1, W)."""
    belief = torch.tensor(car, dtype=torch.float64)
    return torch.stack([belief, 1 - belief]).view(1, 2, 1, -1)


# %% tags=["check"]
some = torch.rand(2, 3, 6, 7, generator=noise).softmax(dim=1)
with checks.exercise("16.3"):
    checks.same(blurred(some).sum(dim=1), torch.ones(2, 6, 7))
    checks.same(blurred(torch.ones(1, 2, 4, 4)), torch.ones(1, 2, 4, 4))
    for beta, expected_ in ((1.0, 0.3), (0.5, 0.45), (0.0, 0.6)):
        moved = blurred(strip(0.2, 0.6, 0.4), beta=beta)
        checks.same(moved[0, 0, 0, 1], expected_, f"beta {beta}")
    corner = torch.zeros(1, 1, 3, 3)
    corner[..., 0, 0] = 1
    for neighbours_, expected_ in ((4, 0), (8, 1 / 8)):
        middle = blurred(corner, neighbours_, beta=1.0)[0, 0, 1, 1]
        checks.same(middle, expected_, f"a corner of {neighbours_}")

# %% [markdown]
# Is a blur a better witness? The next cell keeps the surest 60 % and 80 % by each rule, for the
# supervised teacher of every seed, so that all keep as many.

# %%
seeds = dict.fromkeys((seed, *profile.seeds))
data_of = {s: Data(profile.data, s) for s in seeds}
data = data_of[seed]
masks = data.labelled.masks.long()


def expected(masks: Tensor, **options) -> Tensor:
    """E, (C,): how often a neighbour of a pixel of a class has the class,
    too."""
    same, pairs = s4mc.agreement(masks, len(data.classes), **options)
    return same / pairs


# %%
ENOUGH = range(min(200, len(data.unlabelled)))  # pictures that are looked at


def beliefs(s: int, method) -> Tensor:
    """A model's probabilities on a seed's unlabelled pictures,
    (N, C, H, W)."""
    images = data_of[s].unlabelled.without_boxes().take(ENOUGH)
    logits = predict_logits(method, images).float()
    return enlarge(logits, images.images.shape[-2:]).softmax(dim=1)


start = {
    s: resolve(semi_supervised.supervised(profile, s), device) for s in seeds
}
E, nothing = expected(masks), torch.ones(len(data.classes))


# %%
def truth_of(s: int) -> Tensor:
    """The hidden masks of the same pictures, (N, H, W); for measuring
    only."""
    hidden = np.asarray(data_of[s].unlabelled_truth)
    return torch.from_numpy(hidden[ENOUGH]).long()


# %%
beliefs_of = {s: beliefs(s, start[s].method) for s in seeds}


# %% tags=["check"]
def accuracy(s: int, sureness: Tensor, kept: float) -> float:
    """How many of the surest pixels are right, as a fraction; void is left
    out."""
    truth = truth_of(s)
    known = truth != VOID
    picked = known & (sureness > s4mc.threshold(sureness, known, 1 - kept))
    right = beliefs_of[s].argmax(dim=1) == truth
    return float((right & picked).sum() / picked.sum().clamp(min=1))


with checks.after("16.3"):
    rules = {"own margin": lambda one: one,
             "best neighbour": lambda one: refine(one, E),
             "mean of neighbours": blurred}
    tables.results_table([
        {"surest by": name, **{
            f"right of the surest {share:.0%}":
                [accuracy(s, s4mc.indicator(rule(beliefs_of[s])), share)
                 for s in profile.seeds]
            for share in (0.6, 0.8)}}
        for name, rule in rules.items()
    ]).show()
