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
# # Context-aware consistency
#
# *Should a pixel's feature depend on where the crop ends?*
#
# After this chapter you can
#
# - measure how much a prediction changes when nothing but its surroundings does;
# - cut two crops so that their features can be compared cell by cell;
# - write a contrastive loss on pixels, and say what its temperature, direction and filter do;
# - keep its memory bounded;
# - name the control without which such a method proves nothing.
#
# **You need** the supervised baseline of [chapter 03](03_supervised_baseline.ipynb), and strong
# views and thresholds from [chapter 12](12_consistency.ipynb).
#
# **Minutes**: under one in the `smoke` profile. In the `laptop` profile about one the first time,
# less once the runs are on disk.

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
seed = 11  # whose model is looked into and trained further
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

# %% tags=["nbval-ignore-output"]
from semiseg_lib import (
    Boxes, Loader, VOID, chapter, checks, cross_entropy, enlarge, methods,
    paired_interval, plots, published, recipes, resolve, semi_supervised,
    studies, tables, widgets,
)
from semiseg_lib.methods.cac import crop_pairs, method as cac

profile = chapter.begin("14_context_aware_consistency", profile, device)

# %% [markdown]
# ## The result first
#
# **CAC**, directional context-aware consistency [(Lai et al., 2021)](references.md#lai2021cac),
# looks at two overlapping crops of an unlabelled picture and pulls the *features* of their common
# pixels together. It asks for no hard label of an unlabelled pixel, and the classifier never learns
# from one.
#
# The scores are **records**, made in the laptop profile: 24 masks, and as many further steps for
# every row. **Masks alone, CAC's crops** sees the masks through the same crops and nothing else. It
# is the control that this method needs.

# %%
ARMS, scores = {}, {}
together = studies.read_together(
    ("unlabelled", "context"), recipes.load("laptop")
)
for study, records in together.items():
    print(f"{study}:", records.made_with)
    for arm, recipe in studies.STUDIES[study].items():
        if records.seeds(arm):
            ARMS[arm] = recipe.text
            scores[arm] = dict(zip(records.seeds(arm), records.scores(arm),
                                   strict=True))
print("seeds:", {ARMS[arm]: [*scores[arm]] for arm in ("longer", "cac")
                 if arm in scores})

# %%
wanted = ("longer", "crops alone", "cac", "strong", "fixmatch")
shown = [arm for arm in wanted if arm in scores]
figure = plots.dots_with_intervals(
    {ARMS[arm]: list(scores[arm].values()) for arm in shown},
    "mIoU on the test pictures (%)"
)
plots.show(
    figure,
    alt="Rows of dots, one dot a seed, with mean and interval: the test mIoU "
    "of training on masks for longer, of the same on crops, of CAC, of "
    "masks with strong views, and of FixMatch.",
)


# %%
def compared(*pairs: tuple[str, str]) -> list[dict]:
    """The differences in test mIoU of pairs of arms, paired by seed, as far
    as recorded."""
    lines = []
    for one, other in pairs:
        seeds = sorted(scores.get(one, {}).keys() & scores.get(other, {})
                       .keys())
        if len(seeds) < 2:
            continue
        found = paired_interval(
            *([scores[arm][s] for s in seeds] for arm in (one, other))
        )
        lines.append({
            "trained with": ARMS[one], "compared with": ARMS[other],
            "seeds": str(len(seeds)), "points": f"{found.mean:+.1f}",
            "95 % interval": f"{found.low:+.1f} to {found.high:+.1f}",
            "verdict": found.verdict,
        })
    return lines or [{"trained with": "no records yet"}]


# %%
tables.results_table(compared(
                         ("crops alone", "longer"), ("cac", "crops alone"),
                         ("cac", "longer"), ("cac", "strong"),
                         ("cac", "fixmatch"),
                     ))

# %%
both = scores["cac"].keys() & scores["crops alone"].keys()
gain = [scores["cac"][s] - scores["crops alone"][s] for s in sorted(both)]
checks.recorded("cac-beats-its-crops", gain)

# %% [markdown]
# **What to notice.** A crop is a view of its own: another place, another frame. So the first row
# asks what crops do for the *masks*. Only the second row is owed to the unlabelled pictures. The
# last two compare whole methods that differ in many things at once. Read them as "which would I
# rather run", and not as "which idea is better". One such thing: CAC changes the colours of its
# unlabelled crops only, as published. What strong colours do for masks, *masks alone, strong views*
# shows; CAC leaves that unused. (*CAC* and *CAC's crops* were recorded in one study, the other arms
# in another. The same arm, recorded twice, may differ by about a point.)

