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
# # Training the primary model
#
# *When does training on corrected labels beat training on uncorrected ones?*
#
# After this chapter you can
#
# - write the loss of the primary, and one step of its training, without the library;
# - say why labelled and unlabelled pictures share every batch;
# - explain why a lower unlabelled loss does not mean a better model;
# - compare schedules of $\alpha$ by paired differences over seeds, and accept "cannot tell".
#
# **You need** the corrected label $q$ of [chapter 06](06_self_correction.ipynb), and the
# supervised baseline of [chapter 03](03_supervised_baseline.ipynb). Words such as *primary* and
# *paired difference* stand in the [glossary](glossary.md).
#
# **Minutes**: about 75 to read and do; the code takes 4 in `laptop`, 0.5 in `smoke`, and
# longer where the ancillary runs of chapter 04 are not on disk.

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
# smoke, laptop ...; None asks SEMISEG_PROFILE, and failing that means laptop
profile = None
# whose batches and curves are shown; scores are over all of the profile's
# seeds
seed = 11
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from semiseg_lib import (
    AlphaSchedule, Loader, VOID, chapter, checks, enlarge,
    evaluate_unlabelled, linear_correction, methods, paired_interval, plots,
    predict_logits, recipes, resolve, self_correction as story, studies,
    tables,
)

profile = chapter.begin("07_primary_training", profile, device)

# %% [markdown]
# ## The result first
#
# Three models, each trained once per seed. **Supervised** learns from the few masks alone. **No
# correction** adds the unlabelled pictures with the ancillary's labels as they are. **Linear
# correction** lets the primary talk back. All three see pictures only when they are tested,
# never boxes. In the next cell `story` names the runs, and `resolve` loads those that are on disk
# and trains the others, with the ancillaries that they build on.

# %% tags=["nbval-ignore-output"]
seeds = tuple(dict.fromkeys((seed, *profile.seeds)))
runs = {
    "supervised": {
        s: resolve(story.supervised(profile, s), device) for s in seeds
    },
    "no correction": {
        s: resolve(story.primary(profile, s, story.UNCORRECTED), device)
        for s in seeds
    },
    "linear correction": {
        s: resolve(story.primary(profile, s), device) for s in seeds
    },
}


def test_miou(name: str) -> list[float]:
    """mIoU in percent on the test pictures, one value a seed."""
    return [studies.percent(runs[name][s].evaluate()) for s in profile.seeds]


test = {name: test_miou(name) for name in runs}

# %%
figure = plots.dots_with_intervals(test, "mIoU on the test pictures (%)")
plots.show(
    figure,
    alt="Three rows of dots, one dot a seed, with mean and interval: the "
    "test mIoU of the supervised model, of the primary without "
    "correction and of the primary with linear correction.",
)

# %% [markdown]
# **What to notice.** First the step from the top row to the others: that is what 800 pictures with
# boxes are worth *against weak views of 24 masks*. ([Other ways to use a box](boxes_and_noise.md)
# have a page of their own.) Then the two lower rows. Their intervals may overlap. That settles
# nothing yet: seeds differ in luck, and a lucky seed may lift all three models. The rest of the
# chapter builds this training, and then compares properly.

# %% [markdown]
# ## Two kinds of pictures in one batch
#
# Call the pictures with masks $F$ and those without $W$. There are few of the first and many of
# the second. One could train on all of $W$, then on all of $F$, and so on. The model would
# forget one while learning the other. Instead, **every batch holds both**, in fixed numbers. The
# few masks come round often, each time as a new view, and every step balances both terms. Batch
# normalisation also sees both kinds together, in one forward pass.

# %%
data, train = runs["linear correction"][seed].data, profile.train_primary
stored = resolve(story.logits(profile, seed), device).read()
unlabelled = data.unlabelled.without_boxes().with_logits(stored)
loader = Loader(
    data.labelled, unlabelled, train.batch_labelled, train.batch_unlabelled,
    profile.augment, seed,
)
batch = loader.batch(step=0)
print("labelled:  ", tuple(batch.labelled.images.shape), "with masks",
      tuple(batch.labelled.masks.shape))
