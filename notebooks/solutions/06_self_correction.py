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
# # Solutions: Self-correction
#
# The exercises stand in [chapter 06](../06_self_correction.ipynb). This notebook runs without it.

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
import torch
from torch import Tensor

from semiseg_lib import (
    chapter, checks, evaluate_unlabelled, linear_correction, paired_interval,
    predict_logits, resolve, self_correction as story, studies,
)

profile = chapter.begin("06_self_correction", profile, device)


# %% [markdown]
# ## 1. Warm-up: when does the pixel flip?

# %% tags=["solution"]
def flip_alpha(p: Tensor, p_ancillary: Tensor) -> float:
    """The alpha at which q changes sides between the two models' classes.

    Args:
        p, p_ancillary: probabilities (C,) of a pixel; the largest differ.
    """
    mine, theirs = int(p.argmax()), int(p_ancillary.argmax())
    margin = p[mine].log() - p[theirs].log()
    margin_ancillary = p_ancillary[theirs].log() - p_ancillary[mine].log()
    return float(margin / margin_ancillary)


# %%
p = torch.tensor([0.80, 0.18, 0.02], dtype=torch.float64)
p_ancillary = torch.tensor([0.20, 0.72, 0.08], dtype=torch.float64)


# %%
def closed_form(alpha: float) -> Tensor:
    """The corrected label of our pixel."""
    return linear_correction(p.log(), p_ancillary.log(), alpha).softmax(dim=0)


# %% tags=["check"]
with checks.exercise("6.1"):
    flip = flip_alpha(p, p_ancillary)
    checks.same(flip, 1.164506)
    order = [2, 0, 1]
    checks.same(flip_alpha(p[order], p_ancillary[order]), 1.164506,
                "the same pixel, its classes in another order")
    assert int(closed_form(0.99 * flip).argmax()) == 0, (
        "just below, the primary's class should win"
    )
    assert int(closed_form(1.01 * flip).argmax()) == 1, (
        "just above, the ancillary's class should win"
    )


# %% [markdown]
# ## 2. Implement: the other mean

# %% tags=["solution"]
def swapped_correction(logits: Tensor, logits_ancillary: Tensor,
                       alpha: float) -> Tensor:
    """The label that makes the swapped objective smallest: probabilities
    (B, C, h, w)."""
    return ((logits.softmax(dim=1) + alpha * logits_ancillary.softmax(dim=1))
            / (1 + alpha))


# %% tags=["check"]
one_pixel = (p.log()[None, :, None, None],
             p_ancillary.log()[None, :, None, None])
with checks.exercise("6.2"):
    q = swapped_correction(*one_pixel, 0.5)
    checks.same(q.flatten(), (0.6, 0.36, 0.04), "our pixel")
    checks.same(q.shape, (1, 3, 1, 1), "the shape")

# %% [markdown]
# Which mean makes the better labels? The next cell scores both at $\alpha = 0.5$ on the unlabelled
# set. They differ only where the models disagree, and there in how they treat near-certainty: in a
# geometric mean one model can veto a class.

# %%
seeds = tuple(dict.fromkeys((seed, *profile.seeds)))
stores = {s: resolve(story.logits(profile, s), device) for s in seeds}
primaries = {
    s: resolve(story.primary(profile, s, story.UNCORRECTED), device)
    for s in seeds
}
logits_ancillary = {s: store.read().float() for s, store in stores.items()}
logits_primary = {
    s: predict_logits(primary.method, primary.data.unlabelled)
    for s, primary in primaries.items()
}

# %%
data = primaries[seed].data

# %%
ALPHAS = (0, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, np.inf)


def corrected_labels_miou(s: int, alpha: float) -> float:
    """mIoU in percent of the corrected labels of seed s; alpha may be
    infinite."""
    labels = logits_ancillary[s]
    if not np.isinf(alpha):
        labels = linear_correction(logits_primary[s], labels, alpha)
    return studies.percent(evaluate_unlabelled(data, labels))


label_scores = {s: [corrected_labels_miou(s, alpha) for alpha in ALPHAS]
                for s in seeds}


# %% tags=["check"]
def arithmetic_miou(s: int) -> float:
    """mIoU in percent of labels made with the arithmetic mean at alpha
    = 0.5."""
    mean = swapped_correction(logits_primary[s], logits_ancillary[s], 0.5)
    return studies.percent(evaluate_unlabelled(data, mean.log()))


geometric = [label_scores[s][ALPHAS.index(0.5)] for s in profile.seeds]
with checks.after("6.2"):
    arithmetic = [arithmetic_miou(s) for s in profile.seeds]
    difference = paired_interval(arithmetic, geometric)
    print(f"arithmetic minus geometric: {difference.mean:+.1f} points "
          f"({difference.low:+.1f} to {difference.high:+.1f}): "
          f"{difference.judged(smallest=1)}")


# %% [markdown]
# ## 3. Investigate: an overconfident primary

# %% tags=["solution"]
def equivalent_alpha(alpha: float, factor: float) -> float:
    """The alpha that gives, on logits l, the same winners as ``alpha`` gives
    on factor * l."""
    return alpha / factor


# %% tags=["check"]
generator = torch.Generator().manual_seed(63)
noise, noise_ancillary = (torch.randn(1, 4, 20, 20, generator=generator)
                          for _ in range(2))
with checks.exercise("6.3"):
    for alpha, factor in ((1.0, 2.0), (3.0, 2.0), (0.5, 4.0)):
        same = equivalent_alpha(alpha, factor)
        inflated = linear_correction(factor * noise, noise_ancillary, alpha)
        original = linear_correction(noise, noise_ancillary, same)
        assert torch.equal(inflated.argmax(dim=1), original.argmax(dim=1)), (
            f"other winners with alpha {alpha:g} and factor {factor:g}: "
            "which sums of logits are compared in either case?"
        )
    print("overconfidence and a smaller alpha are the same thing")
