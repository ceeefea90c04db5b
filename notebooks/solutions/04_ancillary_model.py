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
# # Solutions: The ancillary model
#
# The exercises stand in [chapter 04](../04_ancillary_model.ipynb). This notebook runs without it.

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

from semiseg_lib import (
    Boxes, UNet, chapter, checks, class_maps, evaluate_labels, predict_part,
    resolve, self_correction as story,
)

profile = chapter.begin("04_ancillary_model", profile, device)


# %% [markdown]
# ## 1. Warm-up: what does a channel cost?

# %% tags=["solution"]
def stem_weights(width: int, box_channels: int) -> int:
    """Weights of the first convolution of the U-Net."""
    return 3 * 3 * (3 + box_channels) * width


# %% tags=["check", "nbval-check-output"]
with checks.exercise("4.1"):
    for width, box_channels in ((16, 0), (16, 1), (24, 21)):
        checks.same(stem_weights(width, box_channels),
                    UNet(21, width, box_channels).stem[0].weight.numel(),
                    f"width {width}, {box_channels} box channels")


# %% [markdown]
# ## 2. Implement: how loose is loose?

# %% tags=["solution"]
def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (4,), half-open; 0 if they do not
    meet."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(shared / (areas - shared))


# %%
ancillary = resolve(story.ancillary(profile, seed), device)
data, classes = ancillary.data, ancillary.classes
truth = data.test.masks.numpy()
side = truth.shape[-1]


# %%
def enlarged(boxes: Boxes, share: float) -> Boxes:
    """Each side moved outwards by ``share`` of the box's width or height, cut
    at the picture."""
    x0, y0, x1, y1 = boxes.coordinates.T
    across, down = share * (x1 - x0), share * (y1 - y0)
    sides = np.stack([x0 - across, y0 - down, x1 + across, y1 + down], axis=1)
    return Boxes(sides.clip(0, side), boxes.classes)


# %% tags=["check"]
tight = Boxes(np.array([[24, 28, 40, 36]], np.float32), np.array([1]))
with checks.exercise("4.2"):
    for share in (0.15, 0.45):
        iou = box_iou(tight.coordinates[0],
                      enlarged(tight, share).coordinates[0])
        expected = 1 / (1 + 2 * share) ** 2
        assert abs(iou - expected) < 1e-3, (f"expected {expected:.3f}, got "
                                            f"{iou:.3f}")
        print(f"sides {share:.0%} too far out: IoU with the tight box "
              f"{iou:.2f}")
    wide, tall = np.array([0, 0, 4, 2]), np.array([3, 0, 5, 4])
    checks.same(box_iou(wide, tall), 1 / 7, "2 of 14 pixels in both")
    for away in ([9, 9, 10, 11], [9, 0, 11, 1], [1, 9, 2, 12]):
        checks.same(box_iou(wide, np.array(away)), 0,
                    "boxes that do not meet")


# %% [markdown]
# ## 3. Investigate: missing boxes

# %% tags=["solution"]
def overlooked(boxes: Boxes, chance: float,
               generator: np.random.Generator) -> Boxes:
    """The boxes without those that were overlooked, each with the given
    chance."""
    kept = generator.random(len(boxes)) >= chance
    return Boxes(boxes.coordinates[kept], boxes.classes[kept])


# %%
test_boxes = [data.test.sample(i).boxes for i in range(len(data.test))]

# %%
few = min(150, len(data.test))
few_of_test = data.test.take(range(few))
# what a model is handed: images, masks, maps
part = few_of_test.part(range(few))


def with_changed(change):
    """The few test pictures, with box maps drawn from changed boxes."""
    maps = [class_maps(change(boxes), len(classes), (side, side))
            for boxes in test_boxes[:few]]
    return replace(part, box_maps=torch.from_numpy(np.stack(maps)).float())


def labels_of(method, part) -> np.ndarray:
    """What the model says of the pictures of a part: class ids (N, H, W)."""
    return predict_part(method, part).argmax(dim=1).byte().cpu().numpy()


# %% tags=["check"]
generator = np.random.default_rng(0)
with checks.exercise("4.3"):
    numbers = np.array([1, 2, 3])  # three boxes, each with its own numbers
    three = Boxes(np.repeat(numbers[:, None], 4, axis=1), numbers)
    for chance, expected in ((0, (0, 0, 0, 1)), (1, (1, 0, 0, 0)),
                             (0.3, (0.027, 0.189, 0.441, 0.343))):
        left = [overlooked(three, chance, generator) for _ in range(4000)]
        found = np.bincount([len(one) for one in left], minlength=4) / 4000
        assert np.allclose(found, expected, atol=0.04), (
            f"0, 1, 2, 3 of three boxes are left in {found} of all cases, "
            f"not in {expected}, where each is overlooked with {chance}"
        )
        of = np.concatenate([one.classes for one in left])
        each = np.bincount(of, minlength=4)[1:] / 4000
        assert np.allclose(each, 1 - chance, atol=0.04), (
            f"the three boxes are left in {each} of all cases"
        )
        corners = np.concatenate([one.coordinates for one in left])[:, 0]
        checks.same(corners, of, "each box with its own class")

# %% tags=["check"]
with checks.after("4.3"):
    for chance in (0, 0.3, 0.6, 1):
        given = with_changed(
            lambda boxes, chance=chance: overlooked(boxes, chance, generator)
        )
        labels = labels_of(ancillary.method, given)
        score = evaluate_labels(truth[:few], labels, classes)
        print(f"{chance:.0%} missing: mIoU {100 * score.mean_iou:.1f}")