# %% [markdown]
# ## One pixel, two surroundings
#
# Take the supervised model and the validation pictures. Cut two overlapping crops of each. Colours
# stay as they are. In the overlap both crops show exactly the same pixels, so the model is asked
# the same question twice. Only what lies *around* these pixels differs.
#
# **Predict first.** In how many of these pixels do the two answers differ? Where would you look for
# them?

# %%
start = resolve(semi_supervised.supervised(profile, seed), device)
data, options = start.data, profile.unlabelled["cac"]
plain, truth = data.val.images, data.val.masks.long()

rng = np.random.default_rng([seed, 14])
pair = crop_pairs.draw_pair(
    plain, options.crop, options.stride, rng, overlap=options.overlap
)
# The same pixels, as places in either crop.
first, second = crop_pairs.shared_cells(*pair, stride=1)
print("pictures:", tuple(plain.shape), " crops:", pair[0].size)
print(f"pixels that both crops show: {len(first):,}, "
      f"{len(first) / truth.numel():.0%} of all")


# %%
@torch.inference_mode()
def beliefs(network: nn.Module, images: Tensor) -> Tensor:
    """Probabilities in every pixel of pictures uint8 (N, 3, H, W):
    (N, H, W, C)."""
    place = next(network.parameters()).device
    return torch.cat([
        enlarge(network.eval()(some.to(place).float() / 255), some.shape[-2:])
        .softmax(dim=1).movedim(1, -1).cpu() for some in images.split(50)
    ])


# %%
def twice(method: nn.Module) -> dict[str, Tensor]:
    """Label and confidence of every common pixel in either crop, and the
    truth: (M,)."""
    found = {"truth": pair[0](truth).flatten()[first]}
    for name, crops, places in zip(("one", "two"), pair, (first, second),
                                   strict=True):
        every = beliefs(method, crops(plain)).flatten(0, 2)
        sure, label = every[places].max(dim=1)
        found |= {f"label {name}": label, f"confidence {name}": sure}
    return {name: values[found["truth"] != VOID]
            for name, values in found.items()}


seen = twice(start.method.network)
differ = seen["label one"] != seen["label two"]
print(f"another class in the other crop: {differ.float().mean():.1%} of the "
      "common pixels")

# %% [markdown]
# How far is a pixel from the place where its surroundings were cut off? Take the crop in which it
# is nearer to a cut, and count pixels. (A side of the crop that is also the picture's own border
# cuts nothing off.)

# %%
def room(crops: crop_pairs.Crops, places: np.ndarray) -> np.ndarray:
    """Pixels between a place of a crop and the nearest side that cuts the
    picture: (M,)."""
    height, width = crops.size
    number, row, column = np.unravel_index(
        places, (len(crops.corners), height, width)
    )
    top, left = crops.corners[number].T
    below, right = (
        side - own
        for side, own in zip(truth.shape[1:], crops.size, strict=True)
    )
    cut = [
        (top > 0, row), (left > 0, column), (top < below, height - 1 - row),
        (left < right, width - 1 - column)
    ]
    return np.min([np.where(is_cut, far, 99) for is_cut, far in cut], axis=0)


# %%
known = (pair[0](truth).flatten()[first] != VOID).numpy()
distance = np.minimum(room(pair[0], first), room(pair[1], second))[known]
steps = [(low, (distance >= low) & (distance < low + 4))
         for low in range(0, 28, 4)]
figure = plots.curves(
    {"another class": [(low + 2, 100 * float(differ.numpy()[where].mean()))
                       for low, where in steps if where.sum() > 200]},
    "distance to the nearest cut (pixels)", "common pixels (%)",
)
plots.show(
    figure,
    alt="The share of common pixels that get another class in the other "
    "crop, against the distance to the nearest side at which one of "
    "the crops cuts the picture.",
)

# %% [markdown]
# A pixel's class is a fact about the picture. It does not depend on where somebody happened to cut.
# Wherever the answers differ, at least one is wrong, and no mask was needed to see that. You know
# the argument from chapters 12 and 13; there other colours and another network brought it about,
# here other surroundings do.
#
# Surroundings are **useful**, too: a wheel helps to tell that the red patch is a car. So a model
# should use them, and yet not hang on them. No loss can ask for both outright. CAC asks for the
# second and leaves the first to the masks.

