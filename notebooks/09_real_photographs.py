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
# # Real photographs
#
# *What changes when the pictures are real, and what stays the same?*
#
# After this chapter you can
#
# - read a profile, and say which of its values were published, and how certain we are;
# - follow a photograph, its mask, its boxes and its stored logits through one random view;
# - name the parts of DeepLabv3+, and the two places where boxes enter it;
# - run all stages on PASCAL VOC with one command;
# - say what a map per class tells a model that one heat map does not.
#
# **You need** the stages of chapters 03 to 07. No photographs are needed: where none are at
# hand, the chapter takes the drawn pictures in their place, by the same code, and says so. Words
# such as *profile* and *ASPP* stand in the [glossary](glossary.md).
#
# **Minutes**: about 90 to read and do; the code takes 1.2 in `laptop`, 0.5 in `smoke`. Training on
# real photographs takes longer, and is not done here: its results are loaded.

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
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

# %% tags=["nbval-ignore-output"]
from semiseg_lib import (
    Boxes, Data, DataConfig, Loader, Machine, ModelConfig, Sizes, VOID, View,
    ViewConfig, batches, chapter, checks, class_maps, datasets, draw_view,
    methods, models, plots, published, recipes, resolve,
    self_correction as story, studies, tables, work_root,
)
from semiseg_lib.datasets import minivoc
from semiseg_lib.methods.self_correcting import method as self_correcting

profile = chapter.begin("09_real_photographs", profile, device, dataset="voc")
machine = Machine(device, Path(root) if root else None)

# %% [markdown]
# ## The result first
#
# The storyline was run on photographs of PASCAL VOC
# [(Everingham et al., 2015)](references.md#everingham2015voc): pictures of cats, cows, dogs, horses
# and sheep, people among them. Some have masks, the others boxes. This is a **reduced run**, made
# to fit on a CPU: small crops, few steps. The next cell does not train. It reads the stored record,
# or says how to make it. These numbers were made by an earlier version of the library; the records
# name the commits. Such rows are marked †, and are not mixed with runs of today's code.

# %% tags=["nbval-ignore-output"]
stored = recipes.load("laptop", "voc")
try:
    records = studies.read("photographs", stored)
    rows = studies.score_rows(records, "photographs")
    print(studies.conditions(records, stored, "photographs"))
    print(records.mark)
except FileNotFoundError as missing:
    rows = []
    print(missing)
tables.results_table(rows, plain=[key for row in rows
                                  for key in row]) if rows else None

# %%
if rows:
    figure = plots.dots_with_intervals(
        {f"{row['model']} ("
         f"{'all' if 'all images' in row['model'] else row['masks']})":
             row["mIoU on test (%)"] for row in rows},
        "mIoU on held-out photographs (%)",
    )
    plots.show(
        figure,
        alt="One row of dots for each model trained on photographs of VOC, "
        "one dot per seed: the mIoU on held-out photographs of the "
        "supervised model, the ancillary, the primary without correction, "
        "with linear and with convolutional correction, and of the model "
        "that had all masks.",
    )

# %% [markdown]
# **What to notice.** The path works: every stage runs on real data, and you see what it costs.
# Count the dots in each row before you compare rows (in brackets: how many masks). Where there is
# one, two rows a point or two apart could swap with another draw of the labelled pictures. A
# single run can show that something runs, what it costs, and gaps far larger than the spread
# between seeds that earlier chapters showed. Here that is one gap: the ancillary, which sees boxes,
# is 21 points above masks alone. The three primaries lie between 53 and 55 %. It cannot rank the
# corrections. In this run the labels got *worse* by linear correction, from the ancillary's 66.1 %
# to 58.3 % (60.7 % where they are mixed with the uncorrected primary), most likely because VOC's
# boxes are tight: the ancillary is then the better of the two, and the primary adds its own
# mistakes, as with tight boxes in chapter 08.
#
# The model with all masks should be on top. In a run as short as this it need not be, and is not:
# it sees each of its many pictures only a few times, and comes out last, at 43 %. Read it as "too
# few steps". The [results page](results.md) has all runs, and the published scores beside them.

