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
# # Data preparation
#
# *What does a segmentation dataset look like on disk, and who gets which labels?*
#
# After this chapter you can
#
# - read PASCAL VOC's folder layout, its masks and its boxes, without losing a pixel;
# - turn boxes into maps that a network can read;
# - say which pictures have masks, which have boxes, which are held out, and check for leaks;
# - move a picture, its mask and its boxes by one and the same random motion;
# - name two kinds of mistake that hurried annotators make.
#
# **You need** NumPy and PyTorch basics. Nothing is trained here.
#
# **Minutes**: about 80 to read and do; the code takes 0.5 in `laptop`, 0.2 in `smoke`.

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
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle
from PIL import Image

from semiseg_lib import (
    VOID, Boxes, Data, View, batches, chapter, checks, datasets, draw_view,
    plots, tables,
)
from semiseg_lib.datasets import minivoc

profile = chapter.begin("01_data_preparation", profile, device)
data = Data(profile.data, seed)

# %% [markdown]
# ## The result first
#
# Three pictures, one from each group. The right column is what the model is told about the pixels.
# An off-white panel means: nothing.

# %%
# the picture that this chapter takes apart: two objects, one before the other
EXAMPLE = 6
candidates = data.source.reader("candidates", masks=True, boxes=True)
shown = {
    "labelled": candidates[EXAMPLE],
    "unlabelled": data.unlabelled.sample(EXAMPLE),
    "test": data.test.sample(EXAMPLE),
}
silence = np.full_like(shown["labelled"].mask, VOID)

figure = plots.gallery(
    {
        "picture": [sample.image for sample in shown.values()],
        "boxes to learn from": [sample.image for sample in shown.values()],
        "mask to learn from": [shown["labelled"].mask, silence, silence],
    }, data.classes,
    boxes={"boxes to learn from": [shown["labelled"].boxes,
                                   shown["unlabelled"].boxes, None]},
    rows_titles=list(shown),
)
plots.show(figure,
           alt="One labelled, one unlabelled and one test picture. The "
           "labelled one has tight boxes and a mask, the unlabelled one "
           "loose boxes and no mask, the test one neither.")

# %% [markdown]
# Notice the boxes. On the labelled picture they touch the objects. On the unlabelled picture they
# were drawn in a hurry. That difference drives the whole book. The test picture has a mask too, but
# it belongs to the examiner.

# %% [markdown]
# ## A dataset is a folder
#
# PASCAL VOC [(Everingham et al., 2015)](references.md#everingham2015voc) set a layout that is still
# in wide use: pictures in one folder, masks in a second, boxes in a third, and text files that list
# which pictures belong together. The names tie the parts to each other. *mini-VOC* is drawn on your
# machine, but it is written in exactly this layout. So the code that reads it reads the real VOC as
# well.

# %% tags=["nbval-ignore-output"]
root = data.source.folder
for folder in sorted(path for path in root.rglob("*") if path.is_dir()):
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    depth = len(folder.relative_to(root).parts)
    first = f"{len(files):5} files, such as {files[0]}" if files else ""
    print(f"{'    ' * (depth - 1) + folder.name + '/':<24}{first}")

# %% [markdown]
# `SegmentationClassAug` deserves a word. Beside the real VOC, a folder of this name usually holds
# the later masks of [Hariharan et al. (2011)](references.md#hariharan2011sbd). Here it holds the
# masks of the unlabelled pictures. No model may learn from them. They let us *measure* how good the
# made-up labels are, which nobody can do with truly unlabelled pictures.

# %% [markdown]
# ## A mask is a picture of ids
#
# A mask says for each pixel which class it is. VOC stores it as a PNG with a *palette*: each pixel
# is one small number, the class id, and a table says in which colour to show that number.
#
# **Predict first.** We open a mask of a 64 × 64 picture with Pillow and turn it into an array. Is
# its shape (64, 64) or (64, 64, 3)? And what if we ask Pillow for colours first?
#
# <details><summary>Answer</summary>
#
# (64, 64): the ids. The colours live in the palette. After `convert("RGB")` the shape is
# (64, 64, 3): three numbers per pixel, and they are no longer ids. That one call is an easy way to
# a "label out of range" error.
#
# </details>