# %% [markdown]
# ## Crops that fit
#
# A network gives one feature for a **cell** of pixels. To compare the features of two crops, their
# cells must show the same pixels. So corners lie at multiples of the cell's side, the **stride**. A
# mirrored crop is no obstacle: its cells are counted from the other side.
#
# The second corner is drawn anew until intersection over union reaches a least value; after 50
# failures the second crop lies where the first one does. A small overlap means very different
# surroundings for few cells, a large one the reverse. For crops $A_1$, $A_2$, a least overlap $o$ and
# the stride $s$:
#
# $$
# \mathrm{IoU}(A_1, A_2) \ge o, \qquad \text{corners of } A_1, A_2 \text{ at multiples of } s.
# \tag{E1}
# $$
#
# The numbers are those at the head of `semiseg_lib/methods/cac/method.py`.

# %%
train = profile.train_unlabelled
loader = Loader(
    data.labelled.without_boxes(), data.unlabelled.without_boxes(),
    train.batch_labelled, train.batch_unlabelled, profile.augment, seed,
)
batch = loader.batch(step=0)
torch.manual_seed(seed)
method = methods.build(options, profile.model, len(data.classes))
method.load_start([start.method])
rng = np.random.default_rng(batch.seed)
(one, two), (view_one, view_two) = method.draw(batch.unlabelled, rng)


def framed(number: int) -> Boxes:
    """Both crops of a picture as boxes; their classes only serve as two
    colours."""
    corners = np.stack([crops.corners[number][::-1] for crops in (one, two)])
    sides = np.hstack([corners, corners + one.size[::-1]])
    return Boxes(sides.astype(np.float32), np.array([1, 2]))


def pixels(images: Tensor) -> np.ndarray:
    """Pictures of a batch, floats in [0, 1], as uint8 for drawing."""
    return (255 * images).round().to(torch.uint8).numpy()


# %%
several = range(min(4, len(batch.unlabelled.images)))
figure = plots.gallery(
    {"unlabelled": pixels(batch.unlabelled.images)[: len(several)],
     "crop 1": pixels(view_one.images)[: len(several)],
     "crop 2": pixels(view_two.images)[: len(several)]},
    data.classes, boxes=[framed(number) for number in several], legend=False,
)
plots.show(
    figure,
    alt="Unlabelled pictures with two overlapping rectangles, and beside "
    "each the two crops as the network gets them: in colours of their "
    "own, some of them mirrored.",
)
for n in several:
    share = crop_pairs.shared_share(one.corners[n], two.corners[n], one.size)
    mirrored = [k for k, crops in enumerate((one, two), 1)
                if crops.flipped[n]]
    print(f"picture {n + 1}: intersection over union {share:.2f}, "
          f"mirrored crops: {mirrored}")

# %% [markdown]
# Crop 1 is framed in orange, crop 2 in blue. Is the bookkeeping right? Let a "network" answer that
# knows only *where* it is: the features of a cell are the mean row and column of its pixels in the
# uncropped picture. If cells are matched as they should be, both crops' features are equal, to the
# last bit.

# %% tags=["nbval-check-output"]
places = torch.stack(torch.meshgrid(*map(torch.arange, (64, 64)),
                                    indexing="ij")).double()
places = places.expand(8, 2, 64, 64)
crops = crop_pairs.draw_pair(
    places, 0.75, 4, np.random.default_rng(14), flip=0.5
)
numbers = crop_pairs.shared_cells(*crops, stride=4)
cells = [
    nn.functional.avg_pool2d(each(places), 4).movedim(1, -1)
    .flatten(0, 2)[where] for each, where in zip(crops, numbers, strict=True)
]
print("mirrored, crop 1:", crops[0].flipped.sum(), " crop 2:",
      crops[1].flipped.sum())
print("common cells:", len(numbers[0]), " all at the same place:",
      torch.equal(*cells))

