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
# # The supervised baseline
#
# *How far do a handful of masks go on their own?*
#
# After this chapter you can
#
# - follow a picture through a small U-Net and give the shape at every station;
# - write a cross-entropy that leaves void pixels out and is never NaN;
# - write a training loop, and say what the library's loop adds to yours;
# - say what a moving average of weights does;
# - report a score over several seeds, and say what one seed cannot tell you.
#
# **You need** [chapter 02](02_measuring_segmentation.ipynb): confusion matrix, mIoU, void. The
# [glossary](glossary.md) has these and later words.
#
# **Minutes**: about 95 to read and do; the code takes 2 in `laptop`, 0.3 in `smoke`.

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
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib import (
    Data, VOID, chapter, checks, datasets, evaluate, experiments,
    mean_and_interval, methods, plots, predict, recipes, resolve,
    self_correction as story, studies, tables, training, work_root,
)

profile = chapter.begin("03_supervised_baseline", profile, device)

# %% [markdown]
# ## The result first
#
# In the laptop profile 24 pictures have masks. Nothing else is used in this chapter: no boxes, no
# further pictures. The model below learnt from those 24. We sort the test pictures by the share of
# pixels that it gets right and show one from near the top, one from the middle and one from near
# the bottom.

# %%
# loaded if this run is on disk, otherwise trained now
trained = resolve(story.supervised(profile, seed), device)
data, classes = trained.data, trained.classes


