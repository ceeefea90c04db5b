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
# # Solutions: Data preparation
#
# The exercises stand in [chapter 01](../01_data_preparation.ipynb). This notebook runs without it.

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
seed = 11  # draws the labelled pictures
device = None  # "cpu" to stay on the CPU; None takes the best there is

# %% tags=["nbval-ignore-output"]
import numpy as np

from semiseg_lib import Boxes, Data, VOID, batches, chapter, checks, tables
from semiseg_lib.datasets import minivoc

profile = chapter.begin("01_data_preparation", profile, device)


# %% [markdown]
# ## 1. Warm-up: the tight box

# %% tags=["solution"]
def tight_box(footprint: np.ndarray) -> tuple[int, int, int, int]:
    """The tight box (x0, y0, x1, y1), half-open, of a bool (H, W) map with a
    True pixel in it."""
    rows, columns = np.flatnonzero(footprint.any(axis=1)), np.flatnonzero(
        footprint.any(axis=0)
    )
    return int(
        columns[0]
    ), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# %% tags=["check", "nbval-check-output"]
blob = np.zeros((6, 8), bool)
blob[2, [3, 4, 6]] = blob[4, 4] = True  # with gaps
with checks.exercise("1.1"):
    checks.same(tight_box(blob), (3, 2, 7, 5))
    x0, y0, x1, y1 = tight_box(blob)
    held = blob[y0:y1, x0:x1].sum()
    assert held == blob.sum(), ("the box, used as a slice, must hold every "
                                "pixel")


# %% [markdown]
# ## 2. Implement: how loose is loose?

# %% tags=["solution"]
def box_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two half-open boxes (4,), x0 y0 x1 y1."""
    low, high = np.maximum(first[:2],
                           second[:2]), np.minimum(first[2:], second[2:])
    common = np.prod(np.clip(high - low, 0, None))
    areas = np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])
    return float(common / (areas - common))


# %%
data = Data(profile.data, seed)

# %% tags=["check"]
wide, tall = np.array([0, 0, 4, 2]), np.array([3, 0, 5, 4])
with checks.exercise("1.2"):
    checks.same(box_iou(wide, wide), 1, "a box and itself")
    checks.same(box_iou(wide, tall), 1 / 7, "2 of 14 pixels in both")
    for away in ([9, 9, 10, 11], [9, 0, 11, 1], [1, 9, 2, 12]):
        checks.same(box_iou(wide, np.array(away)), 0,
                    "boxes that do not meet")
    world = data.config.options.generated_world()
    overlaps = [
        box_iou(box, np.array(tight))
        for i in range(len(data.unlabelled))
        for box, (_, tight) in zip(
            data.unlabelled.sample(i).boxes.coordinates,
            minivoc.draw_scene(world, "unlabelled", i).boxes, strict=True,
        )
    ]
    print(f"Drawn and tight boxes overlap by {np.mean(overlaps):.2f}.")


# %% [markdown]
# ## 3. Investigate: two kinds of mistake

# %% tags=["solution"]
def lost_and_claimed(mask: np.ndarray,
                     maps: np.ndarray) -> tuple[float, float]:
    """Of the object pixels, the share outside all boxes of their class; of
    the background pixels, the share inside any box. ``mask`` is (H, W), 255 =
    void; ``maps`` is (C, H, W)."""
    objects, background = (mask != 0) & (mask != VOID), mask == 0
    own = np.take_along_axis(maps,
                             np.where(objects, mask, 0)[None].astype(int),
                             axis=0)[0]
    return float((own[objects] == 0).mean()), float(
        (maps[0][background] == 0).mean()
    )


# %% tags=["check", "nbval-check-output"]
tiny_mask = np.array([[1, 1, 0, 0], [1, 1, VOID, 0]])
tiny_box = Boxes(np.array([[1, 0, 3, 2]], np.float32), np.array([1]))
tiny_maps = batches.boxes.class_maps(tiny_box, 2, (2, 4))
with checks.exercise("1.3"):
    checks.same(lost_and_claimed(tiny_mask, tiny_maps), (2 / 4, 1 / 3),
                "2 of 4 lost, 1 of 3 claimed")
    others = Boxes(tiny_box.coordinates, np.array([2]))  # of another class
    other_maps = batches.boxes.class_maps(others, 3, (2, 4))
    checks.same(lost_and_claimed(tiny_mask, other_maps), (1, 1 / 3),
                "a box of another class: all 4 lost")


# %% [markdown]
# With the function, count over a hundred pictures:

# %%
def as_boxes(drawn):
    """A scene's boxes, (class id, box) pairs, as the library's Boxes."""
    coordinates = (
        np.array([box for _, box in drawn], np.float32).reshape(-1, 4)
    )
    return Boxes(coordinates, np.array([class_id for class_id, _ in drawn],
                                       np.int64))


# %%
STYLES = {
    "tight": minivoc.BoxStyle(),
    "loose": minivoc.BoxStyle(loose=(0.15, 0.45)),
    "shaky": minivoc.BoxStyle(jitter=0.15),
    "missed": minivoc.BoxStyle(missed=0.3),
}

# %%
scenes = [
    minivoc.draw_scene(minivoc.WORLDS["hurried"], "unlabelled", i)
    for i in range(100)
]
mistakes = {}

# %% tags=["check", "nbval-check-output"]
with checks.after("1.3"):
    for title, style in STYLES.items():
        generator = np.random.default_rng(0)
        mistakes[title] = np.mean([
            lost_and_claimed(s.mask, batches.boxes.class_maps(
                as_boxes(minivoc.annotate(s, style, generator, 64)),
                len(data.classes), s.mask.shape,
            ))
            for s in scenes
        ], axis=0)
    tables.results_table([
        {"boxes": title, "object pixels lost (%)": float(100 * lost),
         "background pixels claimed (%)": float(100 * claimed)}
        for title, (lost, claimed) in mistakes.items()
    ]).show()
    assert mistakes["loose"][0] == 0, (
        "a loose box must not lose object pixels"
    )
    assert mistakes["loose"][1] > mistakes["tight"][1], (
        "a loose box must claim more"
    )
    assert mistakes["missed"][0] == max(
        m[0] for m in mistakes.values()
    ), "misses lose most"

# %% [markdown]
# <details><summary>How to read it</summary>
#
# A loose box claims background and loses nothing. The picture still shows what is object and what
# is not, so a model that looks at pictures can hope to put it right. Missing boxes lose whole
# objects. There the maps say "background", and a model that was trained on neat boxes has learnt to
# believe them. Remember this table when you come to chapter 08.
#
# </details>