# %% [markdown]
# Exercise 1 shows what becomes of this when corners may lie anywhere.
#
# ## The loss
#
# For a cell that both crops show, let $f_1$, $f_2$ be its features (unit vectors from a small
# **projector** that is thrown away after the training), $\hat y_1$, $\hat y_2$ its most likely
# classes and $c_1$, $c_2$ their probabilities. With $z$ for the decoder's features and $g$ for the
# classifier, cell $i$ has
#
# $$
# f_i = \mathrm{normalise}\big(\mathrm{projector}(\mathrm{mean}_i\, z)\big), \quad
# a_i = \mathrm{mean}_i\, g(z), \quad \hat y_i = \arg\max_k a_{i,k}, \quad
# c_i = \max_k\, \mathrm{softmax}_k(a_i). \tag{E2}
# $$
#
# A cell moves if the other crop is sure, and surer:
#
# $$
# M_1 = [\,c_2 > \gamma \,] \wedge [\, c_1 < c_2 \,]. \tag{E3}
# $$
#
# The features of cells $n$ of *both crops of all pictures* of the step, and of $b$ earlier steps, are
# **negatives** unless they are taken for the same class:
#
# $$
# \ell_1 = -\log \frac{P}
# {P + \sum_{n \in \mathrm{Neg}:\, \hat y_n \neq \hat y_1} \exp(f_1 \cdot f_n / \tau)},
# \qquad P = \exp(f_1 \cdot f_2 / \tau), \tag{E4}
# $$
#
# $$
# \mathrm{Neg} = \text{cells drawn from } A_1, A_2 \text{ of all pictures, of this step and of the }
# b \text{ before.} \tag{E5}
# $$
#
# Here $\tau$ is a temperature and $\gamma$ the threshold that chapter 12 calls $\tau$.
# $\ell_2$ and $M_2$ are the same with the crops exchanged, and
#
# $$
# L = \mathrm{CE}(y, p(x)) + w\,(\mathrm{mean}_{M_1} \ell_1 + \mathrm{mean}_{M_2} \ell_2). \tag{E6}
# $$
#
# In $\ell_1$ only $f_1$ takes a gradient: the **less sure** cell moves to the surer one.
#
# | in the text | in code | shape |
# |-|-|-|
# | the crops | `view_one.images`, `view_two.images` | `(B_U, 3, h, w)` |
# | $f$ of all cells | `cells.vectors` | `(N, D)` |
# | $\hat y$, $c$ of all cells | `cells.labels`, `.confidence` | `(N,)`, `(N,)` |
# | common cells | `shared_cells(one, two, stride)` | two lists of places `(M,)` |
# | $\tau$, $\gamma$, $w$ | `options.temperature`, `.threshold`, `.weight` | numbers |

# %% tags=["inline", "inline:semiseg_lib.methods.cac.method.contrast"]
def contrast(
    anchors: Tensor,
    positives: Tensor,
    labels: Tensor,
    negatives: Tensor,
    negative_labels: Tensor,
    temperature: float,
    filtered: bool = True,
) -> Tensor:
    """-log e^(a . p / tau) / (e^(a . p / tau) + sum over n of e^(a . n /
    tau)): (N,)."""
    anchors = anchors / temperature
    near = (anchors * positives).sum(dim=1, keepdim=True)
    left_out = negative_labels == VOID
    if filtered:
        left_out = left_out | (negative_labels == labels[:, None])
    far = anchors @ negatives.T - 1e9 * left_out
    logits, first = torch.cat([near, far], dim=1), torch.zeros_like(labels)
    return nn.functional.cross_entropy(logits, first, reduction="none")


# %% tags=["inline", "inline:semiseg_lib.methods.cac.method.moving"]
def moving(mine: Tensor, other: Tensor, config: methods.CACConfig) -> Tensor:
    """Which cells move, bool (N,), given their confidence and the other
    crop's, (N,)."""
    sure = other > config.threshold
    return sure & (mine < other) if config.directional else sure


# %% [markdown]
# A cell without any negative costs nothing, wherever its positive lies: there is nobody to be told
# apart from. And the loss is a cross-entropy in disguise: *which of these many vectors is the same
# pixel?* Now a whole step by hand, then the library's on the same batch.

# %%
method.train()
rng = np.random.default_rng(batch.seed)  # draws in the library's order
cut = crop_pairs.draw_crops(
    batch.labelled.images, options.crop, options.stride, rng
).cut(batch.labelled)
(one, two), (view_one, view_two) = method.draw(batch.unlabelled, rng)

images = torch.cat([cut.images, view_one.images, view_two.images])
features = method.network.decode_features(method.network.encode(images))
logits = method.network.head(features)
with_masks, grid = len(cut.images), [
    side // options.stride for side in one.size
]

pooled = nn.functional.adaptive_avg_pool2d(features[with_masks:], grid)
# (N, D), unit length
f = method.projector(pooled).movedim(1, -1).flatten(0, 2)
pooled = nn.functional.adaptive_avg_pool2d(logits[with_masks:].detach(), grid)
c, y = (each.flatten() for each in pooled.softmax(dim=1).max(dim=1))
drawn = rng.choice(len(f), min(options.negatives, len(f)), replace=False)
print("cells of this step:", len(f), " drawn as negatives:", len(drawn))

# %% tags=["nbval-check-output"]
first_one, first_two = crop_pairs.shared_cells(one, two, options.stride)
# the second crops come after the first ones
first_two = first_two + len(f) // 2
of_unlabelled = 0
for mine, other in ((first_one, first_two), (first_two, first_one)):
    losses = contrast(
        f[mine], f[other].detach(), y[mine], f[drawn].detach(), y[drawn],
        options.temperature
    )
    moves = moving(c[mine], c[other], options)
    of_unlabelled += (losses * moves).sum() / moves.sum().clamp(min=1)