# %% tags=["nbval-check-output"]
name = shown["labelled"].name
picture = Image.open(root / "SegmentationClass" / f"{name}.png")
ids = np.asarray(picture)
palette = np.array(picture.getpalette()).reshape(-1, 3)
colours = np.asarray(picture.convert("RGB"))
print(f"{name}: mode {picture.mode}, ids {ids.shape}, in colours "
      f"{colours.shape}")
for number in np.unique(ids):
    meaning = "void" if number == VOID else data.classes[number]
    print(f"id {number:3} = {meaning:<10} shown as RGB "
          f"{palette[number].tolist()}")

# %% [markdown]
# The id 255 is *void*. A rim of void surrounds every object. A pixel on an outline shows a bit of
# both sides, and two annotators would not agree on it. Void says: *do not ask*. Losses and scores
# skip these pixels. Void is not background: told "background" there, a network is taught to shrink
# objects.
#
# How much is void, with a rim of two pixels on pictures as small as these?

# %%
test_masks = data.test.masks.numpy()
print(f"void: {100 * (test_masks == VOID).mean():.0f} % of all test pixels")

# %% [markdown]
# A mask saved in colours is a common bad file. The reader should not guess. Ours stops, names the
# file and says what to do about it. We make such a file on purpose.

# %% tags=["nbval-check-output"]
with tempfile.TemporaryDirectory() as folder:
    bad = Path(folder) / "colours.png"
    picture.convert("RGB").save(bad)
    try:
        datasets.labels.read_mask(bad, len(data.classes))
    except datasets.labels.LabelError as error:
        print(str(error).replace(str(bad), bad.name))

# %% [markdown]
# ## Boxes count from one
#
# Each picture has an XML file with one `<object>` for each box. This is the file of our example:

# %% tags=["nbval-check-output"]
xml = root / "Annotations" / f"{name}.xml"
print(xml.read_text(encoding="utf-8"))

# %% [markdown]
# VOC counts pixels **from 1** and **includes both ends**. NumPy counts from 0 and excludes the end.
# So a box that covers the columns $x_0 \le x < x_1$ is written as `xmin` $= x_0 + 1$ and `xmax`
# $= x_1$. Reading turns that around: subtract 1 from the minimum, and leave the maximum alone. Some
# VOC files hold decimal coordinates, so read them as floats.
#
# **Predict first.** An object covers the columns 2, 3, 4 and 5 of a picture. What does its XML say?
# How many of the four columns survive if we use the XML's numbers as a slice, `row[xmin:xmax]`? How
# many if we first subtract 1 from both?
#
# <details><summary>Answer</summary>
#
# `xmin` is 3 and `xmax` is 6. Without subtracting, the slice 3:6 loses the first column. With 1
# subtracted from both, the slice 2:5 loses the last. Only 2:6 is right.
#
# </details>

# %% tags=["nbval-check-output"]
row = np.array([0, 0, 1, 1, 1, 1, 0, 0])
xmin, xmax = 3, 6
for how, piece in {
    "as written, [xmin : xmax]": row[xmin:xmax],
    "both minus 1, [xmin-1 : xmax-1]": row[xmin - 1:xmax - 1],
    "right, [xmin-1 : xmax]": row[xmin - 1:xmax],
}.items():
    print(f"{how:<33} {piece.sum()} of {row.sum()} columns of the object")

# %% [markdown]
# Both wrong readings are in public code for this very method: one
# [re-implementation](https://github.com/youcefgheffari3/semi-supervised_segmentation_approach)
# slices with the numbers as written and loses the first row and column;
# [TwoStageSegmentation](https://github.com/OneMagicKey/TwoStageSegmentation) subtracts 1 from all
# four and loses the last. Nothing crashes, and large objects hardly notice. A box of four by four
# pixels loses seven of its sixteen. Our reader turns the example's boxes into these:

# %% tags=["nbval-check-output"]
written = datasets.devkit.read_annotation(xml)
read = shown["labelled"].boxes
for (class_name, box), half_open in zip(written, read.coordinates,
                                        strict=True):
    print(f"{class_name:<8} XML {[f'{v:g}' for v in box]}  ->  half-open "
          f"{half_open.tolist()}")

# %% [markdown]
# ## Boxes as maps
#
# A convolutional network reads maps, not lists of coordinates. Self-Correcting Networks
# [(Ibrahim et al., 2020)](references.md#ibrahim2020selfcorrecting) use one binary map for each
# class:
#
# $$b_{i,c} = 1 \text{ if the centre of pixel } i \text{ lies in a box of class } c > 0, \qquad
# b_{i,0} = \textstyle\prod_{c > 0} (1 - b_{i,c}).$$
#
# The background's map is 1 where no box is. The small helper in the next cell finds the pixels
# whose centres lie between two edges.

# %% tags=["inline", "inline:semiseg_lib.batches.boxes.covered_pixels"]
def covered_pixels(low: float, high: float, size: int) -> slice:
    """The pixels whose centres lie in [low, high); a box thinner than a pixel
    keeps one."""
    first = min(max(int(np.ceil(low - 0.5)), 0), size - 1)
    last = max(int(np.ceil(high - 0.5)), first + 1)
    return slice(first, last)

# %% tags=["inline", "inline:semiseg_lib.batches.boxes.class_maps"]
def class_maps(boxes: Boxes, num_classes: int,
               size: tuple[int, int]) -> np.ndarray:
    """Which classes' boxes cover a pixel: uint8 (C, H, W) of zeros and
    ones."""
    maps = np.zeros((num_classes, *size), dtype=np.uint8)
    for (x0, y0, x1, y1), label in zip(boxes.coordinates, boxes.classes,
                                       strict=True):
        maps[label, covered_pixels(y0, y1, size[0]),
             covered_pixels(x0, x1, size[1])] = 1
    maps[0] = ~maps[1:].any(axis=0)
    return maps

# %% [markdown]
# **Predict first.** In our example the boxes of two classes overlap. In how many maps is a pixel of
# the overlap 1: none, one or two?
#
# <details><summary>Answer</summary>
#
# Two. The maps do not say who is in front; finding that out is left to the network. Only background
# excludes everything else.
#
# </details>

# %% tags=["nbval-check-output"]
maps = class_maps(read, len(data.classes), ids.shape)
librarys = batches.boxes.class_maps(read, len(data.classes), ids.shape)
assert (maps == librarys).all()
print("maps", maps.shape, maps.dtype)
print("pixels that are 1 in one map, in two:",
      [int((maps.sum(0) == n).sum()) for n in (1, 2)])

# %%
sample = shown["labelled"]
# the maps of the other classes are 0 everywhere
present = [0, *np.unique(read.classes)]
columns = {"boxes": [sample.image]}
columns |= {data.classes[c]: [maps[c].astype(bool)] for c in present}
any_class = batches.boxes.heat_map(read, ids.shape)[0].astype(bool)
columns |= {"any class": [any_class]}
figure = plots.gallery(columns, data.classes, boxes=[sample.boxes],
                       legend=False)
plots.show(figure,
           alt="The example picture with its two overlapping boxes, then the "
           "yes/no maps of background, balloon and car, and last the single "
           "map of any box.")

# %% [markdown]
# Black is 1, grey is 0. The last panel is the simpler map that a public
# [re-implementation](https://github.com/youcefgheffari3/semi-supervised_segmentation_approach)
# uses: 1 inside *any* box. It says where objects are, and not which. Keep in mind what that means
# for the per-class maps: they **hand the class over**. A model that reads them has little more to
# find than the outlines. Chapter 04 returns to this.