print("unlabelled:", tuple(batch.unlabelled.images.shape),
      "with ancillary logits", tuple(batch.unlabelled.logits_ancillary.shape))


# %%
def pixels(image: Tensor) -> np.ndarray:
    """A picture of a batch, floats in [0, 1], as uint8 for drawing."""
    return (255 * image).round().to(torch.uint8).numpy()


def fullest(labels: Tensor, count: int) -> list[int]:
    """The views with the most object pixels."""
    objects = ((labels > 0) & (labels != VOID)).sum(dim=(1, 2))
    return objects.argsort(descending=True)[:count].tolist()


size = batch.unlabelled.images.shape[-2:]
unlabelled_labels = enlarge(batch.unlabelled.logits_ancillary,
                            size).argmax(dim=1)
columns = {}
for kind, part, labels, count in (
    ("labelled", batch.labelled, batch.labelled.masks, 2),
    ("unlabelled", batch.unlabelled, unlabelled_labels, 3)
):
    for number, i in enumerate(fullest(labels, count), start=1):
        columns[f"{kind} {number}"] = [pixels(part.images[i]),
                                       labels[i].numpy()]

# %%
figure = plots.gallery(columns, data.classes, rows_titles=["view", "label"])
plots.show(
    figure,
    alt="Part of one training batch: shifted, flipped and recoloured "
    "views in the upper row, their labels below. The first two "
    "pictures have true masks with void rims, the others the "
    "ancillary's labels, which have moved with their pictures.",
)

# %% [markdown]
# The stored logits were computed once, on the pictures as they are. The views are flipped,
# shifted and recoloured. The same `View` moves the logits and the picture, and shifts are whole
# multiples of the logits' stride, so nothing is interpolated. Check it by eye above: does each
# label lie on its object? The unlabelled pictures bring no boxes into this batch. The primary must
# not need them.

# %% [markdown]
# ## The loss, and one step of it
#
# The loss is a plain sum of two means:
#
# $$
# L = \mathrm{CE}_F(y, p) + \mathrm{CE}_W(\mathrm{sg}[q], p), \tag{E7}
# $$
#
# with $q = \mathrm{softmax}\big((\ell + \alpha\,\ell_\mathrm{anc}) / (1+\alpha)\big)$, which is
# (E3) of chapter 06. (The numbers are those at the head of
# `semiseg_lib/methods/self_correcting/method.py`.) The first mean runs over the labelled pixels of
# the masks (void is left out), the second over the positions of the logits on $W$. Without
# correction, $q = p_\mathrm{anc}$. There is no weight between the terms, and no threshold. Each
# symbol is a tensor:
#
# | paper | in code | shape |
# |-|-|-|
# | $x$, $y$ | `batch.labelled.images`, `.masks` | `(B_F, 3, H, W)`, `(B_F, H, W)` |
# | $u$ | `batch.unlabelled.images` | `(B_W, 3, H, W)` |
# | $\ell_\mathrm{anc}$ | `batch.unlabelled.logits_ancillary` | `(B_W, C, h, w)` |
# | $\ell$ | `network(images)`, then split | `(B_F + B_W, C, h, w)` |
# | $\alpha$ | `config.alpha.at(progress)` | a number |
# | $\mathrm{sg}[q]$ | `target` | `(B_W, C, h, w)` |
# | $L$ | `sum(losses.values())` | a number |

# %% [markdown]
# Here it is by hand, for a fresh network in the middle of the training. Read it beside the table.

# %%
torch.manual_seed(seed)
count = len(data.classes)
method = methods.build(profile.primary, profile.model, count).train()
progress = 0.5
alpha = profile.primary.alpha.at(progress)

