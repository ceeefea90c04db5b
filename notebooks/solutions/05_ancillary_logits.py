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
# # Solutions: Ancillary logits
#
# The exercises stand in [chapter 05](../05_ancillary_logits.ipynb). This notebook runs without it.

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
import numpy as np
import torch
from torch import Tensor

from semiseg_lib import (
    VOID, chapter, checks, enlarge, resolve, self_correction as story,
)

profile = chapter.begin("05_ancillary_logits", profile, device)


# %% [markdown]
# ## 1. Warm-up: the diagram in one number

# %% tags=["solution"]
def calibration_error(confidences: np.ndarray, accuracies: np.ndarray,
                      pixels: np.ndarray) -> float:
    """The weighted mean distance of confidence and accuracy, from one value
    of each per bin, (K,)."""
    distances = np.abs(confidences - accuracies)
    filled = pixels > 0
    return float(np.average(distances[filled], weights=pixels[filled]))


# %% tags=["check", "nbval-check-output"]
bins = np.array([0.5, 0.75, 1.0]), np.array([0.5, 0.5, 0.9])
with checks.exercise("5.1"):
    checks.same(calibration_error(*bins, np.array([10, 10, 10])), 0.116667,
                "three bins of ten pixels each")
    checks.same(calibration_error(*bins, np.array([10, 10, 80])), 0.105,
                "most pixels in the last bin")
    empty = np.array([0.5, np.nan]), np.array([0.7, np.nan])
    checks.same(calibration_error(*empty, np.array([5, 0])), 0.2,
                "an empty bin, and less sure than right")

# %% [markdown]
# ## 2. Implement: confidence that does not overflow

# %% tags=["solution"]
def softmax_confidence(logits: np.ndarray) -> np.ndarray:
    """The largest probability at each position: (N, C, h, w) to (N, h, w)."""
    below_largest = logits - logits.max(axis=1, keepdims=True)
    return 1 / np.exp(below_largest).sum(axis=1)


# %%
ancillary = resolve(story.ancillary(profile, seed), device)
data, classes = ancillary.data, ancillary.classes
# asks the ancillary, or finds its logits on disk
store = resolve(story.logits(profile, seed), device)


# %% tags=["check"]
# two pictures of one pixel, two classes: probabilities 0.8, 0.2 and 0.4, 0.6
plain = np.log(np.array([0.8, 0.2, 0.4, 0.6])).reshape(2, 2, 1, 1)
confidences = np.array([0.8, 0.6]).reshape(2, 1, 1)
huge = plain + np.array([1000.0, -1000.0]).reshape(2, 1, 1, 1)
with checks.exercise("5.2"):
    checks.same(softmax_confidence(plain), confidences, "plain logits")
    checks.same(softmax_confidence(huge), confidences, "huge logits")
    stored_logits = store.read().float().numpy()
    of_store = softmax_confidence(stored_logits)
    checks.same(of_store.shape, stored_logits[:, 0].shape,
                "the shape of the store's")
    assert 1 / len(classes) <= of_store.min() <= of_store.max() <= 1, (
        "the largest of C probabilities lies in [1/C, 1]"
    )


# %% [markdown]
# ## 3. Investigate: the most confident mistake

# %% tags=["solution"]
def most_confident_mistake(confidence: np.ndarray, wrong: np.ndarray) -> int:
    """The number of the picture with the largest sum of confidence over its
    wrong pixels."""
    return int((confidence * wrong).sum(axis=(1, 2)).argmax())


# %%
truth = np.asarray(data.unlabelled_truth)
side = truth.shape[-1]
unlabelled_boxes = [data.unlabelled.sample(i).boxes
                    for i in range(len(truth))]


def labels_of(logits: Tensor) -> np.ndarray:
    """Logits (N, C, h, w) as labels of full size, uint8 (N, H, W)."""
    return (enlarge(logits.float(), (side, side)).argmax(dim=1)
            .to(torch.uint8).numpy())


labels = labels_of(store.read())
wrong = (labels != truth) & (truth != VOID)

# %%
probability = enlarge(store.read().float(), (side, side)).softmax(dim=1)
confidence = probability.amax(dim=1).numpy()

# %% tags=["check"]
toy_confidence = np.array([[[0.9, 0.9]], [[0.6, 0.5]], [[0.99, 0.3]]])
toy_wrong = np.array([[[True, False]], [[True, True]], [[True, False]]])
with checks.exercise("5.3"):
    found = most_confident_mistake(toy_confidence, toy_wrong)
    assert found == 1, f"expected picture 1 of the toy example, got {found}"
    found = most_confident_mistake(toy_confidence**4, toy_wrong)
    assert found == 2, f"less confident: expected picture 2, got {found}"
    found = most_confident_mistake(confidence, wrong)
    print(f"picture {found}, {data.unlabelled.names[found]}: "
          f"{int(wrong[found].sum())} wrong pixels, boxes of "
          f"{', '.join(classes[c] for c in unlabelled_boxes[found].classes)}")
