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
# # Solutions: Convolutional self-correction
#
# The exercises stand in [chapter 10](../10_convolutional_self_correction.ipynb). This notebook runs without it.

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
seed = 11  # whose module is trained and taken apart
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
from copy import deepcopy

import torch
from torch import Tensor

from semiseg_lib import (
    chapter, checks, linear_correction, methods, resolve,
    self_correction as story,
)
from semiseg_lib.methods.self_correcting import method as self_correcting

profile = chapter.begin("10_convolutional_self_correction", profile, device)


# %% [markdown]
# ## 1. Warm-up: how large is it?

# %% tags=["solution"]
def module_size(classes: int, width: int) -> int:
    """Weights and biases of two 3x3 convolutions: 2 C -> width -> C."""
    return (2 * classes * 9 + 1) * width + (width * 9 + 1) * classes


# %% tags=["check"]
with checks.exercise("10.1"):
    for classes, width in ((21, 128), (5, 32)):
        correction = self_correcting.ConvCorrection(classes, width)
        size = sum(one.numel() for one in correction.parameters())
        checks.same(module_size(classes, width), size)


# %% [markdown]
# ## 2. Implement: start at any alpha

# %% tags=["solution"]
def start_at(
    module: self_correcting.ConvCorrection, classes: int, alpha: float
) -> self_correcting.ConvCorrection:
    """The same fresh module, set to linear correction with ``alpha``."""
    weight = module.hidden.weight.data
    for label in range(classes):
        for channel, sign in ((label, 1), (classes + label, -1)):
            weight[channel, label, 1, 1] = sign / (1 + alpha)
            weight[channel, classes + label, 1, 1] = (
                sign * alpha / (1 + alpha)
            )
    return module


# %%
ancillary = resolve(story.ancillary(profile, seed), device)
data, count = ancillary.data, len(ancillary.classes)
logits_ancillary = resolve(story.logits(profile, seed), device).read().float()
noise = torch.Generator().manual_seed(seed)
logits_any = torch.randn(4, *logits_ancillary.shape[1:], generator=noise)

# %% tags=["check"]
pair = (logits_any, logits_ancillary[:4])
with checks.exercise("10.2"):
    for alpha in (0.5, 30.0):
        begun = self_correcting.ConvCorrection(count, width=32)
        begun = start_at(begun, count, alpha)
        checks.same(begun(*pair), linear_correction(*pair, alpha))


# %% [markdown]
# ## 3. Investigate: how far does it see?

# %% tags=["solution"]
def window(
    module: self_correcting.ConvCorrection, logits: Tensor,
    logits_ancillary: Tensor,
) -> tuple[int, int]:
    """Rows and columns of the inputs on which the central output pixel
    depends."""
    inputs = [one.clone().requires_grad_()
              for one in (logits, logits_ancillary)]
    middle = logits.shape[-1] // 2
    module(*inputs)[..., middle, middle].sum().backward()
    reached = sum(one.grad.abs().sum(dim=(0, 1)) for one in inputs) > 0
    return int(reached.any(dim=1).sum()), int(reached.any(dim=0).sum())


# %%
SMALL = methods.ConvPrimaryConfig(width=32)
stages = (
    story.half_ancillary(profile, seed),
    story.conv_start(profile, seed, SMALL),
    story.conv_primary(profile, seed, SMALL),
)
half, start, final = (resolve(run, device) for run in stages)


# %%
def folded(
    module: self_correcting.ConvCorrection
) -> self_correcting.ConvCorrection:
    """A copy of the module whose kernels have all their weight in the
    centre."""
    copy = deepcopy(module)
    with torch.no_grad():
        for convolution in (copy.hidden, copy.head):
            total = convolution.weight.sum(dim=(2, 3))
            convolution.weight.zero_()
            convolution.weight[:, :, 1, 1] = total
    return copy


# %%
module = deepcopy(final.method.correction)

# %% tags=["check"]
noise = torch.Generator().manual_seed(103)
maps = [torch.randn(1, count, 11, 11, generator=noise) for _ in range(2)]
of_both = folded(module)  # three rows of one input, two columns of the other
with torch.no_grad():
    both = of_both.hidden.weight
    both[:, :count, ::2, 1] = both[:, :count, 1:2, 1]
    both[:, count:, 1, 0] = both[:, count:, 1, 1]
with checks.exercise("10.3"):
    for name, one, expected in (
        ("fresh", self_correcting.ConvCorrection(count, width=32), (1, 1)),
        ("trained", module, (5, 5)),
        ("folded", folded(module), (1, 1)),
        ("one input wide, one high", of_both, (3, 2)),
    ):
        checks.same(window(one, *maps), expected)
        print(f"  {name}: {expected[0]} × {expected[1]}")