by_hand = {"labelled": cross_entropy(logits[:with_masks], cut.masks),
           "unlabelled": options.weight * of_unlabelled}

for name, term in method.losses(batch, progress=0.5).items():
    print(f"{name} term equal:",
          torch.allclose(term, by_hand[name], rtol=1e-4))

# %% tags=["nbval-check-output"]
# so that cells move whatever the profile
everyone = replace(options, threshold=0.0)
moves = moving(c[first_one], c[first_two], everyone)
losses = contrast(
    f[first_one], f[first_two].detach(), y[first_one], f[drawn].detach(),
    y[drawn], options.temperature, filtered=False,
)
reached = torch.autograd.grad(
    (losses * moves).sum(),
    [method.projector[0].weight, method.network.head.weight],
    retain_graph=True, allow_unused=True,
)
print("the projector learns from it: ", bool(reached[0].abs().sum() > 0))
print("the classifier learns from it:", reached[1] is not None)

# %% [markdown]
# So the classifier is taught by the masks alone. What the unlabelled pictures do is arrange the
# features so that the classifier's few lessons carry further.
#
# ## Look at one cell
#
# Pick a cell in one of the crops: click it, move it with the arrow keys, or use the first slider.
# Striped cells are filtered: they were given the same label and push nothing away. Move the
# threshold $\gamma$ and watch who moves. Find a cell whose two labels differ, and see whether the
# right one wins.

# %%
def looked_at(trained: nn.Module, count: int = 4) -> widgets.CropPairExplorer:
    """The widget on some unlabelled pictures, seen by a trained network."""
    some = data.unlabelled.without_boxes().take(range(count))
    views = some.part(range(count))
    rng = np.random.default_rng([seed, 141])
    pair, parts = method.draw(views, rng)
    seeing = methods.build(options, profile.model, len(data.classes)).eval()
    seeing.network.load_state_dict(
        {k: v.cpu() for k, v in trained.state_dict().items()}
    )
    images = torch.cat([part.images for part in parts])
    with torch.no_grad():
        features = seeing.network.decode_features(
            seeing.network.encode(images)
        )
        inside = torch.ones_like(images[:, 0], dtype=torch.bool)
        cells = seeing.cells(features, seeing.network.head(features), inside)
    return widgets.CropPairExplorer(
        some.images.numpy(), pair, [pixels(part.images) for part in parts],
        cells, np.asarray(data.unlabelled_truth)[:count], data.classes,
        options.stride, options.threshold,
    )


looked_at(start.method.average.module)

# %% [markdown]
# ## Who is right?
#
# Two choices of CAC can be checked on pictures whose masks we have. **Direction**: the less sure
# cell moves. That helps if the surer one is right more often. **Filter**: cells of the same
# *predicted* class are no negatives. That helps if the true class of many would be the same.
#
# **Predict first.** Where the two crops disagree, how often is the surer one right: half of the
# time, two thirds, nine times in ten?

# %%
def agreement(found: dict[str, Tensor]) -> dict[str, float]:
    """What the surer and the less sure of two crops are right about, in
    percent."""
    right = torch.stack(
        [found[f"label {name}"] == found["truth"] for name in ("one", "two")]
    )
    surer_is_two = found["confidence one"] < found["confidence two"]
    surer, other = (torch.where(is_two, right[1], right[0])
                    for is_two in (surer_is_two, ~surer_is_two))
    apart = found["label one"] != found["label two"]
    return {
        "another class": 100 * float(apart.float().mean()),
        "there, surer one right": 100 * float(surer[apart].float().mean()),
        "less sure one right": 100 * float(other[apart].float().mean()),
        "neither": 100 * float((~surer & ~other)[apart].float().mean()),
    }


tables.results_table([{"model": "masks alone", **agreement(seen)}])

# %%
generator = np.random.default_rng([seed, 142])
sample = generator.choice(len(seen["truth"]), min(2000, len(seen["truth"])),
                          replace=False)
labels, truths = seen["label one"][sample], seen["truth"][sample]
same_truth = truths[:, None] == truths
same_label = labels[:, None] == labels
tables.results_table([
    {"negatives": name,
     "share of all pairs": 100 * float(kept.float().mean()),
     "really of the same class": 100 * float(same_truth[kept].float().mean())}
    for name, kept in (("all other pixels", torch.ones_like(same_label)),
                       ("filtered by the predicted class", ~same_label))
])