both = torch.cat([batch.labelled.images, batch.unlabelled.images])
logits = method.network(both)
sizes = [train.batch_labelled, train.batch_unlabelled]
logits_labelled, logits_unlabelled = logits.split(sizes)

masks = batch.labelled.masks
logits_large = functional.interpolate(logits_labelled, size=masks.shape[-2:],
                                      mode="bilinear")
loss_labelled = functional.cross_entropy(logits_large, masks,
                                         ignore_index=VOID)

logits_ancillary = batch.unlabelled.logits_ancillary
logits_q = linear_correction(logits_unlabelled.detach(), logits_ancillary,
                             alpha)
target = logits_q.softmax(dim=1)
loss_unlabelled = (-(target * logits_unlabelled.log_softmax(dim=1)).sum(dim=1)
                   .mean())

(loss_labelled + loss_unlabelled).backward()

# %% [markdown]
# Now the library's version on the same batch. Both numbers must agree. (`Primary.losses` runs the
# network again. In training mode it normalises by the batch itself, so the second pass gives
# what the first one gave.)

# %% tags=["nbval-check-output"]
losses = method.losses(batch, progress)
print("labelled term equal:  ",
      torch.allclose(losses["labelled"], loss_labelled, rtol=1e-4))
print("unlabelled term equal:",
      torch.allclose(losses["unlabelled"], loss_unlabelled, rtol=1e-4))
print("alpha at half time:   ", alpha)

# %% [markdown]
# What is left of a step is the optimiser, and a moving average of the weights that follows it.
# The average is what we deploy and test; it is steadier than the last weights.

# %%
optimizer = torch.optim.AdamW(method.parameters(), lr=train.lr,
                              weight_decay=train.weight_decay)
optimizer.step()
optimizer.zero_grad()
method.after_step(step=0)

# %% [markdown]
# One special case is worth knowing before the experiments.
#
# **Predict first.** With $\alpha = 0$ throughout, the primary is its own teacher on $W$. How
# large is the gradient of the unlabelled term?
#
# <details><summary>Answer</summary>
#
# Zero, exactly, in every step. The target is the output of the same forward pass, and the gradient
# is $p - q$. So "own labels" here means: learn from the masks, with the unlabelled pictures in the
# batch but silent. They still take part in batch normalisation. (Methods that do learn from their
# own labels need a gap between teacher and student: other weights, another view, or hard labels.)
#
# </details>

# %% tags=["nbval-check-output"]
own_labels = replace(profile.primary,
                     alpha=AlphaSchedule(start=0, end=0, until=0))
silent = methods.build(own_labels, profile.model, count).train()
silent.losses(batch, progress=0.5)["unlabelled"].backward()
largest = max(float(p.grad.abs().max()) for p in silent.network.parameters())
print("largest gradient of the unlabelled term is below 1e-5:",
      largest < 1e-5)

# %% [markdown]
# ## Reading the curves
#
# The runs that you loaded above kept their losses. Look at the unlabelled term of both primaries.
#
# **Predict first.** Which ends lower? And can you tell from that which model is better?
#
# <details><summary>Answer</summary>
#
# The corrected one, as a rule, and no. A soft cross-entropy is $\mathrm{KL}(q\,\|\,p)$ plus the
# entropy of $q$. Without correction, the second part is fixed: nothing gets below the entropy of
# the ancillary's labels. With correction the target itself moves towards the primary, so the
# loss falls even if the primary learns nothing. The two losses measure different things.
#
# </details>

# %%
entropy = torch.distributions.Categorical(
    logits=stored.float().movedim(1, -1)
)
floor = float(entropy.entropy().mean())
histories = {name: [(row["step"], row["loss_unlabelled"])
                    for row in runs[name][seed].history]
             for name in ("no correction", "linear correction")}
steps = [step for step, _ in histories["no correction"]]
histories["entropy of labels"] = [(steps[0], floor), (steps[-1], floor)]
figure = plots.curves(histories, "training step",
                      "unlabelled loss (logarithmic)", logarithmic=True)
