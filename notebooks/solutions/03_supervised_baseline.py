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
# # Solutions: The supervised baseline
#
# The exercises stand in [chapter 03](../03_supervised_baseline.ipynb). This notebook runs without it.

# %% jupyter={"source_hidden": true} tags=["install", "remove-cell"]
# Installs the library where it is missing, as on Colab; else does nothing.
import importlib.util

needed = "semiseg_lib", "torch", "timm", "tyro", "anywidget", "lazy_loader"
found = [importlib.util.find_spec(name) for name in needed]
if not all(one and one.origin for one in found):
    import os
    import shutil
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    address = ""
    for folder in reversed([Path.cwd(), *Path.cwd().parents]):
        if (folder / "semiseg_lib" / "__init__.py").is_file():
            address = str(folder)
    address = os.environ.get("SEMISEG_REPOSITORY", address)
    if not address:
        raise ModuleNotFoundError("semiseg_lib is not installed here. "
                                  "Run %pip install FOLDER, your copy of it.")
    print("semiseg_lib is missing here. Installing it from", address, "...")
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    with tempfile.TemporaryDirectory() as copy:
        if Path(address).is_dir():  # pip would leave what it builds there
            ignored = shutil.ignore_patterns(".*", "_build", "build", "data")
            address = shutil.copytree(address, copy, ignore=ignored,
                                      dirs_exist_ok=True)
        finished = subprocess.run([*pip, address], capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(f"It was not installed. {finished.stderr}")
    importlib.invalidate_caches()
    print("Installed. If an import fails now, restart the kernel.")

# %% tags=["parameters"]
# "smoke", "laptop" ...; None asks SEMISEG_PROFILE, failing that laptop
profile = None
seed = 11  # draws the labelled pictures, the first weights and the batches
device = None  # "cpu" to stay on the CPU; None takes the best there is

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib import (
    Run, VOID, chapter, checks, datasets, enlarge, predict, resolve,
    self_correction as story, work_root,
)
from semiseg_lib.methods.losses import cross_entropy

profile = chapter.begin("03_supervised_baseline", profile, device)


# %% [markdown]
# ## 1. Warm-up: an interval by hand

# %% tags=["solution"]
def t_interval(values: list[float]) -> tuple[float, float]:
    """The two ends of the 95 % interval of the mean."""
    from scipy import stats

    count = len(values)
    half = (stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1)
            / np.sqrt(count))
    return np.mean(values) - half, np.mean(values) + half


# %% tags=["check"]
with checks.exercise("3.1"):
    checks.same(t_interval([58.0, 61.0, 59.5]), (55.7738, 63.2262))


# %% [markdown]
# ## 2. Implement: a masked cross-entropy from nothing

# %% tags=["solution"]
def masked_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean of -log p over non-void pixels; logits (B, C, H, W), masks
    (B, H, W) with 255 = void."""
    known = masks != VOID
    safe = torch.where(known, masks, 0)
    picked = logits.log_softmax(dim=1).gather(1, safe[:, None])[:, 0]
    return -(picked * known).sum() / known.sum().clamp(min=1)


# %%
tiny_logits = torch.tensor(
    [[[[2.0, 0.0], [5.0, -5.0]], [[0.0, 1.0], [-5.0, 5.0]]]]
)
tiny_masks = torch.tensor([[[0, 1], [VOID, VOID]]])
all_void = torch.full_like(tiny_masks, VOID)

# %% tags=["check"]
with checks.exercise("3.2"):
    checks.same(masked_cross_entropy(tiny_logits, tiny_masks),
                cross_entropy(tiny_logits, tiny_masks), "a tiny example")
    checks.same(masked_cross_entropy(tiny_logits, all_void),
                cross_entropy(tiny_logits, all_void), "all void")
    random_logits = torch.randn(2, 5, 6, 6,
                                generator=torch.Generator().manual_seed(1))
    random_masks = torch.arange(72).reshape(2, 6, 6) % 5
    random_masks[0, :3] = VOID
    checks.same(masked_cross_entropy(random_logits, random_masks),
                cross_entropy(random_logits, random_masks),
                "five classes, more void in one of two pictures")


# %% [markdown]
# ## 3. Investigate: what does stride 2 cost?

# %% tags=["solution"]
def through_stride(masks: Tensor, num_classes: int, stride: int) -> Tensor:
    """Masks (N, H, W) as a perfect network of this stride would return them,
    uint8 (N, H, W)."""
    background_for_void = torch.where(masks == VOID, 0, masks).long()
    maps = (nn.functional.one_hot(background_for_void, num_classes)
            .movedim(-1, 1).float())
    coarse = nn.functional.avg_pool2d(maps, stride)
    return enlarge(coarse, masks.shape[-2:]).argmax(dim=1).to(torch.uint8)


# %%
# loaded if this run is on disk, otherwise trained now
trained = resolve(story.supervised(profile, seed), device)
data, classes = trained.data, trained.classes
truth, labels = data.test.masks.numpy(), predict(trained.method, data.test)

# %% tags=["check"]
from semiseg_lib import evaluate_labels

with checks.exercise("3.3"):
    ceilings = {stride: evaluate_labels(
                    truth, through_stride(data.test.masks, len(classes),
                                          stride).numpy(), classes
                ).mean_iou for stride in (1, 2, 4, 8)}
    print({
        stride: f"{100 * ceiling:.1f}" for stride, ceiling in ceilings.items()
    })
    assert ceilings[1] == 1, ("stride 1 must change nothing, got "
                              f"{ceilings[1]}")
    assert ceilings[2] > ceilings[8], "a coarser answer should score lower"
    tiny = torch.tensor([[[1, 2, 0, 0], [2, 2, 0, VOID]]])
    checks.same(through_stride(tiny, 3, 2), [[[2, 2, 0, 0]] * 2],
                "most of the 2 × 2 pixels on the left are of class 2")


# %% [markdown]
# ## 4. Investigate: what is one more mask worth?

# %% tags=["solution"]
def first_names(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """The first ``count`` names of a list of labelled pictures."""
    return names[:count]


# %%
runs = {
    s: resolve(story.supervised(profile, s), device) for s in profile.seeds
}

# %%
full = profile.train_supervised
short = replace(full, steps=max(full.steps // 10, 1))
short_average = replace(profile.supervised, ema_decay=0.9)


def short_run(names: tuple[str, ...], start: int) -> float:
    """Validation mIoU in percent of a short training on listed pictures."""
    digest = datasets.lists.list_digest(names)
    path = work_root() / "splits" / f"{digest[:10]}.txt"
    datasets.lists.write_list(names, path)
    data = replace(profile.data, published=path.as_posix())
    listed = replace(profile, data=data)
    run = Run.of(listed, start, short_average, short)
    return 100 * resolve(run, device).evaluate("val").mean_iou


three = profile.seeds[:3]
drawn = {s: runs[s].data.names["labelled"] for s in three}
crossed = {
    f"pictures of seed {s}": [short_run(drawn[s], start) for start in three]
    for s in three
}

# %% tags=["check", "nbval-ignore-output"]
first = profile.seeds[0]
half = len(drawn[first]) // 2
with checks.exercise("3.4"):
    subset = first_names(("c", "a", "d", "b"), 3)
    assert tuple(subset) == ("c", "a", "d"), f"expected c, a, d, got {subset}"
    subset = first_names(drawn[first], half)
    of_all = crossed[f"pictures of seed {first}"][0]
    print(f"{half} masks: {short_run(subset, first):.1f}, "
          f"{len(drawn[first])} masks: {of_all:.1f} (one run each)")