# %% [markdown]
# All in percent. The first table says how good a judge confidence is where it is needed. The second
# one says what the filter removes: without it, a pixel of the background is pushed away from nearly
# all of the picture, which is background, too. The rest are errors of the predicted labels.
#
# What is the direction worth to the **training**, and what the filter? Those are runs. *Both cells
# move*: each one that meets a sure counterpart, also the surer of two. *Not filtered*: every other
# cell is a negative.
#
# **Predict first.** Write down "better", "worse" or "cannot tell" for both rows.

# %%
tables.results_table(
    compared(("cac both ways", "cac"), ("cac unfiltered", "cac"))
)

# %% [markdown]
# Read the verdicts. If a row says that it cannot tell, the published ablation need not be wrong. It
# was made with other pictures and more classes, and an effect of one point hides easily behind a
# handful of seeds.
#
# ## Before and after
#
# Now train. To stay within the chapter's minute, this is a **short** run of at most 300 steps, and
# beside it the control: the same crops, the weight $w$ set to zero. The steps are part of a run's
# identity, so a short one never passes for a long one, and its score is not that of the records.
# What we want to see is whether features and labels come to depend less on the crop.

# %% tags=["nbval-ignore-output"]
short = replace(profile,
                train_unlabelled=replace(train, steps=min(300, train.steps)))
control = replace(options, weight=0.0)
runs = {
    "crops alone, short": semi_supervised.learn(short, seed, control),
    "CAC, short": semi_supervised.learn(short, seed, options),
}
trained = {"masks alone": start}
trained |= {name: resolve(run, device) for name, run in runs.items()}


# %%
@torch.inference_mode()
def cosines(network: nn.Module) -> dict[str, float]:
    """Mean cosines of decoder features: one cell in two crops, and pairs of
    other cells."""
    place, stride = next(network.parameters()).device, network.stride
    maps = []
    for crops in pair:
        images = crops(plain).to(place).float() / 255
        found = network.eval().decode_features(network.encode(images))
        unit = nn.functional.normalize(found, dim=1)
        maps.append(unit.movedim(1, -1).flatten(0, 2).cpu())
    cells = crop_pairs.shared_cells(*pair, stride)
    one, two = (maps[k][where] for k, where in enumerate(cells))
    classes = pair[0](truth)[:, ::stride, ::stride].flatten()[cells[0]]
    rng = np.random.default_rng([seed, 143])
    pick = rng.choice(len(one), min(1500, len(one)), replace=False)
    pick = pick[(classes[pick] != VOID).numpy() & (classes[pick] > 0).numpy()]
    products = one[pick] @ two[pick].T
    alike = classes[pick][:, None] == classes[pick]
    itself = torch.eye(len(pick), dtype=torch.bool)
    return {"the same cell": float(products[itself].mean()),
            "another of its class": float(products[alike & ~itself].mean()),
            "one of another class": float(products[~alike].mean())}


# %%
found = {name: cosines(run.method.network) for name, run in trained.items()}
tables.results_table([
    {"model": name, **{key: f"{value:.2f}" for key, value in means.items()}}
    for name, means in found.items()
])

# %% [markdown]
# Mean cosines between features of the two crops, for cells that show objects. Read a row as a
# whole. A model that gives every cell the same feature has three ones, and knows nothing. What
# counts is the *gap*: near to itself in the other crop, far from other classes.

# %%
tables.results_table([
    {"model": name, **agreement(twice(run.method.network)),
     "mIoU on whole pictures": 100 * run.evaluate("val").mean_iou}
    for name, run in trained.items()
])

# %% [markdown]
# One seed and short runs: an illustration. Compare the second and the third row. The crops as such
# may already make a model less dependent on its surroundings, and only the difference between the
# two rows is owed to the contrast.

# %%
history = trained["CAC, short"].history
figure = plots.curves(
    {name: [(entry["step"], entry[f"loss_{name}"]) for entry in history]
     for name in ("labelled", "unlabelled")},
    "training step", "loss",
)
plots.show(
    figure,
    alt="Two curves over the steps of the short training: the loss on the "
    "labelled crops and the weighted contrast of the unlabelled ones.",
)

# %% [markdown]
# The contrast does not go to zero. Its floor is set by the negatives: even a perfect match has
# thousands of rivals, and $\tau$ says how close they may come.

# %% [markdown]
# ## What it costs
#
# Every anchor is compared with every negative. Exercise 3 counts what that would take at full size.
# The library computes some rows at a time and throws them away; the backward pass computes them
# again (**checkpointing**). It takes longer and changes no number:

# %% tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(14)
vectors = nn.functional.normalize(torch.randn(1000, 16, generator=generator),
                                  dim=1)