plots.show(
    figure,
    alt="The unlabelled loss over the training steps on a logarithmic axis: "
    "one curve for the primary without correction, one with linear "
    "correction, and a flat line at the entropy of the ancillary's "
    "labels.",
)

# %% [markdown]
# The flat line is the floor of the uncorrected loss on the pictures as they are; the training
# sees changed views of them. The rest of the gap is where the primary contradicts the ancillary
# and keeps paying for it. In an over-segmented rim, a good primary *should* pay.

# %% [markdown]
# ## Did it help?
#
# Each seed draws its own labelled pictures, and with them another ancillary. Luck affects all three
# models alike. So we subtract within a seed and put the interval around the
# differences. The whole interval must lie on one side of zero before we say "better" or "worse".

# %%
differences = {
    "no correction − supervised": np.subtract(test["no correction"],
                                              test["supervised"]),
    "linear − no correction": np.subtract(test["linear correction"],
                                          test["no correction"]),
}
figure = plots.paired_differences(differences,
                                  "difference in test mIoU (points)")
plots.show(
    figure,
    alt="Two rows of paired differences in test mIoU about a zero line, one "
    "mark a seed, with mean, interval and verdict: no correction minus "
    "supervised, and linear correction minus none.",
)

# %% [markdown]
# Another machine rounds differently, and a training run amplifies the difference. So the gain that
# your own runs show will not be ours to the digit. The cell below judges *your* runs, with room for
# that. What the book concludes comes from the stored record, which has more seeds:
#
# - <!-- finding: boxes-over-masks -->
#   With boxes as input, uncorrected, test mIoU is 13.6 points higher than with the masks alone
#   (95 % interval +11.4 to +15.9, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: linear-over-none -->
#   With linear correction, test mIoU is 2.5 points higher than with the ancillary's labels as they
#   are (95 % interval +1.9 to +3.1, 10 seeds, paired).
#   <!-- end -->
#
# The first sentence has a control that was easy to forget: the supervised model above had fewer
# steps than the primaries. The *masks alone* of the sentence trained for as many steps *more*, so
# steps are not what was missing.

# %%
checks.claim("primary-beats-supervised",
             differences["no correction − supervised"],
             profile.asserts_claims)
checks.claim("linear-is-ahead-here", differences["linear − no correction"],
             profile.asserts_claims)

# %% [markdown]
# Where does the gain come from? Chapter 06 found that a mixture beats both of its parents while the
# primary learns, and the primary no more at the end. And a label can teach without being better: it
# pulls less where the primary is sure (the force $p - q$ of chapter 06), so the fat outlines of
# loose boxes are learnt less firmly. Two predictions follow. The primary's *own* labels should be
# thinner at outlines after correction; and a correction by a model that does not learn on should do
# less. Chapter 08 tests both.
#
# And the labels? Chapter 06 mixed the ancillary with a primary that had learnt from it without
# correction. Now the primary was trained *on* its corrected labels. We score what the two agree
# on at the end of the schedule, on the hidden masks of the unlabelled pictures, beside the older
# mixture.

# %%
end = profile.primary.alpha.end
stores = {
    s: resolve(story.logits(profile, s), device) for s in profile.seeds
}


def label_miou(s: int, name: str | None) -> float:
    """Label mIoU in percent: the ancillary's labels, or mixed with a
    primary's."""
    logits = stores[s].read().float()
    if name:
        own = predict_logits(runs[name][s].method, data.unlabelled)
        logits = linear_correction(own, logits, end)
    return studies.percent(evaluate_unlabelled(data, logits))


labels = {
    "ancillary": [label_miou(s, None) for s in profile.seeds],
    "ancillary + uncorrected primary": [
        label_miou(s, "no correction") for s in profile.seeds
    ],
    "ancillary + corrected primary": [
        label_miou(s, "linear correction") for s in profile.seeds
    ],
}

