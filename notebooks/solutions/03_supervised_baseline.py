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
# The exercises stand in [chapter 03](../03_supervised_baseline.ipynb). This notebook runs without
# it.

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
# "smoke", "laptop" ...; None asks SEMISEG_PROFILE, failing that laptop
profile = None
seed = 11  # draws the labelled pictures, the first weights and the batches
device = None  # "cpu" to stay on the CPU; None takes the best there is

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from semiseg_lib import (
    Data, VOID, chapter, checks, datasets, experiments, mean_and_interval,
    predict, resolve, self_correction as story, training, work_root,
)
from semiseg_lib.methods.losses import cross_entropy

profile = chapter.begin("03_supervised_baseline", profile, device)


# %% [markdown]
# ## 1. Warm-up: the loss of a model that does not look
#
# The best constant probabilities are the shares themselves, and the loss is their entropy.

# %% tags=["solution"]
def loss_without_looking(shares: np.ndarray) -> float:
    """The smallest mean cross-entropy of a model that gives every pixel the
    same probabilities, from the classes' shares (C,) of the pixels."""
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())


# %%
# loaded if this run is on disk, otherwise trained now
trained = resolve(story.supervised(profile, seed), device)
data, classes = trained.data, trained.classes
truth, labels = data.test.masks.numpy(), predict(trained.method, data.test)

# %% tags=["check"]
with checks.exercise("3.1"):
    checks.same(loss_without_looking(np.full(5, 0.2)), 1.609438,
                "five classes of equal shares")
    checks.same(loss_without_looking(np.array([0.5, 0.25, 0.25])), 1.039721,
                "one half and two quarters")
    checks.same(loss_without_looking(np.array([0.5, 0.0, 0.5])), 0.693147,
                "a class that does not occur")
    found = datasets.splits.class_shares(
        list(data.labelled.masks.numpy()), len(classes)
    )
    print(f"without looking at our labelled pictures: "
          f"{loss_without_looking(found):.2f}")

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
# ## 3. Investigate: which mistakes cost most?

# %% tags=["solution"]
def repaired(labels: np.ndarray, truth: np.ndarray,
             names: bool) -> np.ndarray:
    """Labels (N, H, W) with one kind of mistake put right: wrong names if
    ``names``, else object and background mixed up."""
    known = truth != VOID
    both = (truth > 0) & (labels > 0)
    one = (truth > 0) != (labels > 0)
    return np.where(known & (both if names else one), truth, labels)


# %% tags=["check"]
from semiseg_lib import evaluate_labels

with checks.exercise("3.3"):
    tiny_truth = np.array([[[0, 1, 1, 2, 2, VOID]]], np.uint8)
    tiny_labels = np.array([[[1, 1, 0, 1, 2, 1]]], np.uint8)
    checks.same(repaired(tiny_labels, tiny_truth, names=True),
                [[[1, 1, 0, 2, 2, 1]]], "six pixels, names repaired")
    checks.same(repaired(tiny_labels, tiny_truth, names=False),
                [[[0, 1, 1, 1, 2, 1]]], "six pixels, the rest repaired")
    for title, mended in (("as it is", labels),
                          ("names right", repaired(labels, truth, True)),
                          ("outlines right", repaired(labels, truth, False))):
        score = evaluate_labels(truth, mended, classes)
        print(f"{title:15} mIoU {100 * score.mean_iou:.1f}")


# %% [markdown]
# ## 4. Investigate: what are more masks worth?

# %% tags=["solution"]
def nested_names(drawn: tuple[str, ...], candidates: tuple[str, ...],
                 count: int) -> tuple[str, ...]:
    """``count`` names: those drawn, in order, then further candidates, in
    order; no name twice."""
    further = [name for name in candidates if name not in drawn]
    return (*drawn, *further)[:count]


# %%
full = profile.train_supervised
short = replace(full, steps=max(full.steps // 10, 1))
short_average = replace(profile.supervised, ema_decay=0.9)


def short_run(names: tuple[str, ...], start: int,
              train: training.TrainConfig = short) -> float:
    """Validation mIoU in percent of a short training on listed pictures."""
    digest = datasets.lists.list_digest(names)
    path = work_root() / "splits" / f"{digest[:10]}.txt"
    datasets.lists.write_list(names, path)
    data = replace(profile.data, published=path.as_posix())
    listed = replace(profile, data=data)
    run = experiments.Run.of(listed, start, short_average, train)
    return 100 * resolve(run, device).evaluate("val").mean_iou

# %% tags=["check"]
with checks.exercise("3.4"):
    some, all_of_them = ("c", "a"), ("a", "b", "c", "d")
    for count, expected in ((1, ("c",)), (2, ("c", "a")),
                            (3, ("c", "a", "b")), (4, ("c", "a", "b", "d"))):
        names = tuple(nested_names(some, all_of_them, count))
        assert names == expected, f"expected {expected}, got {names}"

# %%
a_third = replace(full, steps=max(full.steps // 3, 1))
five = range(11, 16)  # a short training lets us afford five seeds
drawn = {s: Data(profile.data, s).names["labelled"] for s in five}

# %% tags=["check", "nbval-ignore-output"]
with checks.after("3.4"):
    candidates = tuple(data.source.names("candidates"))
    few, many = 12, min(224, len(candidates))
    by_masks = {count: [short_run(nested_names(names, candidates, count),
                                  start, a_third)
                        for start, names in drawn.items()]
                for count in (few, many)}
    for count, values in by_masks.items():
        print(f"{count} masks:", *(f"{value:.1f}" for value in values))
    gain = mean_and_interval(np.subtract(by_masks[many], by_masks[few]))
    print(f"more masks, seed by seed: {gain.mean:+.1f} points, 95 % interval "
          f"{gain.low:.1f} to {gain.high:.1f}")