ids = torch.randint(0, 5, (1000,), generator=generator)
anchors = vectors[:300].clone().requires_grad_()
found = []
for chunk in (300, 50):
    losses = cac.in_chunks(
        anchors, vectors[300:600], ids[:300], vectors[600:], ids[600:], 0.1,
        chunk=chunk,
    )
    found.append((losses, torch.autograd.grad(losses.sum(), anchors)[0]))
for name, whole, pieces in zip(("losses", "gradients"), *found, strict=True):
    print(f"{name} in pieces are the same:",
          torch.allclose(whole, pieces, atol=1e-5))

# %% [markdown]
# ## Other people's numbers
#
# Published mIoU of CAC and of some neighbours. The column *how sure* says where each line was read.

# %%
tables.results_table(published.unlabelled_rows(
    "voc blended", ("Mean Teacher", "CutMix-Seg", "CAC", "CPS", "CutMix-CPS")
))

# %%
wanted = ("masks alone", "CAC", "CutMix-CPS")
rows = published.unlabelled_rows("cityscapes", wanted)
tables.results_table([row for row in rows if row["encoder"] == "ResNet-50"])

# %% [markdown]
# In the second table a baseline on *masks alone*, from one paper, is on a level with CAC as another
# one reports it. Nobody need be wrong. Crop, epochs, backbone and scoring differ. It only shows
# that rows from different papers cannot be subtracted.
#
# Those who read the public code will want to know where ours differs.
# [The published recipes](recipes.md) lists all of it, and the source of each value. In theirs
#
# - negatives are drawn without replacement and in a **fixed number**. A batch with fewer cells ends
#   with an error, which one meets on a single card. Ours takes what there is;
# - cells that show **padding** have pseudo-labels like any other, and enter the bank. Ours are left
#   out;
# - an epoch has a **fixed number of steps**, whatever the lists. Who changes the lists changes what
#   "80 epochs" means;
# - processes exchange their negatives. Ours do not: each contrasts with its own pictures' cells.
#
# ```bash
# semiseg train cac --dataset minivoc --profile laptop
# semiseg train cac --dataset voc --profile gpu --root DIR        # on one graphics card
# semiseg train cac --dataset cityscapes --profile paper --root DIR
# semiseg study context --only cac "crops alone"
# ```
#
# On photographs views are cropped from pictures of any shape and may show padding. Cells that touch
# it are neither anchor nor positive nor negative.
#
# The numbers of the next table, marked †, were made by an earlier version of the library too.

# %%
variants, lines = studies.STUDIES["voc unlabelled"], []
wanted = ("100 supervised", "100 longer", "100 fixmatch", "100 cac")
try:
    photographs = studies.read("voc unlabelled",
                               recipes.load("laptop", "voc"))
    print(photographs.mark)
    lines = [{"100 masks": variants[row["arm"]].text + photographs.sign,
              "seed": str(row["seed"]), "VOC mIoU (%)": f"{row['test']:.1f}",
              "minutes": f"{row['minutes']:.0f}"}
             for row in photographs.rows if row["arm"] in wanted]
except FileNotFoundError as missing:
    print(missing)
tables.results_table(lines or [{"100 masks": "not run yet"}])

# %% [markdown]
# A reduced run with small crops, few steps and **one seed**. It shows that everything runs. It
# ranks nothing.

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: corners that are off the grid
#
# Corners may now lie at any pixel. The first crop's is at 0, the second's at $d$ pixels. Cells are
# $s$ pixels wide. How many pixels lie between the centre of a cell of the second crop and the
# nearest centre of a cell of the first?
#
# [A solution](solutions/14_context_aware_consistency.ipynb)

# %% tags=["exercise"]
def misfit(shift: int, stride: int) -> int:
    """Pixels between a cell's centre in one crop and the nearest centre in
    the other."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("14.1"):
    for shift, stride, expected in ((8, 4, 0), (2, 4, 2), (7, 8, 1),
                                    (13, 8, 3)):
        checks.same(misfit(shift, stride), expected)

# %% [markdown]
# With $d$ drawn evenly, the mean misfit is a quarter of a cell. The loss would ask a cell to look
# like its neighbour, and would do it most where neighbours differ: along outlines.
#
# ### 2. Implement: a contrast that survives
#
# Given one anchor's similarities, already divided by $\tau$: `near` to its positive, and `far`, a
# list, to its negatives. Return $-\log \frac{e^{near}}{e^{near} + \sum e^{far}}$. It must survive
# similarities of 1000 and an empty list. (First try it with `math.exp` as written, to see it fail.)
#
# [A solution](solutions/14_context_aware_consistency.ipynb)

# %% tags=["exercise"]
def safe_contrast(near: float, far: list[float]) -> float:
    """The contrastive loss of one anchor."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("14.2"):
    for near, far, expected in (
        (1.0, [], 0.0), (0.0, [0.0], np.log(2)), (2.0, [2.0] * 7, np.log(8)),
        (1000.0, [1000.0], np.log(2)), (-1000.0, [1000.0], 2000.0),
    ):
        checks.same(safe_contrast(near, far), expected)

