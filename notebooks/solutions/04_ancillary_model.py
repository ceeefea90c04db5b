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
# ## 2. Implement: a hurried annotator

# %% tags=["solution"]
def hurried(boxes: Boxes, low: float, high: float,
            generator: np.random.Generator) -> Boxes:
    """Each side moved outwards by a share of its own, from ``low`` to
    ``high``, of the box's width or height, cut at the picture."""
    widths_heights = boxes.coordinates[:, 2:] - boxes.coordinates[:, :2]
    shares = generator.uniform(low, high, (len(boxes), 4))
    outwards = [-1, -1, 1, 1] * shares * np.tile(widths_heights, 2)
    moved = (boxes.coordinates + outwards).clip(0, side)
    return Boxes(moved.astype(np.float32), boxes.classes)


# %%
ancillary = resolve(story.ancillary(profile, seed), device)
data, classes = ancillary.data, ancillary.classes
truth = data.test.masks.numpy()
side = truth.shape[-1]


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
two = Boxes(np.array([[24, 28, 40, 36], [4, 16, 12, 48]], np.float32),
            np.array([1, 2]))  # 16 wide and 8 high; 8 wide and 32 high
with checks.exercise("4.2"):
    fixed = hurried(two, 0.25, 0.25, generator)
    checks.same(fixed.coordinates, [[20, 26, 44, 38], [2, 8, 14, 56]],
                "every side a quarter too far out")
    checks.same(fixed.classes, two.classes, "the classes stay")
    checks.same(hurried(two, 3, 3, generator).coordinates,
                [[0, 4, side, 60], [0, 0, 36, side]], "cut at the picture")
    sizes = np.array([[16, 8, 16, 8], [8, 32, 8, 32]])
    drawn_shares = np.array([
        (hurried(two, 0.15, 0.45, generator).coordinates - two.coordinates)
        * [-1, -1, 1, 1] / sizes for _ in range(3000)
    ]).reshape(3000, 8)
    ends = drawn_shares.min(), drawn_shares.mean(), drawn_shares.max()
    assert np.allclose(ends, (0.15, 0.3, 0.45), atol=0.01), (
        f"smallest, mean and largest share are {np.round(ends, 2)}"
    )
    alike = np.abs(np.corrcoef(drawn_shares.T) - np.eye(8)).max()
    assert alike < 0.1, "every side of every box needs a share of its own"

# %% tags=["check"]
with checks.after("4.2"):
    given = with_changed(lambda boxes: hurried(boxes, 0.15, 0.45, generator))
    score = evaluate_labels(truth[:few], labels_of(ancillary.method, given),
                            classes)
    print(f"hurried boxes: mIoU {100 * score.mean_iou:.1f}")


# %% [markdown]
# ## 3. Investigate: missing boxes

# %% tags=["solution"]
def overlooked(boxes: Boxes, chance: float,
               generator: np.random.Generator) -> Boxes:
    """The boxes without those that were overlooked, each with the given
    chance."""
    kept = generator.random(len(boxes)) >= chance
    return Boxes(boxes.coordinates[kept], boxes.classes[kept])


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