# %%
figure = plots.dots_with_intervals(
    labels, "mIoU of the labels of the unlabelled pictures (%)"
)
plots.show(
    figure,
    alt="Three rows of dots, one a seed, with mean and interval: the mIoU of "
    "the unlabelled pictures' labels from the ancillary, from its mixture "
    "with the uncorrected primary, and from its mixture with the primary "
    "trained with linear correction.",
)
gained = np.subtract(labels["ancillary + corrected primary"],
                     labels["ancillary"])
checks.claim("corrected-beats-ancillary", gained, profile.asserts_claims)

# %% [markdown]
# So does the model gain what the labels gained? On ten seeds of the record: the corrected labels, and
# what the primary *without* correction says by itself, each against the ancillary's labels; and the
# two models:
#
# - <!-- finding: linear-labels-over-none -->
#   With linear correction, the mIoU of the labels is 12.6 points higher than with the ancillary's
#   labels as they are (95 % interval +11.1 to +14.0, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: uncorrected-over-its-labels -->
#   With the labels that the uncorrected primary gives by itself, the mIoU of the labels is 9.4
#   points higher than with those that it learnt (95 % interval +8.1 to +10.6, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: linear-over-none -->
#   With linear correction, test mIoU is 2.5 points higher than with the ancillary's labels as they
#   are (95 % interval +1.9 to +3.1, 10 seeds, paired).
#   <!-- end -->
#
# Most of the first gain is none of correction's: a primary without it, too, ends far ahead of the
# labels that it learnt. The model gains far less. Chapter 08 holds labels and students side by side
# with boxes of other kinds.

# %% [markdown]
# ## Which alpha?
#
# The schedule has knobs, and a good experiment turns them one at a time. The runs below take too
# long for a chapter, so their scores come from **records**: files beside this notebook, made
# once in the laptop profile with `semiseg study schedules`. They are laptop records whichever
# profile you run.
#
# **Predict first.** Write down, for each row, whether you expect it above or below "no
# correction":
#
# - *30 throughout*: the ancillary keeps 97 % of the weight. This is a control. It tests whether
#   the machinery of correction changes anything by itself.
# - *0 throughout*: the unlabelled term is silent, as you saw.
# - *0.5 throughout*: no annealing. From the first step, a random primary has two thirds of the
#   say.
# - *by 100 %*: the slow line that stays above 1 nearly to the end.
#
# <details><summary>Answer</summary>
#
# - *30 throughout*:
#   <!-- finding: trusting-over-none -->
#   We cannot tell whether test mIoU is higher with α 30 throughout or with the ancillary's labels
#   as they are (difference +0.4, 95 % interval -0.8 to +1.7, 5 seeds, paired; 1 point would
#   matter).
#   <!-- end -->
# - *0 throughout*:
#   <!-- finding: own-labels-over-none -->
#   With α 0 throughout, test mIoU is 17.3 points lower than with the ancillary's labels as they are
#   (95 % interval -19.8 to -14.8, 5 seeds, paired).
#   <!-- end -->
# - *0.5 throughout*:
#   <!-- finding: constant-over-none -->
#   With α 0.5 throughout, test mIoU is 2.3 points higher than with the ancillary's labels as they
#   are (95 % interval +0.7 to +3.8, 5 seeds, paired).
#   <!-- end -->
# - *by 100 %*:
#   <!-- finding: published-schedule-over-none -->
#   We cannot tell whether test mIoU is higher with α falling over the whole training or with the
#   ancillary's labels as they are (difference +1.1, 95 % interval -0.5 to +2.6, 5 seeds, paired; 1
#   point would matter).
#   <!-- end -->
#
# </details>

# %%
records = studies.current("schedules", recipes.load("laptop"))
arms = {name: arm.text for name, arm in studies.STUDIES["schedules"].items()}