# %% [markdown]
# ### 3. Investigate: what would all similarities weigh?
#
# A published Cityscapes step has 4 unlabelled pictures with two crops of 720 × 720 pixels each and
# cells of 8 pixels. Suppose the crops overlap by half of a crop's area and all cells of the step
# are negatives. How many gigabytes (10⁹ bytes, 4 a number) does **one** matrix of anchors times
# negatives take, for one direction? And how many rows of it at a time stay below 0.5 GB?
#
# [A solution](solutions/14_context_aware_consistency.ipynb)

# %% tags=["exercise"]
def matrix_gigabytes(pictures: int, side: int, stride: int,
                     shared: float) -> float:
    """One matrix of similarities in single precision, 10^9 bytes."""
    raise NotImplementedError("your turn")


def rows_below(limit: float, pictures: int, side: int, stride: int) -> int:
    """Anchors at a time whose similarities with all negatives take at most
    ``limit`` GB."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("14.3"):
    for shape, expected in {(4, 720, 8, 0.5): 4.19904,
                            (8, 320, 8, 0.5): 0.65536}.items():
        checks.same(matrix_gigabytes(*shape), expected)
    checks.same(rows_below(0.5, 4, 720, 8), 1929)

# %% [markdown]
# And that is one matrix. The loss keeps several of this size for the backward pass, for both
# directions.

# %% [markdown]
# ## Quiz
#
# **1.** A colleague sets `overlap=1`. What is left of CAC?
#
# <details><summary>Answer</summary>
#
# Both crops lie at the same place and differ in colour and mirror only. The surroundings are the
# same, so nothing is learnt about them. What remains is consistency under colours, on features.
#
# </details>
#
# **2.** Everything is predicted as background. What does the contrast teach?
#
# <details><summary>Answer</summary>
#
# Nothing: with the filter no negative is left, and each loss is 0. A cold start on unlabelled
# pictures alone would stay there. The masks have to break the silence.
#
# </details>
#
# **3.** Two crops disagree on a cell, and the surer one is wrong. What happens, and what can help?
#
# <details><summary>Answer</summary>
#
# The right feature is pulled towards the wrong one. The threshold helps if wrong cells are less
# sure; other crops of the same picture, in later steps, may vote the other way. The classifier at
# least is not taught the wrong label.
#
# </details>
#
# **4.** CAC beats "masks alone, longer". Is that owed to the unlabelled pictures?
#
# <details><summary>Answer</summary>
#
# Not yet. CAC's labelled pictures are crops, which is an augmentation of its own. Compare with the
# same crops and weight 0.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - The same pixels in two crops should get the same answer. Where they do not, one is wrong.
# - Crops on a common grid of cells let features be compared without resampling.
# - The less sure cell moves to the surer one, away from cells that are taken for another class.
# - The classifier learns from masks only. The unlabelled pictures arrange the features.
# - Direction and filter stand on the model's own beliefs, and are as good as these.
# - The control is the same crops without the contrast.
#
# ## What can go wrong
#
# - **Corners off the grid**, or a mirror that is not undone: neighbours are pulled together.
# - **A gradient through the positive.** Then both move, and the surer one gets worse.
# - **Negatives of the own class.** Most of a picture is background.
# - **A fixed number of negatives** that a small batch does not have.
# - **Padding among the cells.** All padding looks alike and is an easy match.
# - **Similarities in half precision.** Divided by $\tau = 0.1$, eight bits are off by percents.
# - **A bank that is written in evaluation mode**, or left out of the checkpoint from which an
#   interrupted run goes on.
#
# ## Next
#
# [Error localisation](15_error_localization.ipynb) asks a second network where the first one is
# wrong, in place of believing in its confidence.
#
# ## References
#
# CAC: [Lai et al. (2021)](references.md#lai2021cac). The contrast is InfoNCE
# [(van den Oord et al., 2018)](references.md#oord2018cpc), here with pixels as examples and labels
# as a filter. The averaged network that is deployed:
# [Tarvainen and Valpola (2017)](references.md#tarvainen2017meanteacher). The warm start, the number
# of steps and the 256 negatives of the laptop profile are this book's choices.