# %% [markdown]
# ## Two worlds, two annotators
#
# mini-VOC comes in two *worlds*. In the **harder** world the pictures are hard (camouflage,
# distractors, colours that say nothing), and everybody draws neat boxes. In the **hurried** world
# the pictures are easier, but the boxes of the unlabelled pictures were drawn loosely: each side
# lies 15 to 45 percent of the box's size too far out, and the hand shook. The book's main story is
# set in the hurried world. A picture's tight boxes are known, since we drew it.

# %%
def as_boxes(drawn):
    """A scene's boxes, (class id, box) pairs, as the library's Boxes."""
    coordinates = (
        np.array([box for _, box in drawn], np.float32).reshape(-1, 4)
    )
    return Boxes(coordinates, np.array([class_id for class_id, _ in drawn],
                                       np.int64))


def outline(figure, panel, scene):
    """Add a scene's tight boxes to a panel of a gallery, dashed in white."""
    for _, (x0, y0, x1, y1) in scene.boxes:
        figure.axes[panel].add_patch(
            Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False,
                      color="white", linestyle="--")
        )

# %%
CHOSEN = (5, 6, 7)
lists = {"harder: unlabelled": ("harder", "unlabelled"),
         "hurried: labelled": ("hurried", "labelled"),
         "hurried: unlabelled": ("hurried", "unlabelled")}
columns, drawn = {}, {}
for title, (world, split) in lists.items():
    scenes = [
        minivoc.draw_scene(minivoc.WORLDS[world], split, i) for i in CHOSEN
    ]
    style = minivoc.WORLDS[world].box_style(split)
    generator = np.random.default_rng(seed)
    columns[title] = [scene.image for scene in scenes]
    drawn[title] = [
        as_boxes(minivoc.annotate(scene, style, generator, 64))
        for scene in scenes
    ]

# %%
# one colour for all classes: the two worlds number them differently
for title in drawn:
    drawn[title] = [Boxes(b.coordinates, np.ones_like(b.classes))
                    for b in drawn[title]]
figure = plots.gallery(columns, ("background", "object"), boxes=drawn,
                       legend=False)
for place, scene in enumerate(scenes):
    outline(figure, 3 * place + 2, scene)
plots.show(figure,
           alt="Pictures of the harder and of the hurried world with the "
           "boxes that were drawn. In the last column the tight boxes "
           "are dashed: the drawn ones reach beyond.")

# %% [markdown]
# A `BoxStyle` says how careless an annotator is. You can turn its three knobs without writing a
# file: `draw_scene` draws a picture in memory, and `annotate` draws the boxes in a style. Every
# style below uses the same random numbers for a given picture, so the styles differ in nothing
# else.

# %%
STYLES = {
    "tight": minivoc.BoxStyle(),
    "loose": minivoc.BoxStyle(loose=(0.15, 0.45)),
    "shaky": minivoc.BoxStyle(jitter=0.15),
    "missed": minivoc.BoxStyle(missed=0.3),
}
scenes = {
    i: minivoc.draw_scene(minivoc.WORLDS["hurried"], "unlabelled", i)
    for i in (23, 32, 33)
}

# %%
drawn = {
    title: [as_boxes(minivoc.annotate(
        scene, style, np.random.default_rng([seed, i]), 64
    )) for i, scene in scenes.items()]
    for title, style in STYLES.items()
}
views = {title: [scene.image for scene in scenes.values()]
         for title in STYLES}
figure = plots.gallery(views, data.classes, boxes=drawn)
for place, scene in enumerate(scenes.values()):
    for column in range(1, len(STYLES)):
        outline(figure, len(STYLES) * place + column, scene)
plots.show(figure,
           alt="Three pictures, each with boxes drawn in four styles: tight, "
           "loose, shaky and missed. In the last three the tight box of "
           "every object is dashed in white.")