def against(arm: str, other: str) -> np.ndarray:
    """Differences in test mIoU between two arms, in points, seed by seed."""
    if records.seeds(arm) != records.seeds(other):
        raise ValueError(f"{arm!r} and {other!r} were not run with the same "
                         "seeds")
    return np.subtract(records.scores(arm), records.scores(other))


print("seeds:", records.seeds("none"))
print("made with:", records.made_with)

# %%
figure = plots.paired_differences(
    {text: against(name, "none") for name, text in arms.items()
     if name != "none"}, "test mIoU minus that of no correction (points)",
)
plots.show(
    figure,
    alt="Paired differences in test mIoU to training without correction, one "
    "row for each of five schedules of alpha, a mark a seed, with "
    "interval and verdict about a zero line.",
)


# %%
def row(arm: str, other: str) -> dict:
    """One line of a verdict table: the arm's level, and its difference to
    another arm."""
    interval = paired_interval(records.scores(arm), records.scores(other))
    return {
        "alpha": arms[arm],
        "test mIoU": [score / 100 for score in records.scores(arm)],
        "label mIoU": [score / 100
                       for score in records.scores(arm, "labels")],
        "difference": f"{interval.mean:+.1f}",
        "95 % interval": f"{interval.low:+.1f} to {interval.high:+.1f}",
        "verdict": interval.judged(smallest=1),
    }


tables.results_table([row(name, "none") for name in arms if name != "none"])

# %% [markdown]
# The differences are to no correction. The column of label mIoU scores what each finished
# primary and the ancillary agree on at the end of its schedule. How to read the table:
#
# - Start with *30 throughout*, the control: a correction that never lets the primary speak. If the
#   machinery by itself were what helps, it would do as well as the annealed schedule:
#
#   <!-- finding: trusting-over-linear -->
#   With α 30 throughout, test mIoU is 2.1 points lower than with α falling over the first 30 %
#   (95 % interval -2.8 to -1.5, 5 seeds, paired).
#   <!-- end -->
# - Then *0 throughout*. What separates it from no correction is the worth of the ancillary's
#   labels.
# - Then *0.5 throughout*, in the table below, which compares with the annealed schedule instead of
#   with none. **Is annealing itself doing anything?**
#
#   <!-- finding: constant-over-linear -->
#   We cannot tell whether test mIoU is higher with α 0.5 throughout or with α falling over the
#   first 30 % (difference -0.3, 95 % interval -1.2 to +0.6, 5 seeds, paired; 1 point would matter).
#   <!-- end -->
# - Last, *by 100 %*. A line over the whole training is the book's reading of the paper, which gives
#   the two end points only. Against the two other ways to get to 0.5:
#
#   <!-- finding: published-schedule-over-linear -->
#   With α falling over the whole training, test mIoU is 1.5 points lower than with α falling over
#   its first 30 % (95 % interval -1.7 to -1.2, 5 seeds, paired).
#   <!-- end -->
#
#   <!-- finding: slow-schedule-over-constant -->
#   With α falling over the whole training, test mIoU is 1.2 points lower than with α 0.5 throughout
#   (95 % interval -2.2 to -0.2, 5 seeds, paired).
#   <!-- end -->

# %%
tables.results_table([row(name, "linear") for name in ("constant", "slow")])

# %% [markdown]
# > **Note.** "Cannot tell" is a result. With a handful of seeds, the interval is wide, and a real
# > effect of half a point would stay hidden. It means: do not build on this difference, in either
# > direction.
#
# Why *could* the slow line cost something? Until the last part of the training, its labels are
# nearly the ancillary's, and what a network has learnt for most of its time it does not unlearn
# in the rest. Why *could* a constant 0.5 do no harm? A fresh network is unsure everywhere. Its
# margins are small, so even with two thirds of the weight it can soften a confident label but
# not flip it. It anneals itself.

