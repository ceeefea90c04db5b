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
# # Solutions: Real photographs
#
# The exercises stand in [chapter 09](../09_real_photographs.ipynb). This notebook runs without it.

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
# smoke, laptop, gpu ...; None asks SEMISEG_PROFILE, failing that means laptop
profile = None
seed = 11  # draws pictures, weights and batches of what is run here
device = None  # "cpu" to stay on the CPU; None takes the best device there is
root = None  # the folder that holds VOCdevkit; None asks SEMISEG_DATA

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

import numpy as np

from semiseg_lib import Boxes, View, chapter, checks, class_maps

profile = chapter.begin("09_real_photographs", profile, device, dataset="voc")


# %% [markdown]
# ## 1. Warm-up: the rate for your batch

# %% tags=["solution"]
def rate_for(rate: float, meant_for: int, pictures: int,
             passes: int) -> float:
    """The learning rate in proportion to the pictures of one optimiser
    step."""
    return rate * pictures * passes / meant_for


# %% tags=["check"]
def library_rate(rate: float, meant_for: int, pictures: int,
                 passes: int) -> float:
    """The library's rule."""
    config = replace(profile.train_primary, lr=rate, lr_batch=meant_for,
                     accumulate=passes, batch_labelled=pictures,
                     batch_unlabelled=0)
    return config.learning_rate


with checks.exercise("9.1"):
    checks.same(rate_for(0.007, 16, 6, 2), library_rate(0.007, 16, 6, 2))


# %% [markdown]
# ## 2. Implement: a box goes along

# %% tags=["solution"]
def moved_boxes(coordinates: np.ndarray, view: View) -> np.ndarray:
    """Boxes (N, 4) as x0, y0, x1, y1 in the view's pixels."""
    x = coordinates[:, [0, 2]] * view.scaled[1] / view.source[1] - view.left
    y = coordinates[:, [1, 3]] * view.scaled[0] / view.source[0] - view.top
    height, width = view.size
    if view.flip:
        x = width - x[:, ::-1]
    x, y = x.clip(0, width), y.clip(0, height)
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)


# %% tags=["check"]
def covered(coordinates: np.ndarray, view: View) -> np.ndarray:
    """The pixels that your boxes cover, one map per box."""
    moved = moved_boxes(coordinates, view)
    boxes = Boxes(moved, 1 + np.arange(len(moved)))
    return class_maps(boxes, 1 + len(boxes), view.size)[1:]


def library_covered(coordinates: np.ndarray, view: View) -> np.ndarray:
    """The library's answer: each box is given a class of its own."""
    boxes = Boxes(coordinates, 1 + np.arange(len(coordinates)))
    return view.box_maps(boxes, 1 + len(boxes))[1:]


test_boxes = np.array([[10, 5, 60, 50], [30, 20, 90, 70]], np.float32)
mirrored = View((80, 100), scaled=(120, 160), top=10, left=20, size=(96, 88),
                flip=True)
with checks.exercise("9.2"):
    checks.same(covered(test_boxes, mirrored),
                library_covered(test_boxes, mirrored))
    padded = View((80, 100), scaled=(40, 50), top=-28, left=-23,
                  size=(96, 96))
    checks.same(covered(test_boxes, padded),
                library_covered(test_boxes, padded))


# %% [markdown]
# ## 3. Investigate: how large is the store?

# %% tags=["solution"]
def stored_bytes(height: int, width: int, classes: int, stride: int,
                 bytes_each: int) -> int:
    """The size of one picture's logits, (C, ceil(H/stride),
    ceil(W/stride))."""
    return classes * -(-height // stride) * -(-width // stride) * bytes_each


# %% tags=["check"]
with checks.exercise("9.3"):
    ours = stored_bytes(375, 500, 21, 4, 1)
    raw = stored_bytes(256, 256, 21, 1, 4)
    checks.same([ours, raw], [246_750, 5_505_024])
    print(f"a picture: {ours / 1e6:.2f} MB against {raw / 1e6:.2f} MB, "
          f"{raw / ours:.0f} times less")
    print(f"all:       {10_582 * ours / 1e9:.1f} GB against "
          f"{10_582 * raw / 1e9:.1f} GB")
