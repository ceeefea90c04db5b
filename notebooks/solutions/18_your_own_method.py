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
# # Solutions: Your own method
#
# The exercises stand in [chapter 18](../18_your_own_method.ipynb). This notebook runs without it.

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
seed = 11  # whose supervised run your method goes on from
device = None  # "cpu" to stay on the CPU; None takes the best device there is
budget = 0.25  # share of the profile's training steps; 1 is the whole recipe

# %% tags=["nbval-ignore-output"]
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib import (
    Loader, Method, batches, chapter, checks, core, cross_entropy, methods,
    resolve, semi_supervised, soft_cross_entropy, strong_view,
)
from semiseg_lib.methods.mean_teacher.method import ramp_up

profile = chapter.begin("18_your_own_method", profile, device)


# %% [markdown]
# ## 1. Warm-up: sharpen

# %% tags=["solution"]
def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities (B, C, H, W) at another temperature."""
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(dim=1, keepdim=True)


# %% tags=["check"]
noise = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(182))
with checks.exercise("18.1"):
    pixels = torch.tensor([[0.8, 0.5], [0.2, 0.5]]).view(1, 2, 1, 2)
    for temperature, first in ((1.0, 0.8), (0.5, 16 / 17), (2.0, 2 / 3)):
        checks.same(sharpened(pixels, temperature)[0, :, 0],
                    [[first, 0.5], [1 - first, 0.5]],
                    f"two pixels at temperature {temperature}")


# %% [markdown]
# ## 2. Implement: a method without a teacher

# %% tags=["solution"]
def mean_entropy(logits: Tensor, inside: Tensor) -> Tensor:
    """The mean entropy in nats over the pixels that are shown; 0 if there are
    none."""
    each = -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)
    return each.where(inside, 0).sum() / inside.sum().clamp(min=1)


# %% tags=["check"]
everywhere = torch.ones(2, 3, 3, dtype=torch.bool)
with checks.exercise("18.2"):
    checks.same(mean_entropy(noise, everywhere), 1.122971)
    checks.same(mean_entropy(torch.zeros(2, 4, 3, 3), everywhere), np.log(4))
    checks.same(mean_entropy(noise, ~everywhere), 0.0)
    first = everywhere.clone()
    first[1] = False
    checks.same(mean_entropy(noise, first), 1.1392, "half of it shown")


# %% [markdown]
# <details><summary>What is wrong with it</summary>
#
# One class everywhere, with certainty, has entropy 0. Only the masks hold against that. Nothing in
# this loss asks two views to agree.
#
# </details>

# %% [markdown]
# ## 3. Investigate: a method with a mistake

# %%
@dataclass(frozen=True)
class SoftTeacherConfig(core.Configuration):
    """Options: weight of the unlabelled loss, the teacher's temperature,
    views, average."""

    name: Literal["soft-teacher"] = "soft-teacher"
    weight: float = 1.0
    temperature: float = 0.5
    ramp: float = 0.25
    strong: batches.StrongConfig = batches.StrongConfig()
    ema_decay: float = 0.99


# %%
@torch.no_grad()
def soft_labels(
    teacher: nn.Module, images: Tensor, temperature: float
) -> Tensor:
    """What the teacher says of images, sharpened: (B, C, H, W)."""
    return (teacher(images).float() / temperature).softmax(dim=1)


# %%
class SoftTeacher(methods.AveragedMethod):
    def __init__(self, config: SoftTeacherConfig, network: nn.Module) -> None:
        super().__init__(network, config.ema_decay)
        self.config = config

    @classmethod
    def learns_from(cls, config: SoftTeacherConfig) -> frozenset[str]:
        return methods.BOTH if config.weight else methods.LABELLED

    def losses(self, batch, progress) -> dict[str, Tensor]:
        images, masks = batch.labelled.images, batch.labelled.masks
        if not self.config.weight:
            return {"labelled": cross_entropy(self.network(images), masks)}
        part, rng = batch.unlabelled, np.random.default_rng(batch.seed)
        teacher, temperature = self.average, self.config.temperature
        taught = soft_labels(teacher, part.images, temperature)
        views = strong_view(part.images, self.config.strong, rng)
        own, of_views = self.logits_together(images, views)
        shown = methods.losses.shown_pixels(part)
        consistent = soft_cross_entropy(of_views, taught, shown)
        weight = self.config.weight * ramp_up(progress, self.config.ramp)
        return {"labelled": cross_entropy(own, masks),
                "unlabelled": weight * consistent}

# %%
methods.register(SoftTeacherConfig, SoftTeacher)
options = SoftTeacherConfig(strong=profile.unlabelled["mean-teacher"].strong)
start = resolve(semi_supervised.supervised(profile, seed), device)
data, train = start.data, profile.train_unlabelled


# %%
def built(config) -> Method:
    """The method around fresh networks, the same ones each time."""
    torch.manual_seed(0)
    return methods.build(config, profile.model, len(data.classes)).train()


def contract_of(config, batch: batches.Batch) -> dict[str, bool]:
    """Which promises a method keeps on one batch."""
    method = built(config)
    losses = method.losses(batch, 0.5)
    sum(losses.values()).backward()
    again = built(config)
    torch.manual_seed(1)  # the global generator differs: no loss may notice
    repeated = again.losses(batch, 0.5)
    taught = [p.grad is not None and bool(p.grad.any())
              for p in method.parameters() if p.requires_grad]
    return {
        "losses are finite scalars": all(v.shape == () and v.isfinite()
                                         for v in losses.values()),
        "every parameter gets a gradient": all(taught),
        "the average gets none": all(p.grad is None
                                     for p in method.average.parameters()),
        "the same losses again": all(torch.equal(repeated[k], losses[k])
                                     for k in losses),
    }


# %%
four = Loader(
    data.labelled.without_boxes(), data.unlabelled.without_boxes(), 4, 4,
    profile.augment, seed
).batch(0)

# %%
class Careless(SoftTeacher):
    def losses(self, batch: batches.Batch,
               progress: float) -> dict[str, Tensor]:
        fresh = np.random.default_rng().integers(2**32)
        return super().losses(replace(batch, seed=int(fresh)), progress)


@dataclass(frozen=True)
class CarelessConfig(SoftTeacherConfig):
    name: Literal["careless"] = "careless"


careless = CarelessConfig(strong=options.strong)
methods.register(CarelessConfig, Careless)
broken = [text for text, kept in contract_of(careless, four).items()
          if not kept]
print("not kept:", broken)

# %% [markdown]
# A generator without a seed: nobody can repeat its numbers. The batch brings a seed of its own,
# and the parent class uses it.

# %% tags=["solution"]
class Repaired(Careless):
    """The same method without the mistake."""

    def losses(self, batch: batches.Batch,
               progress: float) -> dict[str, Tensor]:
        return SoftTeacher.losses(self, batch, progress)


# %% tags=["check"]
with checks.exercise("18.3"):
    repaired = [Repaired(careless, built(options).network).train()
                for _ in range(2)]
    one, two = (each.losses(four, 0.5)["unlabelled"] for each in repaired)
    checks.same(one.detach(), two.detach())
    next_batch = replace(four, seed=four.seed + 1)
    again = repaired[0].losses(next_batch, 0.5)["unlabelled"]
    assert not torch.equal(again, one), (
        "the views must differ where the seed of the batch differs"
    )

# %% [markdown]
# <details><summary>What you would notice</summary>
#
# Nothing, in a single run. But an interrupted run does not continue as it would have gone on, a
# seed cannot be repeated, and a paired comparison loses part of its pairing.
#
# </details>