# %% [markdown]
# ### Who chose these numbers, and on what?
#
# - The ends of $\alpha$, 30 and 0.5, are the paper's.
# - That $\alpha$ has fallen after 30 % is this book's choice, and so is how loose the boxes are.
#   Both were **made earlier, on the book's own pictures, so that the effect can be seen**. The size
#   of the effect hangs on them: take it for a demonstration, not for what you would gain elsewhere.
# - The other choices, those of chapter 08, were made by the study `search`: the end of $\alpha$ in
#   the row "α as chosen", the temperature, smoothing and bootstrapping of the controls, and the
#   confidence threshold within boxes. It used two seeds that are **never reported**, and a few
#   validation masks in place of the test pictures.

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: who has the louder voice?
#
# From which share of the training on does the primary count for more than the ancillary, if
# $\alpha$ falls in a straight line from `start` to `end`, which it reaches at `until`? Assume
# `start > 1 > end`.
#
# [A solution](solutions/07_primary_training.ipynb)

# %% tags=["exercise"]
def louder_from(start: float, end: float, until: float) -> float:
    """The share of the training (0 .. 1) at which alpha passes 1."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("7.1"):
    for until in (0.3, 1.0):
        moment = louder_from(30.0, 0.5, until)
        schedule = AlphaSchedule(30.0, 0.5, until)
        assert abs(schedule.at(moment) - 1) < 1e-6, (
            f"at {moment:.3f}, alpha is {schedule.at(moment)}"
        )
        print(f"falling by {until:.0%}, the primary is louder from "
              f"{moment:.1%} on")

# %% [markdown]
# ### 2. Implement: a schedule with another shape
#
# A straight line in $\alpha$ spends most of the time at weights near one. Let $\alpha$ fall by a
# constant *factor* in equal times instead: a straight line on the logarithmic axis. After
# `until` it holds its end value.
#
# [A solution](solutions/07_primary_training.ipynb)

# %% tags=["exercise"]
def geometric_alpha(progress: float, start: float, end: float,
                    until: float) -> float:
    """Alpha that falls from ``start`` to ``end`` by equal factors until
    ``until``, then holds."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("7.2"):
    for done, expected in {0.0: 8.0, 0.25: 2.0, 0.5: 0.5, 0.9: 0.5}.items():
        checks.same(geometric_alpha(done, 8.0, 0.5, 0.5), expected)

# %% [markdown]
# The library has it as `AlphaSchedule(shape="geometric")`, beside `"cosine"` and `"constant"`. To
# find out whether the shape matters, train two primaries that differ in nothing else, several
# seeds each, and look at the paired difference. Choose on the validation pictures. [Chapter
# 10](10_convolutional_self_correction.ipynb) draws all four shapes.
#
# ### 3. Investigate: where do the labels pull?
#
# The force of a label on a pixel is $p - q$. Write the function that measures its size in each
# pixel as half the sum of the absolute values: 0 where $p = q$, 1 where they exclude each other.
# The cell after the check compares uncorrected and corrected labels where primary and ancillary
# disagree, and where they agree.
#
# [A solution](solutions/07_primary_training.ipynb)