# %% [markdown]
# Loose, shaky, missed: which of these is the worst for a model that learns from boxes? Exercise 1.3
# counts what each style gets wrong, and chapter 08 measures what that does.

# %% [markdown]
# ## Who gets which labels
#
# Four lists, four jobs. *Labelled* pictures have masks and tight boxes. *Unlabelled* pictures have
# no masks; here they have boxes, elsewhere they may have nothing at all. On *val*, for validation,
# we make choices; on *test* we report, once. The list of labelled candidates is longer than what a
# run may use: the run's seed draws a few of them, so that several seeds show how much the luck of
# the draw matters.

# %%
sets = {"labelled": data.labelled, "unlabelled": data.unlabelled,
        "val": data.val, "test": data.test}
jobs = ("masks and boxes to learn from", "boxes to learn from", "choices",
        "the reported score")
tables.results_table([
    {"list": name, "pictures": len(images),
     "masks": "–" if images.sample(0).mask is None else "yes",
     "used for": job, "digest": images.digest[:8]}
    for (name, images), job in zip(sets.items(), jobs, strict=True)
])

# %% [markdown]
# The last column is the beginning of each list's *digest*: a number that is computed from the bytes
# of all its files, in their order. Change one pixel of one mask, and the digest is another. A
# training run stores the digests of what it learnt from. When the chapters ask for a run, they get
# it only if it learnt from the pictures that are there now; otherwise it is trained anew, and a
# line says which pictures have changed, come or gone.

# %% [markdown]
# A plain draw of a few pictures may miss a class altogether, and then no method can learn it.
# `choose_labelled` draws again until every class occurs. The next table shows what a few seeds got.
# The last column is each class's share of the pixels that are not void.
#
# **Predict first.** Four object classes and the background: what share of the pixels is background?
#
# <details><summary>Answer</summary>
#
# About three quarters: 73 % for seed 11 in our runs, and no object class has more than 9 %. That is
# normal for pictures of things, which leave room around the things; on the real VOC background
# covers most pixels, too. A model that calls everything background is right on most pixels, and
# chapter 02 makes a point of it.
#
# </details>

# %%
chosen = {s: Data(profile.data, s).labelled for s in profile.seeds}
share = datasets.splits.class_shares(
    list(data.labelled.masks.numpy()), len(data.classes)
)
assert share[0] > 0.5, ("background no longer covers most of the labelled "
                        "pixels")
tables.results_table([
    {"class": name}
    | {f"pictures, seed {number}":
           int((images.masks == c).any(dim=2).any(dim=1).sum())
       for number, images in chosen.items()}
    | {f"pixels, seed {seed} (%)": float(100 * share[c])}
    for c, name in enumerate(data.classes)
])

# %% [markdown]
# ### Is anybody in two lists?
#
# A picture that is in two lists makes the score flatter the model. It happens easily: somebody
# merges two split files, or cuts neighbouring frames of one video into train and test. Equal names
# are easy to find, so we look for them every time. Equal *content* under two names is not found in
# this way. mini-VOC is safe there, because each list is drawn from its own random numbers.

# %% tags=["nbval-check-output"]
names = {name: list(images.names) for name, images in sets.items()}
datasets.splits.check_disjoint(names)
print("the four lists share no picture")

names["labelled"].append("hurried_test_00003")  # an accident
try:
    datasets.splits.check_disjoint(names)
except ValueError as error:
    print("caught:", error)