# %% [markdown]
# ## The same code, other numbers
#
# A **profile** is a dataclass with every number of a run. The photographs do not have a training
# script of their own. `Data`, `Loader`, `View`, `resolve`, `fit` and the methods are those of the
# earlier chapters; they never ask which profile it is, nor which dataset. Only three things differ:
# the reader that opens the files, the network, and the window of a picture that a view shows. The
# table is made from the profile objects.
#
# **Predict first.** Which rows must differ between drawn pictures and photographs, and which
# differ only because the networks are larger?
#
# <details><summary>Answer</summary>
#
# Photographs have all sizes, so a batch needs crops. They need more knowledge of the world than a
# few masks hold, so the encoder comes pretrained, and learns more slowly than the rest. The number
# of steps, the batch and the optimiser belong to the network and the machine. The correction's
# schedule is the same: α goes from 30 to 0.5; only when it arrives is the book's choice.
#
# </details>

# %%
columns = {
    "drawn, laptop": recipes.load("laptop"),
    "VOC, laptop": stored, "VOC, gpu": recipes.load("gpu", "voc"),
    "VOC, paper": recipes.load("paper", "voc"),
    "Cityscapes, paper": recipes.load("paper", "cityscapes"),
}

# %%
settings = {
    "labelled pictures": lambda p: p.data.labelled,
    "network": lambda p: f"{p.model.architecture} {p.model.encoder}",
    "encoder's weights": lambda p: p.model.weights or "random",
    "window of a view": lambda p: p.augment.crop or "whole picture",
    "optimiser, rate": lambda p: f"{p.train_primary.optimizer}, "
    f"{p.train_primary.learning_rate:g}",
    "encoder's rate": lambda p: f"{p.model.encoder_lr:g} x",
    "steps": lambda p: p.train_primary.steps,
    "labelled + unlabelled": lambda p: (
        f"{p.train_primary.batch_labelled} + "
        f"{p.train_primary.batch_unlabelled}"
    ),
    "α": lambda p: f"{p.primary.alpha.start:g} to {p.primary.alpha.end:g}",
    "α's end, share": lambda p: f"{p.primary.alpha.until:g}",
    "weight average": lambda p: f"{p.primary.ema_decay:g}",
}
tables.results_table([
    {"primary": name, **{title: str(show(p)) for title, p in columns.items()}}
    for name, show in settings.items()
])

# %% [markdown]
# ### How sure is the paper's column?
#
# The authors' code was not released. Some values stand in their
# [slides](https://github.com/mostafa-saad/segment-correction-net/blob/master/img/slides.pdf) or in
# an answer to an [issue](https://github.com/mostafa-saad/segment-correction-net/issues/2). Some are
# known only from [TwoStageSegmentation](https://github.com/OneMagicKey/TwoStageSegmentation), a
# re-implementation by others, or recalled by people who know the DeepLab code it was built on. Some
# were never published; there the book chose. The table says which is which, and compares each with
# the profile. "As their sources have them" is only as good as the source: a value that is recalled,
# and found in no copy, counts too.

# %%
for dataset in ("voc", "cityscapes"):
    recipe = published.recipe("primary", dataset)
    paper = recipes.load("paper", dataset)
    sourced = [line for line in recipe if line.value is not None]
    followed = [line for line in sourced if line.followed_by(paper)]
    print(f"{dataset}: {len(followed)} of {len(sourced)} values as their "
          f"sources have them, {len(recipe) - len(sourced)} chosen by the "
          "book")
tables.results_table(published.recipe_table("primary", "voc"))

# %% [markdown]
# ## The pictures at hand
#
# If `root` or `SEMISEG_DATA` names a folder with VOC in it, the rest of this chapter uses
# a few of its photographs. Otherwise it takes the drawn pictures. Everything below is the same for
# both, because a dataset is one file that declares itself: its name, how it is opened, and a reader
# that hands out a picture with its mask and its boxes. mini-VOC and VOC even share the code of the
# reader, since they share the layout. So little is trained on so few pictures that **no score of it
# would mean anything**, and none is shown.