# %% tags=["exercise"]
def pull(logits: Tensor, target: Tensor) -> Tensor:
    """Half the sum over classes of |p - q|, (B, h, w); both arguments are
    (B, C, h, w)."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
sure = torch.tensor([[20.0, 0.0], [0.0, 20.0]]).reshape(2, 2, 1, 1)
car = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).reshape(2, 2, 1, 1)
with checks.exercise("7.3"):
    checks.same(pull(sure, car), np.array([0.0, 1.0]).reshape(2, 1, 1))
    undecided, first = torch.zeros(1, 4, 1, 1), torch.eye(4)[:1]
    checks.same(pull(undecided, first[..., None, None]), [[[0.75]]],
                "four classes, undecided")

# %% tags=["check"]
logits_ancillary = stored.float()
corrected = runs["linear correction"][seed].method
logits = predict_logits(corrected, data.unlabelled)
disagree = logits.argmax(dim=1) != logits_ancillary.argmax(dim=1)
targets = {
    "uncorrected": logits_ancillary.softmax(dim=1),
    "corrected": linear_correction(logits, logits_ancillary, end)
    .softmax(dim=1),
}
with checks.after("7.3"):
    for name, target in targets.items():
        force = pull(logits, target)
        print(f"{name:<12} mean pull where they agree "
              f"{force[~disagree].mean():.3f}, where they disagree "
              f"{force[disagree].mean():.3f}")

# %% [markdown]
# ## Quiz
#
# **1.** Your unlabelled loss drops to a third when you switch correction on. Good news?
#
# <details><summary>Answer</summary>
#
# Neither good nor bad. The target moved towards the prediction, which lowers the loss by itself.
# Score the model on pictures with masks.
#
# </details>
#
# **2.** Why does the primary get no box channel, if boxes help the ancillary so much?
#
# <details><summary>Answer</summary>
#
# Because nobody draws boxes at test time. A primary that reads boxes and is tested with the true
# ones has been told part of the answer.
#
# </details>
#
# **3.** Two methods differ by less than the spread over seeds. Can one still be better?
#
# <details><summary>Answer</summary>
#
# Yes, if the difference is steady within each seed. Spread that both share cancels in paired
# differences. Look at their interval, not at the overlap of two separate ones.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - One batch, both kinds of pictures, one forward pass, two means, one sum.
# - What the stored runs say of the primary:
#
#   <!-- finding: linear-over-none -->
#   With linear correction, test mIoU is 2.5 points higher than with the ancillary's labels as they
#   are (95 % interval +1.9 to +3.1, 10 seeds, paired).
#   <!-- end -->
# - Held against the ancillary's labels, corrected ones gain far more than the model. A primary without
#   correction, too, ends far ahead of the labels that it learnt:
#
#   <!-- finding: uncorrected-over-its-labels -->
#   With the labels that the uncorrected primary gives by itself, the mIoU of the labels is 9.4
#   points higher than with those that it learnt (95 % interval +8.1 to +10.6, 10 seeds, paired).
#   <!-- end -->
# - The unlabelled loss is no yardstick: its target moves.
# - Own labels from the same forward pass pull with zero force. Correction needs the disagreement.
# - A schedule is a hypothesis, and a constant $\alpha$ is its control. Of annealing over the first
#   30 %, and of a line over the whole training, which is the book's reading of the paper:
#
#   <!-- finding: constant-over-linear -->
#   We cannot tell whether test mIoU is higher with α 0.5 throughout or with α falling over the
#   first 30 % (difference -0.3, 95 % interval -1.2 to +0.6, 5 seeds, paired; 1 point would matter).
#   <!-- end -->
#
#   <!-- finding: slow-schedule-over-constant -->
#   With α falling over the whole training, test mIoU is 1.2 points lower than with α 0.5 throughout
#   (95 % interval -2.2 to -0.2, 5 seeds, paired).
#   <!-- end -->
#
# ## What can go wrong
#
# - **No unlabelled set at all.** A public
#   [re-implementation](https://github.com/youcefgheffari3/semi-supervised_segmentation_approach)
#   reads the same list for both sets, so that nothing is semi-supervised in it.
# - **Boxes at test time.** The same code gives the primary a box channel, and the true boxes
#   of the validation pictures to go with it.
# - **One kind after the other.** A pass over $F$, then one over $W$: the last one wins.
# - **One seed.** Which pictures got masks can matter more than the method. Never compare two
#   methods across different seeds.
#
# ## Next
#
# [Evaluation](08_evaluation.ipynb) takes these models apart: by class, by distance from the
# outline, by picture. Then it asks with which boxes correction helps.
#
# ## References
#
# The loss and the stop-gradient follow
# [Ibrahim et al. (2020)](references.md#ibrahim2020selfcorrecting). Batch sizes, the optimiser, the
# moving average and the schedule's shape are this book's.