# %% [markdown]
# ## A view must move everything at once
#
# With a few masks, every network learns them by heart. *Augmentation* shows each picture in a fresh
# view: flipped, shifted, recoloured. Colours change the picture alone. **Geometry must change
# everything that lies on the picture**: mask, box maps, stored logits. The library's `View`
# computes row and column indices once, and whatever lies on the picture follows these, so nothing
# can drift apart.
#
# **Predict first.** The row 0 1 2 3 4 5 is shifted two places to the right. Nothing is known about
# what enters at the left. What could stand there?
#
# <details><summary>Answer</summary>
#
# Black pixels would teach the network a black border. We mirror what is there: 1 0 | 0 1 2 3. At
# half the resolution the same shift is one place: 0 | 0 1. That works only if shifts are multiples
# of the *stride* (here 2: how many pixels of the picture one position of the logits stands for), so
# that is how they are drawn.
#
# </details>
#
# A view is described by where it begins in the picture. The picture moves two places to the right
# when the view begins two places to the left of it, at `left=-2`.

# %% tags=["nbval-check-output"]
size = (1, 6)  # one row of six pixels
shift_by_two = View(size, size, top=0, left=-2, size=size, border="mirror")
flip = View(size, size, top=0, left=0, size=size, flip=True)
row = np.arange(6, dtype=np.uint8).reshape(size)
print("shifted by 2:           ", shift_by_two.mask(row).flatten().tolist())
print("flipped:                ", flip.mask(row).flatten().tolist())
# stored logits: one class, one row, stride 2
half = np.arange(3).reshape(1, 1, 3)
moved = shift_by_two.logits(half)
print("shifted, half resolution:", moved.flatten().tolist())

# %% [markdown]
# Now the same on pictures, once done right and once with a typical bug: the mask stays where it
# was.

# %%
images, masks = data.labelled.images.numpy(), data.labelled.masks.numpy()
draws = np.random.default_rng(seed).random((len(images), batches.DRAWS))
seen_as = [draw_view(ids.shape, profile.augment, one, stride=2)
           for one in draws]
moved_images = [view.image(images[i]) for i, view in enumerate(seen_as)]
moved_masks = np.stack([view.mask(masks[i])
                        for i, view in enumerate(seen_as)])

# %%
objects = (moved_masks != 0) & (moved_masks != VOID)
wrong = (masks != moved_masks) & objects
picks = np.argsort(-wrong.sum(axis=(1, 2)), kind="stable")[:3]
figure = plots.gallery(
    {
        "picture and mask": [plots.overlay(images[i], masks[i])
                             for i in picks],
        "moved together": [plots.overlay(moved_images[i], moved_masks[i])
                           for i in picks],
        "mask left behind": [plots.overlay(moved_images[i], masks[i])
                             for i in picks],
    }, data.classes, legend=False,
)
plots.show(figure,
           alt="Pictures tinted with their masks: as they are; moved "
           "together, so that the tint still fits; and with the mask "
           "left behind, so that it covers the wrong places.")
print(f"with the mask left behind, {100 * wrong.sum() / objects.sum():.0f} "
      "% of the object pixels have a wrong label")

# %% [markdown]
# (The doubled edges are the mirrored strips.) These are the three pictures with the most damage. No
# error is raised: shapes and ids are all valid. So do not trust a pipeline that you have not looked
# at. Draw a batch with its masks on top before you train anything.

# %% [markdown]
# ## Symbols and tensors
#
# | Symbol | In code | Shape | Meaning |
# |---|---|---|---|
# | $x$ | `images` | `(B, 3, H, W)` | pictures, uint8 on disk and in memory |
# | $y$ | `masks` | `(B, H, W)` | class ids; 255 is void |
# | $x_0, y_0, x_1, y_1$ | `boxes.coordinates` | `(N, 4)` | half-open pixel edges of N boxes |
# | $b$ | `box_maps` | `(B, C, H, W)` | 1 in boxes of class $c$; at 0, in none |
#
# $i$ is a pixel and $c$ a class, here and in all chapters; the [notation](notation.md) has the
# rest.

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: the tight box
#
# Write the tight, half-open box of a yes/no map. It must contain
# every `True` pixel and touch them on all four sides.
#
# [A solution](solutions/01_data_preparation.ipynb)