# %% tags=["nbval-ignore-output"]
wanted = replace(profile.data, labelled=16, at_most=8)
try:
    pictures, scale = wanted, (0.5, 1.2)
    data = Data(wanted, seed, machine.root)
    counts = {name: len(names) for name, names in data.names.items()}
    print("real photographs of", wanted.dataset)
except FileNotFoundError as reason:
    pictures, scale = DataConfig("minivoc", labelled=16,
                                 at_most=8), (1.0, 2.0)
    data = Data(pictures, seed)
    counts = {name: len(names) for name, names in data.names.items()}
    print("drawn pictures in place of photographs: "
          f"{str(reason).split(':')[0]}")
print(f"{len(data.classes)} classes; pictures in each list: {counts}")

# %% [markdown]
# ## Views of a photograph
#
# Photographs come in all sizes, and a batch needs one. So each picture is enlarged by a random
# factor, cut to a square, and perhaps mirrored. Whatever lies on the picture goes along: the
# mask (nearest neighbour, for ids must not be averaged), the boxes (by the pixels that they cover),
# and stored logits (bilinear, at the view's own stride). Where the scaled picture is smaller than
# the crop, the rest is **padding**. It is void in the mask, and the unlabelled loss leaves it out
# too. This is the `View` of chapter 01 with a smaller window, and with padding at its border in
# place of a mirror.

# %%
labelled_samples = [data.labelled.sample(i)
                    for i in range(len(data.labelled))]
sample = max(labelled_samples, key=lambda one: len(one.boxes))
size, classes = sample.mask.shape, len(data.classes)
# stands in for stored logits: truth, at stride 4
coarse = sample.mask[2::4, 2::4]
coarse = np.where(coarse == VOID, 0, coarse)
sure = (8 * (coarse == np.arange(classes)[:, None, None])).astype(np.float32)

crop = min(size) // 16 * 16
draws = np.random.default_rng(104).random((3, batches.DRAWS))
views = [draw_view(size, ViewConfig(crop, (0.6, 1.4)), one) for one in draws]

# %%
def shown(view: View, logits: np.ndarray) -> np.ndarray:
    """Labels of stored logits (C, h, w) in a view, at its size; padding
    void."""
    label = view.logits(logits).argmax(axis=0).repeat(4, 0).repeat(4, 1)
    return np.where(view.inside(), label, VOID).astype(np.uint8)


def in_boxes(maps: np.ndarray) -> np.ndarray:
    """Box maps (C, H, W) as one map of ids; the higher id where boxes
    overlap."""
    ids = np.arange(len(maps))[:, None, None]
    return (ids * maps).max(axis=0).astype(np.uint8)


# %%
whole = View(size, size, top=0, left=0, size=(crop, crop))
every = [whole, *views]
figure = plots.gallery(
    {
        "picture": [view.image(sample.image) for view in every],
        "in boxes": [in_boxes(view.box_maps(sample.boxes, classes))
                     for view in every],
        "mask": [view.mask(sample.mask) for view in every],
        "stored logits": [shown(view, sure) for view in every],
        "inside": [view.inside() for view in every],
    }, data.classes,
    rows_titles=["as it is", *(f"{v.scaled[0] / v.source[0]:.2f} "
                               f"x{', flipped' * v.flip}" for v in views)],
)
plots.show(
    figure,
    alt="A picture as it is and three random views of it, enlarged, "
    "shrunk or mirrored. Beside each view lie the pixels in its "
    "boxes, its mask, its stored logits' labels and the part that "
    "shows the picture. Boxes, mask and labels follow the objects; "
    "padding is void.",
)

# %% [markdown]
# **What to notice.** The boxes cover the same objects in every row. The labels of the logits are
# coarse, and lie where the mask lies. Looking is good; counting is better.

# %% tags=["nbval-check-output"]
agreements = []
for view in views:
    labels, truth = shown(view, sure), view.mask(sample.mask)
    counted = truth != VOID
    agreements.append((labels == truth)[counted].mean())
    assert (truth[~view.inside()] == VOID).all()