def picture_accuracy(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The share of non-void pixels that are right, picture by picture:
    (N, H, W) to (N,)."""
    known = truth != VOID
    return ((labels == truth) & known).sum((1, 2)) / known.sum((1, 2)).clip(1)


truth, labels = data.test.masks.numpy(), predict(trained.method, data.test)
from_worst = picture_accuracy(labels, truth).argsort(kind="stable")
shown = from_worst[
    [int(share * (len(from_worst) - 1)) for share in (0.95, 0.5, 0.05)]
]

# %%
views = {
    "picture": data.test.images[shown].numpy(),
    "truth": truth[shown],
    "from 24 masks": labels[shown],
    "wrong": (labels[shown] != truth[shown]) & (truth[shown] != VOID),
}
figure = plots.gallery(views, classes,
                       rows_titles=["good", "typical", "poor"])
plots.show(figure,
           alt="Three test pictures, one per row, from well to poorly "
           "segmented: the picture, the true mask, the label of the "
           "supervised model, and its wrong pixels in black.")

# %% [markdown]
# **What to notice.** Look at *where* the black pixels lie. Ragged outlines are one kind of mistake.
# A whole object that has the right outline and the wrong class is another, and it costs far more.
# In our runs the second dominates in the bottom row: the balloon is found, and called a fish.
#
# This model is the bar. Whatever the coming chapters do with boxes has to beat it, measured on the
# same pictures in the same way.

# %% [markdown]
# ## What the network does to a picture
#
# A U-Net [(Ronneberger et al., 2015)](references.md#ronneberger2015unet) first shrinks the picture
# step by step, so that each position sees more and more of the scene. Then it grows it back. On the
# way up it is handed the features from the way down, of the same size: the deep ones know *what*,
# the shallow ones know *where*.
#
# **Predict first.** Ours starts with a convolution of stride 2 and ends with a 1 × 1 convolution.
# A picture of 64 × 64 goes in, there are five classes. Which shape comes out?
#
# <details><summary>Answer</summary>
#
# (1, 5, 32, 32): one map of logits per class, at half the height and half the width. The way up
# ends where the first convolution left off, at stride 2. The last doubling is done by `enlarge`,
# which interpolates and has no weights.
#
# </details>

# %% tags=["nbval-check-output"]
from semiseg_lib import enlarge
from semiseg_lib import UNet

network = UNet(num_classes=5, width=16).eval()
stations = {
    "stem": network.stem, "down 1": network.down[0],
    "down 2": network.down[1], "down 3": network.down[2],
    "up 1": network.up[0], "up 2": network.up[1], "up 3": network.up[2],
    "head": network.head,
}
for name, station in stations.items():
    station.register_forward_hook(lambda _, inputs, output, name=name: print(
                                      f"{name:10}{tuple(output.shape)}"
                                  ))
picture = torch.zeros(1, 3, 64, 64)
print(f"{'picture':10}{tuple(picture.shape)}")
logits = network(picture)
print(f"{'enlarged':10}{tuple(enlarge(logits, picture.shape[-2:]).shape)}")
print(f"parameters: {sum(p.numel() for p in network.parameters()):,}")

# %% [markdown]
# Stopping at stride 2 saves time: the finest maps have a quarter of the positions. It has a price,
# for nothing thinner than about two pixels survives.
# [Chapter 02](02_measuring_segmentation.ipynb) measured that price: less than a point on these
# pictures.
#
# The names that this chapter uses, beside the symbols of the [notation](notation.md):
#
# | Symbol | In code | Shape |
# |---|---|---|
# | $x$ | `batch.labelled.images` | (B, 3, H, W), in [0, 1] |
# | $y$ | `batch.labelled.masks` | (B, H, W), class ids, 255 = void |
# | $\ell$, the logits | `method.network(images)` | (B, C, H/2, W/2) |
# | $p = \mathrm{softmax}(\ell)$ | `logits.softmax(dim=1)` | the same |
# | $V$ | `masks != VOID` | (B, H, W), yes or no: the pixels that are not void |
# | $\theta$ | `method.network.parameters()` | what the optimiser moves |
# | $\bar\theta$ | `method.average` | the moving average, which is deployed |

# %% [markdown]
# ## A loss that knows what nobody labelled
#
# The loss of a pixel is $-\log p_{i, y_i}$, small where the true class has a high probability. The
# loss of a batch is the mean over the pixels that have a label:
#
# $$
# L = -\frac{1}{|V|} \sum_{i \in V} \log p_{i, y_i}, \qquad V = \{ i : y_i \ne 255 \} \tag{E1}
# $$
#
# Void pixels must drop out twice: from the sum, and from the count that it is divided by. If they
# stayed in the count, a picture with a wide void rim would teach less than one with a thin rim.
#
# The number is that at the head of `semiseg_lib/methods/supervised/method.py`. So it is with every
# method: file, chapter and the tables of the [notation](notation.md) number its equations alike.

# %% tags=["inline", "inline:semiseg_lib.methods.losses.cross_entropy"]
def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled pixels; 0 if all are void."""
    logits = enlarge(logits, masks.shape[-2:])
    total = nn.functional.cross_entropy(logits, masks, ignore_index=VOID,
                                        reduction="sum")
    return total / (masks != VOID).sum().clamp(min=1)


# %% [markdown]
# Four pixels, two classes. The first two pixels have a label, the last two are void. With two
# classes the loss of a pixel is $\log(1 + e^{-m})$, where $m$, the *margin*, is how far the true
# logit is ahead.
#
# **Predict first.** PyTorch's own function with `ignore_index=255` takes the mean too. What does it
# return when *every* pixel is void, and what does ours return?
#
# <details><summary>Answer</summary>
#
# PyTorch divides a sum of nothing by a count of nothing: 0/0 is NaN. Ours never divides by less
# than 1, so it returns 0, and the gradient is 0 as well. One NaN is enough to spoil a run: it
# passes through the gradient into every weight, and no later batch brings them back.
#
# </details>

# %% tags=["nbval-check-output"]
tiny_logits = torch.tensor(
    [[[[2.0, 0.0], [5.0, -5.0]], [[0.0, 1.0], [-5.0, 5.0]]]]
)
tiny_masks = torch.tensor([[[0, 1], [VOID, VOID]]])
all_void = torch.full_like(tiny_masks, VOID)

by_hand = np.mean([np.log1p(np.exp(-2)), np.log1p(np.exp(-1))])
torchs = nn.functional.cross_entropy(tiny_logits, tiny_masks,
                                     ignore_index=VOID)
ours = cross_entropy(tiny_logits, tiny_masks)
print(f"by hand {by_hand:.4f}, torch {torchs:.4f}, ours {ours:.4f}")

torchs = nn.functional.cross_entropy(tiny_logits, all_void, ignore_index=VOID)
ours = cross_entropy(tiny_logits, all_void)
print(f"all void: torch {torchs:.4f}, ours {ours:.4f}")

# %% [markdown]
# ## One training loop, twelve lines
#
# A *method* in this book is a module that can do two things. `losses(batch, progress)` returns what
# is to be made small, by name. `after_step(step)` does what is due after the optimiser has moved
# the weights. So one loop serves every method, and it fits in twelve lines. Here it is for a few
# steps from a fresh start.

# %%
from semiseg_lib import Loader

config = training.TrainConfig(steps=12, batch_labelled=8, batch_unlabelled=0,
                              log_every=1, channels_last=False)
accelerator = training.make_accelerator(config, device)
loader = Loader(data.labelled, None, config.batch_labelled, 0,
                profile.augment, seed)


def untrained() -> nn.Module:
    """The supervised method around a fresh network, the same one at each
    call."""
    torch.manual_seed(seed)
    return (methods.build(profile.supervised, profile.model, len(classes))
            .to(accelerator.device))


# %% tags=["nbval-ignore-output"]
method = untrained().train()
optimizer = training.make_optimizer(method, config)
losses = []
for step in range(config.steps):
    batch = loader.batch(step).to(accelerator.device)
    terms = method.losses(batch, progress=step / config.steps)
    loss = sum(terms.values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    method.after_step(step)
    losses.append(loss.item())
print("the terms of a loss:", list(terms))
print("loss by step:", " ".join(f"{value:.2f}" for value in losses))

# %% [markdown]
# `fit` is the library's loop. It does the same and adds what a long run needs: it works on any
# device and on several at once, follows a learning-rate schedule, keeps a history, writes
# checkpoints, and stops with a message that names the pictures when a loss is no longer a number.
# There is no magic in it. Give it the same start and the same batches, and its losses are ours.

# %% tags=["nbval-ignore-output"]
with TemporaryDirectory() as folder:
    run_folder = training.RunFolder(Path(folder))
    history = training.fit(
        untrained(), loader, config, run_folder, accelerator
    )

librarys = [row["loss_labelled"] for row in history]
print("largest difference between the two: "
      f"{np.abs(np.subtract(librarys, losses)).max():.1e}")
np.testing.assert_allclose(librarys, losses, rtol=1e-2)

# %% [markdown]
# > **For practitioners.** The library's loader carries no state: every draw, of pictures, flips,
# > shifts and colours, follows from (seed, step), and an epoch still shows each picture once. So a
# > checkpoint needs the weights, the average, the optimiser's state and one number, the next step.
# > On a CPU with a fixed number of threads an interrupted run ends with exactly the weights of an
# > uninterrupted one; a test of the library stops and continues runs to prove it. On a GPU, sums
# > are added up in another order each time, and small differences remain.

# %% [markdown]
# ## The moving average
#
# With a few pictures and a high learning rate, the weights keep jumping about a good place rather
# than settling in it. Their average lies closer to the middle. So after each update we move a
# second set of weights $\bar\theta$ a little towards the first, and deploy the second:
#
# $$
# \bar\theta \leftarrow d\, \bar\theta + (1 - d)\, \theta
# $$
#
# At the start the decay $d$ is smaller, so that $\bar\theta$ begins as the plain mean of all
# weights so far and the random start has no share in it.
#
# **Predict first.** A network has a single weight, which takes the values 1, 2, 3, 4, 5. What is
# the average after five updates with $d = 0.9$? And with $d = 0.5$, is it larger or smaller?
#
# <details><summary>Answer</summary>
#
# 3: five updates are few, so the average is still the plain mean. With $d = 0.5$ it is larger,
# about 4.1, because recent values count for more.
#
# </details>

# %% tags=["nbval-check-output"]
from semiseg_lib import MovingAverage


def averaged(weights: list[float], decay: float) -> list[float]:
    """The library's average of a network with one weight, after each
    update."""
    network, averages = nn.Linear(1, 1, bias=False), []
    average = MovingAverage(network, decay)
    for weight in weights:
        nn.init.constant_(network.weight, weight)
        average.update_parameters(network)
        averages.append(average.module.weight.item())
    return averages


# %% tags=["nbval-check-output"]
for decay in (0.9, 0.5):
    print(f"d = {decay}: {averaged([1, 2, 3, 4, 5], decay)[-1]:.4f}")

# %% [markdown]
# Now a weight that approaches 1 and jitters on the way, as weights do. A higher decay gives a
# smoother line that comes later. With decay $d$, the average looks back over roughly $1/(1-d)$
# updates: 10 for 0.9, 100 for 0.99, the value used in this book.

# %%
generator = np.random.default_rng(0)
steps = np.arange(300)
jittering = (
    1 - np.exp(-steps / 40) + 0.15 * generator.standard_normal(len(steps))
)
lines = {"weight": jittering, "d = 0.9": averaged(jittering, 0.9),
         "d = 0.99": averaged(jittering, 0.99)}
figure = plots.curves(
    {name: list(zip(steps, line, strict=True))
     for name, line in lines.items()}, "update", "value",
)
plots.show(figure,
           alt="A weight that rises to 1 with strong jitter, and two moving "
           "averages of it: with decay 0.9 it follows closely and still "
           "shakes, with 0.99 it is smooth and late.")

# %% [markdown]
# ## Training, once per seed
#
# Now the real training, for each seed of the profile. A seed decides three things at once: *which*
# pictures have masks, the first weights of the network, and the order and the views of the
# pictures.
#
# `story.supervised(profile, s)` trains nothing. It is a *value*: all options of the run, written
# down. `resolve` trains it, or loads it where a run with these options is on disk **and** learnt
# from just the pictures that are there now.

# %% tags=["nbval-ignore-output"]
runs = {
    s: resolve(story.supervised(profile, s), device) for s in profile.seeds
}
for s, one in runs.items():
    steps, seconds = one.run.train.steps, one.record["seconds"]
    print(f"seed {s}: {steps} steps, {seconds:.0f} s of training")

# %%
figure = plots.curves(
    {f"seed {s}": [(row["step"], row["loss_labelled"]) for row in run.history]
     for s, run in runs.items()},
    "step", "cross-entropy (training)", logarithmic=True,
)
plots.show(figure,
           alt="Training loss against step on a logarithmic axis, one line "
           "per seed. All lines fall by about a factor of a hundred, with "
           "bumps on the way, and end within a factor of a few.")

# %% [markdown]
# The lines do not end together: in our runs the largest last loss, 0.014, is half as large again as
# the smallest. Nor do they fall evenly: the loss of seed 12 triples around step 330 and takes some
# sixty steps to come back. A high, flat learning rate does that. A run that is stopped during such
# a jump ends with a worse fit; the moving average smooths part of it away.
#
# A training loss that falls says that the model fits what it was shown. It says nothing about
# pictures that it was not shown. Compare the mIoU on the pictures with masks (as they are, without
# augmentation) with the mIoU on held-out ones. The gap between the two columns, 99 against 57 % in
# our runs, is what a few masks cannot teach.
#
# The second row asks whether the moving average earns its place. (A fresh average is a copy of its
# network, so a method built around the last weights deploys exactly those.) Here it hardly does: in
# our runs it is ahead by less than a point, far less than the seeds differ. One reason: the rate
# falls to 0 over the last tenth of the steps, which calms the weights by itself.

# %%

deployed = {s: run.method for s, run in runs.items()}
last_weights = {
    s: methods.Supervised(profile.supervised, method.network)
    for s, method in deployed.items()
}
tables.results_table([
    {"what is deployed": name}
    | {f"mIoU on {split} pictures": [
           evaluate(models[s], getattr(runs[s].data, split), classes).mean_iou
           for s in models
       ]
       for split in ("labelled", "val")}
    for name, models in (("moving average", deployed),
                         ("last weights", last_weights))
])

# %% [markdown]
# Now the test pictures, class by class. The middle column counts in how many of the labelled
# pictures the class occurs. Does the class that was seen least also do worst? Not in our runs:
# balloon is seen least, in 8 pictures, and scores 46 %; fish is seen in 11 and scores 37 %. What
# else makes a class hard: thin parts, a shape shared with another class, a varied colour.

# %%
scores = {s: run.evaluate() for s, run in runs.items()}


def pictures_with(number: int) -> list[int]:
    """In how many labelled pictures a class occurs, seed by seed."""
    masks = [run.data.labelled.masks for run in runs.values()]
    return [int((one == number).any(2).any(1).sum()) for one in masks]


tables.results_table(
    [{"class": name, "labelled pictures": pictures_with(i),
      "test IoU": [score.iou[i] for score in scores.values()]}
     for i, name in enumerate(classes)]
    + [{"class": "mean (mIoU)",
        "test IoU": [score.mean_iou for score in scores.values()]}],
    plain=("labelled pictures",),
)

# %% [markdown]
# The book promises a level and a tolerance for this number. The check fails if your run falls
# outside, so a broken installation or a changed library does not go unnoticed.

# %% tags=["nbval-ignore-output"]
checks.claim("supervised-level",
             [100 * score.mean_iou for score in scores.values()],
             profile.asserts_claims)

# %% [markdown]
# ## One seed says nothing
#
# How sure are we of the mean of $n$ runs? For a few values the honest tool is Student's interval:
# the mean ± a factor · sd / √$n$, where sd is their standard deviation and the factor the 97.5 %
# quantile of Student's distribution. It rests on the assumption that the runs are independent and
# roughly normal.
#
# **Predict first.** Two runs scored 60 and 64. The mean is 62. How wide is the 95 % interval: about
# 4, about 12, or about 50 points?
#
# <details><summary>Answer</summary>
#
# About 50. With two runs the spread itself is almost unknown, and the factor is 12.7. With three
# runs it is 4.3, with ten 2.3. One run has no interval at all: you cannot see a spread in one
# value.
#
# </details>

# %% tags=["nbval-check-output"]
for values in ([60, 64], [60, 62, 64], [60, 61, 62, 63, 64]):
    interval = mean_and_interval(values)
    print(f"{len(values)} runs: mean {interval.mean:.0f}, sd "
          f"{interval.sd:.2f}, 95 % interval {interval.low:.1f} to "
          f"{interval.high:.1f}")

# %% [markdown]
# So far every seed changed pictures and start together. How much does each of the two matter? A
# crossed design takes them apart: take the pictures of each of three seeds, and train on each
# choice from the start of each (first weights and batches). So the run's data must name the
# pictures, in place of its seed. They do it as papers do: by a published list, a text file with one
# name per line.
#
# To keep it short, these trainings have a tenth of the steps (and an average that looks back less
# far), and the scores are from the validation pictures. Compare them with each other, not with the
# table above.

# %% tags=["nbval-ignore-output"]

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


three = profile.seeds[:3]
drawn = {s: runs[s].data.names["labelled"] for s in three}
crossed = {
    f"pictures of seed {s}": [short_run(drawn[s], start) for start in three]
    for s in three
}

# %%
figure = plots.dots_with_intervals(
    crossed, "validation mIoU after a short training (%)"
)
plots.show(figure,
           alt="One row for each choice of labelled pictures, one dot for "
           "each start, with mean and interval. Rows that lie apart show "
           "the effect of the choice of pictures.")
table = np.array(list(crossed.values()))
print(f"sd of the means over pictures: {table.mean(axis=1).std(ddof=1):.1f} "
      "points")
print(f"sd of the means over starts:   {table.mean(axis=0).std(ddof=1):.1f} "
      "points")
# what neither choice explains, and its share in a mean over three runs
rest = (table - table.mean(axis=0) - table.mean(axis=1, keepdims=True)
        + table.mean())
chance = np.sqrt((rest**2).sum() / 4 / 3)
print(f"sd of such means by chance:    {chance:.1f} points")

# %% [markdown]
# **How to read it.** Dots that spread within a row: the start matters. Rows that lie apart: it
# matters which pictures somebody happened to label. In our runs the standard deviation of the means
# is 1.6 points over pictures and 2.7 over starts. But a mean of three runs is never exact: the last
# line says that such means would differ by 1.2 points even if neither choice mattered. And a
# standard deviation of three values may be off by a factor of several. So three by three runs show
# that luck is worth points, but not which part of it is larger, nor that each part matters. Either
# way, comparing two methods on *different* labelled pictures and starts mixes the methods with
# luck. That is why every
# comparison in this book is paired: both methods get the same seed, hence the same pictures and the
# same start, and we look at the difference, seed by seed.

# %% [markdown]
# ## The room above
#
# What would the other pictures be worth if somebody drew all their masks? Training with every mask
# takes long, so we read the scores of stored laptop runs; they are the same whichever profile you
# are in now. Both rows had as many steps as the primaries of chapter 07, 1000 from fresh weights, so
# the gap is what masks are worth, not what training is worth. (The methods of chapters 12 to 16 start
# from a model of the few masks and learn 1000 steps more.)

# %%
ways = studies.current("ways", recipes.load("laptop"))
figure = plots.dots_with_intervals(
    {"a few masks": ways.scores("equal"),
     "every mask": ways.scores("all masks")},
    "test mIoU (%), stored laptop runs",
)
plots.show(figure,
           alt="Test mIoU of stored runs, one dot per seed: trained on a few "
           "masks and trained on the masks of all pictures. The gap "
           "between the rows is the room for made-up labels.")
print("seeds:", ways.seeds("equal"), "-", ways.made_with)

# %% [markdown]
# Between the two rows lies the room that the rest of the book works in. The upper row is no
# ceiling, as more steps raise it:
#
# <!-- finding: steps-on-all-masks -->
# With all images labelled and as many steps as a method without boxes, test mIoU is 2.7 points
# higher than with all images labelled (95 % interval +2.0 to +3.4, 10 seeds, paired).
# <!-- end -->
#
# [Chapter 12](12_consistency.ipynb) builds a training that reads unlabelled pictures through strong
# views. With as many steps and a seventh of the masks (and 100 pictures more, those of these masks),
# this is where it stands:
#
# <!-- finding: views-over-all-masks -->
# With 124 masks and two strong views of unlabelled images, test mIoU is 1.3 points lower than with
# all 824 masks, weak views and as many steps (95 % interval -1.8 to -0.9, 10 seeds, paired).
# <!-- end -->

# %% [markdown]
# ## Where it fails
#
# A mean hides what a failure looks like. These are the test pictures on which the seeds do worst
# *together*: a mistake that several models make, from different labelled pictures, is no accident
# of one run.

# %%
predicted = {s: predict(run.method, data.test) for s, run in runs.items()}
together = np.mean([picture_accuracy(p, truth) for p in predicted.values()],
                   axis=0)
hardest = together.argsort(kind="stable")[:4]
figure = plots.gallery(
    {"picture": data.test.images[hardest].numpy(), "truth": truth[hardest]}
    | {f"seed {s}": predicted[s][hardest] for s in three},
    classes,
)
plots.show(figure,
           alt="The four test pictures on which all seeds do worst, one a "
           "row: the picture, the true mask, and the labels of the "
           "models of up to three seeds.")

# %% [markdown]
# Ask of each row: is the object found at all? Is its class the same wrong class for all seeds? Did
# the colour decide where the shape should have? In our runs most objects are found at least in
# part, few get their right name, and the wrong name differs from seed to seed: the big tree of the
# first row is a fish for one and a balloon for another. Keep these pictures in mind: the model of
# the next chapter will be told where every object is, and of which class.

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: the loss of a model that does not look
#
# Suppose a model ignores the picture and gives every pixel the same probabilities. Which constant
# probabilities are best, if you know the classes' shares of the pixels? Return the mean
# cross-entropy that they reach. A class may have a share of 0. Then look at the losses of the
# twelve-line loop above: at which step did the network begin to look?
#
# <details><summary>Answer to the last question</summary>
#
# The shares of our 24 pictures allow 0.95 without looking. In our run the loss is below that from
# the tenth step on; until then the network has mostly learnt that background is frequent. A
# training that stays at this number has learnt nothing from the pictures: a check worth having at
# hand.
#
# </details>
#
# [A solution](solutions/03_supervised_baseline.ipynb)

# %% tags=["exercise"]
def loss_without_looking(shares: np.ndarray) -> float:
    """The smallest mean cross-entropy of a model that gives every pixel the
    same probabilities, from the classes' shares (C,) of the pixels."""
    raise NotImplementedError("your turn")


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
# ### 2. Implement: a masked cross-entropy from nothing
#
# Write it without `ignore_index`: take the
# log-softmax, pick the true class of every pixel with `gather`, leave void out of sum and count.
# Mind that 255 is no valid index for `gather`, and that an all-void batch must give 0.
#
# [A solution](solutions/03_supervised_baseline.ipynb)

# %% tags=["exercise"]
def masked_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean of -log p over non-void pixels; logits (B, C, H, W), masks
    (B, H, W) with 255 = void."""
    raise NotImplementedError("your turn")


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
# ### 3. Investigate: which mistakes cost most?
#
# A pixel can be wrong in two ways. It is an object and gets another object's *name*. Or object and
# background are mixed up: the *outline* is wrong, or an object is missed. Suppose that somebody
# repairs one of the two everywhere and leaves the other. Guess from the first figure which repair
# lifts the mIoU more, then write the repair and look. Void pixels stay as they are.
#
# <details><summary>Answer</summary>
#
# The names. In our run the mIoU is 56 %; with every name right it would be 85, with every outline
# right 66. A box says the name of an object: that is the next chapter.
#
# </details>
#
# [A solution](solutions/03_supervised_baseline.ipynb)

# %% tags=["exercise"]
def repaired(labels: np.ndarray, truth: np.ndarray,
             names: bool) -> np.ndarray:
    """Labels (N, H, W) with one kind of mistake put right: wrong names if
    ``names``, else object and background mixed up."""
    raise NotImplementedError("your turn")


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
# ### 4. Investigate: what are more masks worth?
#
# Train on 12 masks and on 224, for five seeds. The comparison is cleanest if the long list
# *contains* the short one. So write nested lists: first the names that a seed has drawn, then
# further candidates. Guess before you run it: by the "room above" figure, what is a doubling of the
# masks worth? (The ten trainings take about two minutes.)
#
# <details><summary>What we found</summary>
#
# From 24 to 824 masks there are five doublings and 31 points: six points for each. From 12 to 224
# there are a little over four doublings, so one would expect some 25 points. In our runs it is
# +18.7 points, 95 % interval 10.6 to 26.8: masks matter, far beyond what chance explains. It is a
# little less than the guess; these trainings have a third of the steps. [Chapter
# 08](08_evaluation.ipynb) shows the whole curve.
#
# </details>
#
# [A solution](solutions/03_supervised_baseline.ipynb)

# %% tags=["exercise"]
def nested_names(drawn: tuple[str, ...], candidates: tuple[str, ...],
                 count: int) -> tuple[str, ...]:
    """``count`` names: those drawn, in order, then further candidates, in
    order; no name twice."""
    raise NotImplementedError("your turn")


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

# %% [markdown]
# ## Quiz
#
# **1.** Two papers report the same mIoU from one seed each. What do you know about which is better?
#
# <details><summary>Answer</summary>
#
# Hardly anything. Each seed is one weak piece of evidence, and without a second run of each there
# is no spread to compare the difference with.
#
# </details>
#
# **2.** Why is the loss divided by the number of non-void pixels, and not by all pixels?
#
# <details><summary>Answer</summary>
#
# Otherwise pictures with much void would count for less, and the size of a step would depend on how
# wide the annotators drew their rims.
#
# </details>
#
# **3.** Your training loss stays at 0.95 from the first to the last step. Which number do you
# compute first?
#
# <details><summary>Answer</summary>
#
# The loss of a model that does not look (exercise 1). If it is 0.95, the network has learnt the
# shares of the classes and nothing else: look at the learning rate, and whether masks and pictures
# belong together.
#
# </details>
#
# ## Key takeaways
#
# - The bar for all that follows: same network, same masks, nothing else.
# - Void leaves both the sum and the count of the loss, and an all-void batch gives 0.
# - One loop serves every method: losses, step, what is due after the step.
# - The moving average of the weights is what is deployed.
# - Report several seeds with an interval, and compare methods on the same pictures.
#
# ## What can go wrong
#
# - **NaN out of nowhere.** A crop that holds only void gives 0/0 in a plain mean. On batches with
#   nothing to learn from, the code of [ELN](https://github.com/kinux98/SSL_ELN) exits with NaN, and
#   that of [S4MC](https://github.com/s4mcontext/s4mc) with an IndexError.
# - **Void as a class.** A loss or metric that is told another void id than the masks use counts
#   rims as errors, or as the last class. Look at the ids before you train.
# - **The average forgets a part.** If batch-norm statistics are left out of the average, averaged
#   weights meet the statistics of other weights. Ours averages both.
# - **The best of many.** Choosing the best step or seed by the *test* score is peeking. Choices are
#   made on the validation pictures.
#
# **Next:** [the ancillary model](04_ancillary_model.ipynb) sees the same pictures and is also shown
# the boxes.
#
# ## References
#
# U-Net: [Ronneberger et al. (2015)](references.md#ronneberger2015unet). Averaged weights as a
# teacher in semi-supervised learning:
# [Tarvainen and Valpola (2017)](references.md#tarvainen2017meanteacher). The optimiser:
# [Loshchilov and Hutter (2019)](references.md#loshchilov2019adamw).