# %% tags=["exercise"]
def tight_box(footprint: np.ndarray) -> tuple[int, int, int, int]:
    """The tight box (x0, y0, x1, y1), half-open, of a bool (H, W) map with a
    True pixel in it."""
    raise NotImplementedError("your turn")

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
# ### 2. Implement: how loose is loose?
#
# The overlap of two boxes is measured like that of two
# masks: the area of their intersection over the area of their union. Boxes that do not meet have 0.
# Then the check compares the boxes that were drawn for the unlabelled pictures with the tight ones.
#
# [A solution](solutions/01_data_preparation.ipynb)

# %% tags=["exercise"]
def box_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two half-open boxes (4,), x0 y0 x1 y1."""
    raise NotImplementedError("your turn")

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
# ### 3. Investigate: two kinds of mistake
#
# A box style can mislead a model in two ways. Object
# pixels that no box of their class covers are *lost*: their map says that nothing is there.
# Background pixels inside some box are *claimed*. Compute both shares from a mask and its box maps.
# Which style makes which mistake? Which could a model that looks at the picture put right?
#
# [A solution](solutions/01_data_preparation.ipynb)

# %% tags=["exercise"]
def lost_and_claimed(mask: np.ndarray,
                     maps: np.ndarray) -> tuple[float, float]:
    """Of the object pixels, the share outside all boxes of their class; of
    the background pixels, the share inside any box. ``mask`` is (H, W), 255 =
    void; ``maps`` is (C, H, W)."""
    raise NotImplementedError("your turn")

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

# %% [markdown]
# ## Quiz
#
# **1.** A mask holds the ids 0, 2 and 255, and there are five classes. Is 255 an error?
#
# <details><summary>Answer</summary>
#
# No. 255 is void. A reader must let it through; a loss and a score must leave it out.
#
# </details>
#
# **2.** Your box reader gives boxes that are one pixel too small at the right and at the bottom.
# What did it do?
#
# <details><summary>Answer</summary>
#
# It subtracted 1 from all four coordinates and then used them as slices. Only the minimum is
# shifted: 1-based and inclusive becomes 0-based and half-open.
#
# </details>
#
# **3.** Why may the hidden masks of the unlabelled pictures be used to measure labels, and not to
# choose how many steps to train?
#
# <details><summary>Answer</summary>
#
# With real unlabelled pictures there are no such masks, so a choice made with them could not be
# made outside the book. Choices are made on val. The hidden masks only explain what happened.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - A mask is a map of ids; colours are decoration. 255 means *do not ask*.
# - VOC's boxes are 1-based and inclusive: subtract 1 from the minimum, and from nothing else.
# - Box maps with one channel per class say where and **which**.
# - Every list has one job, and no picture is in two of them.
# - Whatever lies on a picture moves with it, by the same indices.
#
# ## What can go wrong
#
# - **The mask was saved in colours**, or resized with interpolation: then ids appear that nobody
#   drew.
# - **Labelled and unlabelled lists are the same list.** A public
#   [re-implementation](https://github.com/youcefgheffari3/semi-supervised_segmentation_approach)
#   reads one list of pictures for both roles. It runs, but nothing about it is semi-supervised.
# - **Boxes of the test pictures reach the model.** The same code feeds them to its primary, and so
#   the score is no longer that of a model that sees pictures only.
# - **Decimal coordinates** crash a reader that expects whole numbers (the same code), or lose their
#   fraction in one that cuts it off
#   ([TwoStageSegmentation](https://github.com/OneMagicKey/TwoStageSegmentation)).
#
# **Next:** chapter 02 builds the ruler: what mIoU is, and how it misleads.
#
# ## References
#
# - [Everingham et al. (2015)](references.md#everingham2015voc) describe the VOC challenge that set
#   the layout.
# - [Hariharan et al. (2011)](references.md#hariharan2011sbd) drew the later masks for most of VOC's
#   pictures.
# - [Ibrahim et al. (2020)](references.md#ibrahim2020selfcorrecting) introduced the box maps as used
#   here.