print("padding is void in every view:             ", True)
print("labels of the logits agree with the masks:", min(agreements) > 0.85)

# %% [markdown]
# ## DeepLabv3+ in the open
#
# The network is DeepLabv3+ [(Chen et al., 2018)](references.md#chen2018deeplab). A pretrained
# **encoder** makes features at stride 4 and at stride 16. **ASPP** looks at the deep ones at
# several distances at once. The **decoder** joins both at stride 4. Boxes enter *after* the
# encoder, in two places. So the pretrained weights keep seeing what they were made for: pictures.
# At each place the box maps $b$ become an attention map for every channel, which multiplies the
# features:
#
# $$
# a_s = \sigma\big(\mathrm{conv}_{3 \times 3}(\mathrm{resize}_s(b))\big), \qquad
# f'_s = a_s \odot f_s. \tag{E1}
# $$
#
# It is (E1) of `semiseg_lib/methods/self_correcting/method.py`, at the two places $s$.

# %% tags=["nbval-check-output"]
config = ModelConfig(architecture="deeplab", encoder="tf_efficientnet_lite0",
                     decoder_width=64)
torch.manual_seed(0)
network = models.build(
    config, 7, box_channels=7, attention=self_correcting.BoxAttention
).eval()
generator = torch.Generator().manual_seed(0)
images = torch.rand(2, 3, 128, 160, generator=generator)
box_maps = (torch.rand(2, 7, 128, 160, generator=generator) > 0.5).float()

# %% tags=["nbval-check-output"]
with torch.no_grad():
    low, deep = network.encoder(images)
    pooled = network.aspp(deep)
    seen, seen_low = network.attend_deep(
        pooled, box_maps
    ), network.attend_low(low, box_maps)
    skip = network.project(seen_low)
    large = functional.interpolate(seen, size=skip.shape[-2:],
                                   mode="bilinear")
    logits = network.head(network.decoder(torch.cat([large, skip], dim=1)))
    same = torch.allclose(logits, network(images, box_maps), atol=1e-5)

for name, tensor in {"pictures": images, "low, stride 4": low,
                     "deep, stride 16": deep, "after ASPP": pooled,
                     "skip": skip, "logits, stride 4": logits}.items():
    print(f"{name:<18} {tuple(tensor.shape)}")
print("by hand = network: ", same)

# %% [markdown]
# | Symbol | In code | Shape |
# |---|---|---|
# | $x$ | `images` | `(B, 3, H, W)` in [0, 1]; the encoder normalises |
# | $b$ | `box_maps` | `(B, C, H, W)` of 0 and 1, background included |
# | $f$ | `pooled`, `low` | `(B, 64, H/16, W/16)`, `(B, 24, H/4, W/4)` here |
# | $f'$ | `seen`, `seen_low` | as $f$ |
# | $\ell$ | `logits` | `(B, C, H/4, W/4)` |

# %% [markdown]
# > **For practitioners.** The encoder's weights come in three ways: from timm's *hub* (a download,
# > once), from a *file* that you bring, or from the Python *package* that this book installs for
# > EfficientNet-Lite0 [(Tan and Le, 2019)](references.md#tan2019efficientnet). Where one fails, the
# > message names the others.

# %% [markdown]
# ## All stages, live
#
# On VOC all stages, from the baseline to the comparison, are one command. It continues where it was
# stopped, and loads what is done:
#
# ```bash
# semiseg pipeline --dataset voc --root DIR --profile gpu --seed 11 --workers 8
# ```
#
# > **For practitioners.** `accelerate launch --num_processes 2 -m semiseg_lib train primary …` and
# > `torchrun` train on several devices. A batch is a batch *of all processes together*, so their
# > number changes the minutes and not the recipe. If you change the batch, the rate follows in
# > proportion [(Goyal et al., 2017)](references.md#goyal2017large). A run with large batches prints
# > how much memory it needs before it starts. It leaves a folder named after its recipe and the
# > digests of all that it read, so another option or one changed picture is another run. `kill -9`
# > costs at most the time since the last checkpoint.
#
# Now the stages on the pictures at hand, for a few dozen steps.

# %% tags=["nbval-ignore-output"]
STAGES = ("train_supervised", "train_ancillary", "train_primary")


def with_steps(steps: dict[str, int]) -> recipes.Profile:
    """The profile on the pictures at hand: small crops, and so many steps per
    stage."""
    trains = {stage: replace(getattr(profile, stage), steps=max(count, 2),
                             validate_every=0)
              for stage, count in steps.items()}
    augment = replace(profile.augment, crop=64, scale=scale)
    return replace(profile, data=pictures, augment=augment, **trains)


# %% [markdown]
# The table has what each stage cost on this machine, and no scores.

# %% tags=["nbval-ignore-output"]
small = with_steps(
    {stage: getattr(profile, stage).steps // 12 for stage in STAGES}
)
runs = {
    "supervised": story.supervised(small, seed),
    "ancillary": story.ancillary(small, seed),
    "primary, linear": story.primary(small, seed),
}
trained = {name: resolve(run, machine) for name, run in runs.items()}
store = resolve(story.logits(small, seed), machine)
print(f"stored logits: {len(store)} pictures, "
      f"{store.bytes_per_image / 1000:.1f} kB each")
tables.results_table([
    {"stage": name, "steps": str(one.run.train.steps),
     "images a second": studies.scores.cost(one)["images a second"]}
    for name, one in trained.items()
], plain=["images a second"])

# %% [markdown]
# ### What the boxes do inside
#
# The ancillary's box attention can be looked at. For one view, the next cell computes the maps
# of the low-level skip, and shows the two channels whose maps differ most over the picture. Each
# map is stretched to its own range, which is written above it.

# %% tags=["nbval-ignore-output"]
batch = Loader(data.labelled, None, 8, 0, small.augment,
               seed).batch(0).labelled
pick = int(batch.box_maps[:, 1:].flatten(2).any(dim=2).sum(dim=1).argmax())
attend = trained["ancillary"].method.cpu().network.attend_low
with torch.no_grad():
    boxes_low = functional.interpolate(batch.box_maps[[pick]],
                                       scale_factor=0.25, mode="area")
    maps = attend.convolution(boxes_low).sigmoid()[0]
spread = maps.amax(dim=(1, 2)) - maps.amin(dim=(1, 2))
channels = spread.argsort(descending=True)[:2].tolist()


def stretched(values: Tensor) -> np.ndarray:
    """Values (h, w) from 0 to 1."""
    low, high = values.min(), values.max()
    return ((values - low) / (high - low).clamp(min=1e-6)).numpy()


# %%
picture = (255 * batch.images[pick]).round().to(torch.uint8).numpy()
figure = plots.gallery(
    {
        "view": [picture],
        "in boxes": [in_boxes(batch.box_maps[pick].numpy())],
        **{f"{maps[c].min():.2f} to {maps[c].max():.2f}": [stretched(maps[c])]
           for c in channels},
    }, data.classes,
)
plots.show(
    figure,
    alt="A view of a picture, the pixels that lie in its boxes by class, and "
    "two attention maps of the ancillary at a quarter of the resolution. "
    "The maps follow the boxes' rims, and are flat inside a box, at a "
    "level that depends on its class.",
)

# %% [markdown]
# **What to notice.** An attention map is flat inside a box and bends at its rims, for all that it
# reads are boxes. Its level depends on the class: a channel can be turned up for one class and
# down for another. It knows nothing of the picture, so an object's outline must come from the
# features that it multiplies. After so few steps no map is far from one half, where all start.
#
# ### The counter-example: one heat map
#
# A public
# [re-implementation](https://github.com/youcefgheffari3/semi-supervised_segmentation_approach) uses
# a U-Net with four input channels: the picture, and one map that is 1 inside any box. That says
# *where* but not *which*.
#
# **Predict first.** On drawn pictures, U-Net, a short training: how much worse is it than one
# map for each class?
#
# <details><summary>Answer</summary>
#
# By about 33 points of mIoU in our runs: 82 % with a map per class, 50 % with the heat map. With
# the heat map the few masks still have to teach which class it is, and there the supervised model
# of chapter 03 is weak. It stays below that model after its full training (56 % on these pictures).
#
# </details>

# %% tags=["nbval-ignore-output"]
drawn = recipes.for_dataset("minivoc")
drawn = drawn.get(profile.name, drawn["laptop"])
short = replace(drawn.train_ancillary,
                steps=max(drawn.train_ancillary.steps // 4, 2))


def validated(boxes: str, s: int) -> float:
    """mIoU in percent on the validation pictures of an ancillary that sees
    boxes this way."""
    way = replace(
        drawn, ancillary=methods.AncillaryConfig(boxes=boxes),
        train_ancillary=short,
    )
    trained = resolve(story.ancillary(way, s), device)
    return studies.percent(trained.evaluate("val"))


scores = {boxes: [validated(boxes, s) for s in drawn.seeds]
          for boxes in ("class maps", "heat map")}

# %%
figure = plots.dots_with_intervals(
    scores, "mIoU of the ancillary on validation pictures (%)"
)
plots.show(
    figure,
    alt="Two rows of dots, one dot per seed, with mean and interval: the "
    "mIoU of an ancillary that sees one map for each class, and of one that "
    "sees a single heat map.",
)
gap = np.subtract(scores["class maps"], scores["heat map"])
checks.claim("class-maps-beat-heat-map", gap, drawn.asserts_claims)

# %% [markdown]
# The class is most of what a box has to tell.
#
# ## Your own pictures
#
# Look at the labels before you train. Wrong ids are a frequent complaint in public repositories
# ([one](https://github.com/Haochen-Wang409/U2PL/issues/13),
# [another](https://github.com/hszhao/semseg/issues/29)), and they cost no error message, only
# points:
#
# ```bash
# semiseg data audit voc --root DIR          # ids, sizes, missing files, leaks between lists
# semiseg data audit folder --root PICTURES  # your own: images/, some masks, some boxes, or nothing
# semiseg data split voc --labelled 200 --seed 1 --out lists/mine.txt --root DIR
# semiseg pipeline --dataset voc --root DIR --published lists/mine.txt
# ```
#
# A folder of your own needs no masks for its unlabelled pictures. `semiseg data voc`,
# `cityscapes` and `camvid` fetch a dataset, or say how to get it. `--published` reads the split
# lists of other repositories as they are: two columns, leading slashes, or bare names.

# %% [markdown]
# Here is what it says of a dataset with three faults: in a copy of some drawn pictures, the ids of
# one mask are shifted, one mask is resized, and one picture is gone.

# %% tags=["nbval-ignore-output"]
world = minivoc.WORLDS["hurried"]
folder = minivoc.prepare(
    world, Sizes(labelled=24, unlabelled=16, val=16, test=16)
)
spoiled = work_root() / "chapter09"
shutil.rmtree(spoiled, ignore_errors=True)
shutil.copytree(folder, spoiled)
first, second, third = (
    sorted((spoiled / "SegmentationClass").glob("*.png"))[:3]
)
Image.fromarray(np.asarray(Image.open(first)) + 20).save(first)
Image.open(second).resize((32, 32), Image.Resampling.NEAREST).save(second)
(spoiled / "JPEGImages" / f"{third.stem}.jpg").unlink()

layout = datasets.devkit.voc_layout(spoiled, ("background", *world.classes))
for finding in datasets.audit.audit_layout(layout).findings:
    if finding.severity == "FAIL":
        print(finding, "\n")

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: the rate for your batch
#
# The published rate, 0.007, is meant for 16 pictures a step. Your GPU holds 6, and you add up
# the gradients of 2 passes. Write the rule, and say which rate that gives.
#
# [A solution](solutions/09_real_photographs.ipynb)

# %% tags=["exercise"]
def rate_for(rate: float, meant_for: int, pictures: int,
             passes: int) -> float:
    """The learning rate in proportion to the pictures of one optimiser
    step."""
    raise NotImplementedError("your turn")


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
# ### 2. Implement: a box goes along
#
# A view is made in this order: resize the picture from `view.source` to `view.scaled` (height,
# width), cut a window of `view.size` (height, width) whose corner is at `view.top`, `view.left`,
# and mirror it if `view.flip`. Move boxes `(x0, y0, x1, y1)` along, and clip them to the view. The
# check compares the pixels that your boxes cover with the library's box maps of the view.
#
# [A solution](solutions/09_real_photographs.ipynb)

# %% tags=["exercise"]
def moved_boxes(coordinates: np.ndarray, view: View) -> np.ndarray:
    """Boxes (N, 4) as x0, y0, x1, y1 in the view's pixels."""
    raise NotImplementedError("your turn")


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
# ### 3. Investigate: how large is the store?
#
# VOC with SBD has 10,582 pictures, typically 375 by 500, and 21 classes. A public
# [re-implementation](https://github.com/youcefgheffari3/semi-supervised_segmentation_approach)
# writes float32 logits of 256 by 256 for each picture. Ours have stride 4, and for photographs one
# byte each. How many bytes does a picture take, and how many times less?
#
# [A solution](solutions/09_real_photographs.ipynb)

# %% tags=["exercise"]
def stored_bytes(height: int, width: int, classes: int, stride: int,
                 bytes_each: int) -> int:
    """The size of one picture's logits, (C, ceil(H/stride),
    ceil(W/stride))."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("9.3"):
    ours = stored_bytes(375, 500, 21, 4, 1)
    raw = stored_bytes(256, 256, 21, 1, 4)
    checks.same([ours, raw], [246_750, 5_505_024])
    print(f"a picture: {ours / 1e6:.2f} MB against {raw / 1e6:.2f} MB, "
          f"{raw / ours:.0f} times less")
    print(f"all:       {10_582 * ours / 1e9:.1f} GB against "
          f"{10_582 * raw / 1e9:.1f} GB")

# %% [markdown]
# ## Quiz
#
# **1.** You train on two GPUs instead of one. What must you change in the configuration?
#
# <details><summary>Answer</summary>
#
# Nothing. The batch is counted over all processes, so the steps and the rate stay. Only its
# size must be divisible by the number of processes.
#
# </details>
#
# **2.** Why is padding void in the mask of a labelled view, and masked out of the unlabelled loss?
#
# <details><summary>Answer</summary>
#
# There is no picture there. A label of "background" would teach the network to recognise the
# padding colour; stored logits repeat their edge there and are no opinion about anything.
#
# </details>
#
# **3.** One run with one seed: linear correction is ahead of none by 0.8 points. What do you write?
#
# <details><summary>Answer</summary>
#
# That the runs work, and both numbers with "one seed". You cannot tell which is better.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - Photographs change the reader, the network and the window of a view, not the method: a profile
#   is data, and the data sets, loaders, views and stages are those of the drawn pictures.
# - The published recipe has gaps. The table names the source of each value; the book's choices
#   are marked as such.
# - Mask, boxes and stored logits follow their picture through every view; padding is void.
# - Boxes enter after the pretrained encoder. Class by class they are worth far more than as one
#   heat map: about 33 points on drawn pictures.
# - A batch is counted over all processes, and the rate follows the batch.
#
# ## What can go wrong
#
# - **Out of memory.** Halve the batch and set `--train.accumulate 2`; the step stays the same.
#   Batch normalisation then sees smaller batches.
# - **The hub cannot be reached.** Take the weights from the package or from a file.
# - **Scores far too low.** `semiseg data audit`: are the ids what you think they are?
#
# ## Next
#
# [Convolutional self-correction](10_convolutional_self_correction.ipynb) replaces the formula by a
# small network that learns when to trust whom.
#
# ## References
#
# The method: [Ibrahim et al. (2020)](references.md#ibrahim2020selfcorrecting). The network:
# [Chen et al. (2018)](references.md#chen2018deeplab). The pictures:
# [Everingham et al. (2015)](references.md#everingham2015voc), and
# [Hariharan et al. (2011)](references.md#hariharan2011sbd) for the masks of the unlabelled ones.
# The scaling rule: [Goyal et al. (2017)](references.md#goyal2017large).
