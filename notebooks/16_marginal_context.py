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
# # Marginal context
#
# *How much should a pixel's neighbours have a say?*
#
# After this chapter you can
#
# - measure in masks how often neighbours agree, and say what void rims and borders do to the count;
# - refine a pixel's probabilities by hand, and say when its margin rises and when it falls;
# - tell the share that a threshold is meant to drop from the share that it drops;
# - ask of any new selection rule: is it better than keeping fewer?
# - read the scale factors of a loss, and what they do to the gradient.
#
# **You need** the confidence threshold and the controls of [chapter 12](12_consistency.ipynb).
#
# **Minutes**: under one in the `smoke` profile. In the `laptop` profile about one, more where the
# supervised runs of chapter 03 are not on disk yet.

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
# whose pictures are shown; shares are over all of the profile's seeds
seed = 11
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from semiseg_lib import (
    VOID, Data, DataConfig, Loader, chapter, checks, draw_mix, enlarge,
    methods, paired_interval, plots, predict_logits, published, recipes,
    resolve, semi_supervised, strong_view, studies, tables, widgets,
)
from semiseg_lib.methods.s4mc import method as s4mc

BETA, neighbours = s4mc.BETA, s4mc.neighbours  # refine, below, uses them
profile = chapter.begin("16_marginal_context", profile, device)

# %% [markdown]
# ## The result first
#
# FixMatch asks each pixel alone whether it is sure enough to be learnt. **S4MC** lets its
# neighbours have a say, and drops a share of the pixels that shrinks to nothing. It comes in two
# forms: on top of FixMatch (strong views and a rectangle), and on top of CutMix-Seg (the rectangle
# alone). The scores are **records**, made with `semiseg study context` and `semiseg study
# unlabelled` in the laptop profile: 24 masks, one supervised start, as many further steps for all.

# %%
# arm -> seed -> test mIoU in percent; arm -> what it is
scores, names = {}, {}
together = studies.read_together(
    ("unlabelled", "context"), recipes.load("laptop")
)
for study, records in together.items():
    print(f"{study}:", records.made_with)
    for arm, recipe in studies.STUDIES[study].items():
        found = dict(zip(records.seeds(arm), records.scores(arm),
                         strict=True))
        if found:
            scores[arm], names[arm] = found, recipe.text


def recorded(*arms: str) -> dict[str, list[float]]:
    """Test mIoU in percent of the arms that have records, one value a
    seed."""
    return {names[arm]: list(scores[arm].values()) for arm in arms
            if arm in scores}


# %%
plots.show(
    plots.dots_with_intervals(
        recorded("supervised", "longer", "fixmatch", "cutmix-s4mc", "s4mc"),
        "mIoU on the test pictures (%)",
    ),
    alt="Rows of dots, one dot a seed, with mean and interval: the test mIoU "
    "of training on masks alone, of masks alone for longer, of FixMatch, "
    "and of S4MC in the forms that have records.",
)


# %%
def row(one: str, other: str) -> dict:
    """What one arm has over another: paired by seed, with interval and
    verdict."""
    seeds = sorted(scores[one].keys() & scores[other].keys())
    line = {"trained with": names[one], "compared with": names[other],
            "seeds": str(len(seeds))}
    if len(seeds) < 2:
        return {**line, "verdict": "too few seeds"}
    found = paired_interval(
        *([scores[arm][s] for s in seeds] for arm in (one, other))
    )
    return {**line, "points": f"{found.mean:+.1f}",
            "95 % interval": f"{found.low:+.1f} to {found.high:+.1f}",
            "verdict": found.verdict}


def differences(*pairs: tuple[str, str]) -> tables.Table:
    """The lines for which both arms have records."""
    rows = [row(*pair) for pair in pairs if scores.keys() >= set(pair)]
    return tables.results_table(rows or [{"trained with": "no records yet"}])


differences(("s4mc", "longer"), ("cutmix-s4mc", "longer"),
            ("s4mc", "fixmatch"), ("s4mc", "s4mc unrefined"))

# %%
fair = scores["s4mc"].keys() & scores["longer"].keys()
gain = [scores["s4mc"][s] - scores["longer"][s] for s in sorted(fair)]
checks.recorded("s4mc-beats-longer", gain)

# %% [markdown]
# **What to notice.** The first two lines ask whether unlabelled pictures help. The third compares
# two whole recipes: they differ in which pixels are kept, in the rectangle, and in a factor before
# the loss. (The two were recorded in different studies. The machine alone can make about a point
# of difference, so do not build on less.) Only the last line is about **neighbours**: the same
# recipe with their say taken out. Read its verdict before you read on, for it is the question of
# this chapter.

# %% [markdown]
# ## How often do neighbours agree?
#
# If a pixel shows a car, the pixel next to it mostly does, too. How often? Go through the masks.
# For each class $c$ count the pairs of a pixel of the class and one of its four neighbours, and
# among these the pairs in which the neighbour has the class as well. The quotient is $E_c$. For pixels
# $i$ and neighbours $j$:
#
# $$
# E_c = \frac{|\{ (i, j) : y_i = y_j = c \}|}{|\{ (i, j) : y_i = c \}|} \tag{E3}
# $$
#
# The numbers are those at the head of `semiseg_lib/methods/s4mc/method.py`.
#
# **Predict first.** The masks of mini-VOC, like those of VOC, have a void rim along every outline.
# Void is no class, so we leave such neighbours out. What will $E_c$ be?

# %%
seeds = dict.fromkeys((seed, *profile.seeds))
data_of = {s: Data(profile.data, s) for s in seeds}
data = data_of[seed]
masks = data.labelled.masks.long()


def expected(masks: Tensor, **options) -> Tensor:
    """E, (C,): how often a neighbour of a pixel of a class has the class,
    too."""
    same, pairs = s4mc.agreement(masks, len(data.classes), **options)
    return same / pairs


counted = {
    "void left out": expected(masks, void_differs=False),
    "void is another class": expected(masks),
    "the same, 8 neighbours": expected(masks, count=8),
}
tables.results_table([{"class": name, **{how: f"{share[c]:.3f}"
                                         for how, share in counted.items()}}
                      for c, name in enumerate(data.classes)])

# %% [markdown]
# <details><summary>Answer</summary>
#
# One. The rim lies exactly where two classes meet, so without it *no* two neighbours ever differ.
# What was left out was not a random part of the pairs, but all the pairs that mattered.
#
# </details>
#
# This book counts a void neighbour as one of another class, since an outline is what the rim stands
# for. (Drawn without the rim, the masks give nearly the same numbers; a test of the library holds
# this.) Neighbours beyond the border of a picture are left out. The published code counts them as
# pixels of class 0, which makes objects at the border look ragged and background smoother. Its own
# lists of $E_c$ stand below. Those of Cityscapes reach further down: poles are thin. If you have
# VOC, the cell measures some of its masks, too.

# %% tags=["nbval-ignore-output"]
for dataset in ("voc", "cityscapes"):
    recipe = published.recipe("s4mc", dataset)
    (line,) = (one for one in recipe if "expectation" in one.setting)
    print(f"{dataset}, published: {line.published} "
          f"({published.SOURCES[line.source]})")

try:
    train_images = Data(DataConfig("voc"), seed).candidates
    totals = 0
    for i in range(min(200, len(train_images))):
        mask = torch.from_numpy(train_images.sample(i).mask).long()
        totals = totals + torch.stack(s4mc.agreement(mask[None], 21))
    share = (totals[0] / totals[1])[totals[1] > 0]
    print(f"VOC, {share.numel()} classes: E from {share.min():.3f} to "
          f"{share.max():.3f}")
except FileNotFoundError:
    print("no photographs here: see chapter 09 for how to get them")

# %% [markdown]
# ## The union of two events
#
# S4MC [(Kimhi et al., 2024)](references.md#kimhi2024s4mc) asks: what is the probability that the
# pixel **or** a neighbour has class $c$? Let $p$ be the teacher's probability at the pixel (event
# $A$), $n$ the largest one among its neighbours (event $B$). Then
#
# $$
# P(A \cup B) = p + n - P(A \cap B), \qquad P(A \cap B) \approx \max(p\,n,\; p\,E_c).
# $$
#
# If the two were independent, both would happen with probability $p\,n$. But neighbours agree: of
# the cases in which the pixel has the class, the neighbour has it too in the share $E_c$. A factor
# $\beta = e^{-1/2} \approx 0.61$ turns the correction down:
#
# $$
# \tilde p_c = p_c + \beta\,\big[\, n_c - \max(p_c\,n_c,\; p_c\,E_c) \,\big], \qquad
# n_{i,c} = \max_j\, p_{j,c}. \tag{E4}
# $$

# %% [markdown]
# **By hand.** A pixel inside a car is not sure. One neighbour is. Take $\beta = 1$ and $E = 0.95$.
#
# | | car | background |
# |-|-|-|
# | pixel $p$ | 0.60 | 0.40 |
# | best neighbour $n$ | 0.90 | 0.20 |
#
# **Predict first.** Compute both $\tilde p$, and the margin before and after.
#
# <details><summary>Answer</summary>
#
# Car: 0.60 + 0.90 − max(0.54, 0.57) = **0.93**. Background: 0.40 + 0.20 − max(0.08, 0.38) =
# **0.22**. The margin grows from 0.20 to **0.71**. The two no longer add up to 1, and nobody
# divides by their sum.
#
# </details>
#
# Now a pixel at the car's outline: 0.80 car and 0.20 background. Each class takes *its own* best
# neighbour: inside there is one with car 0.95, outside one with background 0.95. What becomes of
# the margin? In code:

# %% tags=["inline", "inline:semiseg_lib.methods.s4mc.method.refine"]
def refine(
    probabilities: Tensor, expectation: Tensor, count: int = 4,
    support: int = 1, beta: float = BETA,
) -> Tensor:
    """Probabilities (B, C, H, W) that the pixel or a supporting neighbour has
    the class."""
    expected = expectation.to(probabilities).view(-1, 1, 1)
    beside = neighbours(probabilities, count)
    # much faster than sorting
    for believed in (
        beside.amax(dim=0, keepdim=True) if support == 1
        else beside.topk(support, dim=0).values
    ):
        joint = probabilities * torch.maximum(believed, expected)
        probabilities = probabilities + beta * (believed - joint)
    return probabilities


# %% tags=["nbval-check-output"]
def strip(*car: float) -> Tensor:
    """Pixels side by side with these probabilities of car: (1, 2, 1, W)."""
    belief = torch.tensor(car, dtype=torch.float64)
    return torch.stack([belief, 1 - belief]).view(1, 2, 1, -1)


E = torch.tensor([0.95, 0.95], dtype=torch.float64)
for name, pixels in {"inside, one sure neighbour": strip(0.80, 0.60, 0.90),
                     "at the outline": strip(0.95, 0.80, 0.05)}.items():
    after = refine(pixels, E, beta=1.0)
    shown = [round(float(value), 2) for value in after[0, :, 0, 1]]
    print(f"{name:<27} refined {shown}  margin "
          f"{float(s4mc.indicator(pixels)[0, 0, 1]):.2f} -> "
          f"{float(s4mc.indicator(after)[0, 0, 1]):.2f}")

# %% [markdown]
# Inside, the margin grows. At the outline it collapses: every class finds somebody who believes in
# it. So "neighbours support a pixel" is half of the story. **They support its rivals, too.**
#
# And what if the neighbours *doubt* the class? A union of events can never be less likely than one
# of them. Put the four outcomes into a table and see whether the formula keeps to that.

# %% tags=["nbval-check-output"]
p = 0.8
for n in (0.9, 0.78, 0.5):
    both = max(p * n, p * 0.95)
    table = {"both": both, "pixel only": p - both, "neighbour only": n - both,
             "neither": 1 - p - n + both}
    print(f"n = {n:.2f}:",
          ", ".join(f"{key} {value:+.2f}" for key, value in table.items()),
          f"  refined {p + n - both:.2f}")

# %% [markdown]
# With $n = 0.5$ the outcome "neighbour only" gets a *negative* probability: $P(A \cap B) = p\,E$ is
# more than $P(B)$ itself. There is no such pair of events. The formula goes on regardless and
# lowers $p$. So where $n < p\,E$ read it as what it does: it pulls a pixel down towards a doubting
# neighbour. That may be useful. It is no probability of a union.

# %% [markdown]
# ## Margins rise and margins fall
#
# Now real predictions. The supervised model, which will be the first teacher, looks at some of the
# unlabelled pictures. How sure a pixel is has three measures: the **margin** (largest minus second
# largest probability, the paper's choice), the **confidence** (the largest) and the negative
# **entropy**. The margin is
#
# $$
# \kappa(p) = p_{(1)} - p_{(2)}. \tag{E2}
# $$
#
# **Predict first.** In which share of the pixels does each of them *fall* when neighbours are
# heard?

# %%
ENOUGH = range(min(200, len(data.unlabelled)))  # pictures that are looked at
KINDS = ("margin", "confidence", "entropy")


def beliefs(s: int, method) -> Tensor:
    """A model's probabilities on a seed's unlabelled pictures,
    (N, C, H, W)."""
    images = data_of[s].unlabelled.without_boxes().take(ENOUGH)
    logits = predict_logits(method, images).float()
    return enlarge(logits, images.images.shape[-2:]).softmax(dim=1)


def sureness(maps: Tensor) -> dict[str, Tensor]:
    """Every indicator of every pixel."""
    return {kind: s4mc.indicator(maps, kind) for kind in KINDS}


start = {
    s: resolve(semi_supervised.supervised(profile, s), device) for s in seeds
}
E, nothing = expected(masks), torch.ones(len(data.classes))
maps = beliefs(seed, start[seed].method)
plain, after = sureness(maps), sureness(refine(maps, E))
agreeing = sureness(refine(maps, nothing))
print("probabilities:", tuple(maps.shape))


# %%


def dropped_share(kind: str, asked: float) -> float:
    """What is dropped when the threshold was to drop the share ``asked``, in
    percent."""
    everywhere = torch.ones_like(plain[kind], dtype=torch.bool)
    least = s4mc.threshold(plain[kind], everywhere, asked)
    return 100 * float((after[kind] <= least).float().mean())


tables.results_table([
    {
        "all in %": kind,
        "falls": 100 * float((after[kind] < plain[kind]).float().mean()),
        "falls if E = 1": 100
        * float((agreeing[kind] < plain[kind]).float().mean()),
        **{f"dropped where {asked:.0%} was asked": dropped_share(kind, asked)
           for asked in (0.4, 0.2, 0.1)},
    } for kind in KINDS
])

# %% [markdown]
# Many margins **fall**. At an outline that is what we saw. But inside an object, too: a class with
# probability 0.001 that hears 0.003 next door rises by more than one with 0.999, which hardly has
# room. The confidence rises nearly everywhere, for the rivals are not in it. And the entropy of
# numbers that no longer add up to 1 moves by its own rules. Compare the first column with the
# second: had void been left out of the count, so that $E = 1$, every pixel whose neighbours are a
# little less sure would lose. What is counted in the first section decides here.
#
# The other columns follow. The threshold is the quantile of the **unrefined** values, the test is
# made on the **refined** ones. So the dropped share is not the one that was asked for.

# %%
def truth_of(s: int) -> Tensor:
    """The hidden masks of the same pictures, (N, H, W); for measuring
    only."""
    hidden = np.asarray(data_of[s].unlabelled_truth)
    return torch.from_numpy(hidden[ENOUGH]).long()


truth = truth_of(seed)
known = truth != VOID
right = (maps.argmax(dim=1) == truth) & known


def fates(kind: str, asked: float) -> dict[str, Tensor]:
    """Which pixels are kept before and after refinement, added and lost, bool
    (N, H, W)."""
    least = s4mc.threshold(plain[kind], torch.ones_like(known), asked)
    before, now = plain[kind] > least, after[kind] > least
    return {"kept before": before, "kept after": now,
            "added": now & ~before, "lost": before & ~now}


# %%
def share_of(where: Tensor) -> str:
    """How many pixels these are, and how many of them are right; void is left
    out."""
    where = where & known
    count = where.sum()
    accuracy = (f"{100 * float((right & where).sum() / count):.1f}" if count
                else "–")
    return f"{100 * float(count / known.sum()):.1f} ({accuracy})"


# %%
tables.results_table([
    {"indicator, asked share": f"{kind}, {asked:.0%}",
     **{name: share_of(where) for name, where in fates(kind, asked).items()}}
    for kind in KINDS for asked in (0.4, 0.2)
])

# %% [markdown]
# In percent of all pixels, and in brackets how many of them are **right**. The hidden masks of the
# unlabelled pictures tell; nothing learns from them. Look at "lost" and "added" in the rows of the
# margin: neighbours take more pixels away than they give, and those that they take are wrong more
# often than those that stay. So the kept pixels become no worse, and perhaps a little better. With
# the confidence it is the other way round. Where do these pixels lie?

# %%
chosen = fates("margin", 0.2)
busy = (chosen["lost"] | chosen["added"]).float().mean(dim=(1, 2))
busiest = busy.argsort(descending=True, stable=True)
shown = busiest[[0, 10, 20, 40]] if len(busy) > 40 else [0, 1]
label = maps.argmax(dim=1)
figure = plots.gallery(
    {
        "picture": data.unlabelled.take(shown).images.numpy(),
        "label": label[shown].numpy(),
        "margin": plain["margin"][shown].numpy(),
        "refined": after["margin"][shown].numpy(),
        "lost": chosen["lost"][shown].numpy(),
        "added": chosen["added"][shown].numpy(),
    }, data.classes,
)
plots.show(
    figure,
    alt="Unlabelled pictures with the teacher's label, its margin before and "
    "after refinement, and maps of the pixels that refinement takes away "
    "and of those that it adds. The lost pixels lie along outlines, in "
    "lines; the added ones are few and scattered.",
)

# %% [markdown]
# ## Better pixels, or fewer?
#
# The kept pixels got better. But they also got **fewer**, and chapter 12 showed that any threshold
# buys accuracy with pixels. So there is a control that costs nothing: leave the neighbours alone
# and raise the threshold on the *plain* indicator until as few pixels are kept. Whatever remains is
# owed to the neighbours.
#
# **Predict first.** What remains, for the margin and for the confidence?

# %%
def gain_at_equal_count(s: int, kind: str, asked: float) -> float:
    """Points by which the pixels kept after refinement are right more often
    than others."""
    plain, after = (all_kinds[kind] for all_kinds in sure_of[s])
    known = truth_of(s) != VOID
    kept = (after > s4mc.threshold(plain, known, asked)) & known
    kept_share = float(kept.sum() / known.sum())
    as_many = s4mc.threshold(plain, known, 1 - kept_share)
    right = beliefs_of[s].argmax(dim=1) == truth_of(s)
    here, there = (
        float((right & some).sum() / some.sum().clamp(min=1))
        for some in (kept, known & (plain > as_many))
    )
    return 100 * (here - there)


# %%
beliefs_of = {s: beliefs(s, start[s].method) for s in seeds}
E_of = {s: expected(one.labelled.masks.long()) for s, one in data_of.items()}
sure_of = {
    s: (sureness(one), sureness(refine(one, E_of[s])))
    for s, one in beliefs_of.items()
}
gains = {
    f"{kind}, {asked:.0%} asked": [
        gain_at_equal_count(s, kind, asked) for s in profile.seeds
    ]
    for kind in KINDS for asked in (0.4, 0.2)
}

# %%
plots.show(
    plots.paired_differences(
        gains, "right of the kept: refined − as many unrefined (points)",
        smallest=0,
    ),
    alt="Paired differences of the accuracy of kept pixels, one row for each "
    "indicator and each share: refined minus an unrefined threshold that "
    "keeps as many pixels, a mark a seed, with intervals about a zero "
    "line.",
)

# %% [markdown]
# Read the rows one by one, with their signs. Where a row lies at zero or below, the neighbours told
# the threshold nothing that the pixel's own belief had not told it: **keeping fewer would have done
# as well**, or better. A network that sees far beyond a pixel has heard its neighbours long before
# we ask them. This is about labels, for one teacher on drawn pictures. Whether the student gains is
# what the records say.

# %% [markdown]
# ### Pick a pixel
#
# Click into a picture, or move with the arrow keys. Find a pixel inside an object whose margin
# rises, and one at an outline whose margin falls. Then move the slider from the end of the training
# (nothing dropped) to its start.

# %%
few = [int(i) for i in shown][:4]
explored = data.unlabelled.without_boxes().take(few)
logits = predict_logits(start[seed].method, explored)
widgets.MarginExplorer(
    explored.images.numpy(), logits.float(), truth[few].numpy(), E,
    data.classes,
    dropped=profile.unlabelled["s4mc"].drop,
)

# %% [markdown]
# ## A threshold that sinks
#
# The share to be dropped falls in a straight line from $\alpha_0 = 0.4$ to nothing. (The authors
# call this dynamic partition adjustment, DPA.) At progress $t \in [0, 1]$
#
# $$
# \gamma_t = \text{the } \alpha_t\text{-quantile of the unrefined } \kappa(p) \text{ over } \Omega,
# \qquad \alpha_t = \alpha_0\,(1 - t), \tag{E5}
# $$
#
# where $\Omega$ are all pixels of the batch. Those that are kept are
#
# $$
# K = \{\, i \in \Omega : \kappa(\tilde p)_i > \gamma_t \,\}. \tag{E6}
# $$
#
# A fixed threshold keeps more pixels as the teacher grows sure. A quantile does not care how sure
# the teacher is: it always drops its share of the batch, good teacher or bad. An overconfident
# teacher, the trouble of chapter 12, does not get more pixels through by that. In the end
# everything is kept, also what is plainly wrong.

# %%
options = profile.unlabelled["s4mc"]
progress = np.linspace(0, 1, 9)
asked = options.drop * (1 - progress)
figure = plots.curves(
    {
        "asked": list(zip(100 * progress, 100 * asked, strict=True)),
        **{kind: [(100 * t, dropped_share(kind, float(share)))
                  for t, share in zip(progress, asked, strict=True)]
           for kind in KINDS},
    }, "progress of the training (%)", "pixels dropped (%)",
)
plots.show(
    figure,
    alt="Four curves over the progress of the training: the share of pixels "
    "that is asked to be dropped, a straight line from forty percent to "
    "nothing, and the share that is dropped by margin, confidence and "
    "entropy after refinement, which lie above or below it.",
)

# %% [markdown]
# ## The loss and its factors
#
# The student sees the strong view $\tilde u$ of a picture, with half of the next picture pasted
# into every second one. Its label is the teacher's own, **unrefined** arg max: neighbours change
# whether a pixel is kept, never what it is called. With $S$ for the strong colours, $M$ for the
# pasting, $q$ and $s$ for the probabilities of teacher and student:
#
# $$
# \hat y = M(\arg\max_c q_c(u)), \qquad p = q(M(u)), \qquad \tilde u = M(S(u)) \tag{E1}
# $$
#
# $$
# L_u = \frac{|\Omega|}{|K|}\; \frac{1}{|K|} \sum_{i \in K}
#   \mathrm{CE}(\hat y_i, s_i(\tilde u)) \tag{E7}
# $$
#
# $$
# L = \mathrm{CE}(y, s(x)) + w\, L_u \tag{E8}
# $$
#
# | in the text | in code | shape |
# |-|-|-|
# | $u$, $\tilde u$ mixed | `batch.unlabelled.images`, `view.images` | `(B_U, 3, H, W)` |
# | $\hat y$, void where dropped | `view.masks` | `(B_U, H, W)` |
# | $p$, $\tilde p$ | `maps`, `refine(maps, E)` | `(B_U, C, H, W)` |
# | $E_c$ | `method.expectation()` | `(C,)` |
# | $\gamma_t$ | `threshold(indicator(maps), inside, alpha)` | a number |
# | $\lvert\Omega\rvert$ | `view.inside.sum()` | a number |
# | $\lvert K\rvert$ | `(view.masks != VOID).sum()` | a number |

# %%
train = profile.train_unlabelled
loader = Loader(
    data.labelled.without_boxes(), data.unlabelled.without_boxes(),
    train.batch_labelled, train.batch_unlabelled, profile.augment, seed,
)
batch = loader.batch(step=0)
torch.manual_seed(seed)
method = methods.build(options, profile.model, len(data.classes)).train()
method.load_start([start[seed].method])
# it counts what the masks' neighbours agree on
losses = method.losses(batch, progress=0.0)
view = method.student_part(
    batch.unlabelled, 0.0, np.random.default_rng(batch.seed)
)
print("E, counted in one batch:",
      [round(float(e), 3) for e in method.expectation()])
dropped = float((view.masks == VOID).float().mean())
print(f"asked to drop {options.drop:.0%}, dropped {dropped:.0%}")

# %% [markdown]
# Now the same step by hand. Two passes of the teacher: the first, on the pictures as they are,
# gives the labels. The second, on the *mixed* pictures, says how sure each pixel is where it stands
# now. (In the published code the teacher is in training mode for the second pass, so that the
# pictures of a batch influence each other. Here it is not.)

# %% tags=["nbval-check-output"]
with torch.no_grad():
    size = batch.unlabelled.images.shape[-2:]
    rng = np.random.default_rng(batch.seed)
    mix = draw_mix(batch.unlabelled.images, options.cutmix, rng)
    student = mix(strong_view(batch.unlabelled.images, options.strong, rng))
    labels = method.average(batch.unlabelled.images)
    labels = mix(enlarge(labels, size).argmax(dim=1))
    sure = method.average(mix(batch.unlabelled.images))
    sure = enlarge(sure, size).softmax(dim=1)
    everywhere = torch.ones_like(labels, dtype=torch.bool)
    least = s4mc.threshold(s4mc.indicator(sure), everywhere, options.drop)
    kept = s4mc.indicator(refine(sure, method.expectation())) > least

both = method.network(torch.cat([batch.labelled.images, student]))
of_student = enlarge(both[train.batch_labelled:], size)
each = functional.cross_entropy(of_student, labels, reduction="none")
by_hand = (kept.numel() / kept.sum()) * each[kept].mean()
print("labels equal:   ", torch.equal(view.masks, labels.where(kept, VOID)))
print("unlabelled term equal:",
      torch.allclose(losses["unlabelled"], by_hand, rtol=1e-4))

# %% [markdown]
# **Predict first.** The teacher keeps one half of the pixels, or one tenth. What does a kept pixel
# weigh, and what do all kept pixels weigh together, if the sum is divided by all pixels (FixMatch),
# by the kept ones (a mean), or by $|K|^2/|\Omega|$ (S4MC)?

# %% tags=["nbval-check-output"]
# a student that knows nothing
flat = torch.zeros(1, 2, 10, 10, requires_grad=True)
for count in (100, 50, 10):
    target = torch.full((1, 100), VOID)
    target[0, :count] = 1
    total = functional.cross_entropy(
        flat, target.view(1, 10, 10), ignore_index=VOID, reduction="sum")
    pulls = []
    for divisor in (100, count, count**2 / 100):
        (gradient,) = torch.autograd.grad(total / divisor, flat,
                                          retain_graph=True)
        pulls.append(float(gradient.abs().sum()))
    print(f"{count:3d} of 100 kept, the pull of all together:  FixMatch "
          f"{pulls[0]:.2f}, mean {pulls[1]:.2f}, S4MC {pulls[2]:.2f}")

# %% [markdown]
# FixMatch lets few sure pixels whisper. A mean lets them speak at the same volume as many. S4MC's
# factor makes the loss **louder the fewer pixels are kept**: it is not a curriculum but its
# opposite. At the start, when the labels are at their worst and 40 % or more of them are dropped,
# the unlabelled loss counts most. And with a hundredth kept it would count a hundredfold. (The
# published code has one more factor: the labelled over the unlabelled pictures of a pass. Its lists
# are made equally long beforehand, so it is 1.) `S4MCConfig(by_kept=False)` gives the mean.

# %% [markdown]
# ## Train one, for a short while
#
# A third of the recorded steps is enough to see the neighbours at work. The schedule is squeezed
# into these steps, so this run is no stand-in for a record: its steps are part of its identity.

# %% tags=["nbval-ignore-output"]
steps = -(-3 * train.steps // 10)
short = replace(profile, train_unlabelled=replace(train, steps=steps))
trained = resolve(semi_supervised.learn(short, seed, options), device)
print("steps:", steps)

# %%
maps = beliefs(seed, trained.method)
plain, after = sureness(maps), sureness(
    refine(maps, trained.method.expectation())
)
right_before, right = right, (maps.argmax(dim=1) == truth) & known
tables.results_table([
    {"teacher": name,
     "right, all pixels (%)": 100 * float(hits.sum() / known.sum()),
     "val mIoU (%)": studies.percent(one.evaluate("val"))}
    for name, hits, one in (("masks alone", right_before, start[seed]),
                            ("S4MC, short", right, trained))
])

# %%
tables.results_table([
    {"now: indicator, asked share": f"{kind}, {asked:.0%}",
     **{name: share_of(where) for name, where in fates(kind, asked).items()}}
    for kind in KINDS for asked in (0.4, 0.2)
])

# %% [markdown]
# The same table as above, for the teacher that S4MC has made. Compare the lost pixels with the
# earlier ones: how right are they now? A rule that took the worst pixels away from a poor teacher
# takes better ones from a better teacher. That is a reason to let the share sink.

# %% [markdown]
# ## What each part is worth
#
# The records take S4MC apart. *Neighbours have no say* is $\beta = 0$: the sinking threshold and
# the factor alone. *Nothing dropped* keeps every pixel, and then the factor is 1: FixMatch with no
# threshold, and with half of another picture instead of a smaller rectangle.
#
# **Predict first.** Which of its parts does S4MC owe its score to?

# %%
differences(
    ("s4mc", "s4mc unrefined"), ("s4mc unrefined", "s4mc all pixels"),
    ("s4mc", "s4mc all pixels"), ("s4mc all pixels", "fixmatch all"),
    ("s4mc", "cutmix-s4mc"), ("s4mc", "fixmatch"),
)

# %% [markdown]
# Line by line: what the neighbours add, what dropping adds (with the factor that comes with it),
# what both add, what the larger rectangle does, what strong colours add to S4MC, and the two
# recipes as wholes. "Cannot tell" means that with these seeds, these pictures and this budget the
# part has not been shown to do anything, and "worse" that it did harm. It may do more on
# photographs with thin objects, and in long trainings in which a poor teacher has time to spoil its
# student. But nobody should *assume* so from a line in which everything was changed at once. Look
# for the line in which one part was taken out alone.

# %% [markdown]
# ### On photographs
#
# ```bash
# semiseg train s4mc --dataset minivoc --profile laptop
# semiseg train cutmix-s4mc --dataset voc --profile gpu --root DIR
# semiseg train s4mc --dataset cityscapes --profile paper --root DIR
# semiseg study context                      # the records of this chapter
# ```
#
# The next table is a reduced run on PASCAL VOC, one seed. It shows that it runs and what it costs.
# It ranks nothing. Its numbers, marked †, were made by an earlier version of the library too.

# %%
variants, rows = studies.STUDIES["voc unlabelled"], []
wanted = ("100 supervised", "100 longer", "100 fixmatch", "100 s4mc",
          "100 cutmix-s4mc")
try:
    photographs = studies.read("voc unlabelled",
                               recipes.load("laptop", "voc"))
    print(photographs.mark)
    rows = [{"100 masks": variants[line["arm"]].text + photographs.sign,
             "test mIoU (%)": f"{line['test']:.1f}",
             "minutes": f"{line['minutes']:.1f}", "seed": str(line["seed"])}
            for line in photographs.rows if line["arm"] in wanted]
except FileNotFoundError as missing:
    print(missing)
tables.results_table(rows or [{"100 masks": "not run yet"}])

# %% [markdown]
# ## Published figures, and what the code does
#
# The authors' README gives these figures, beside others with the same encoder.
# [The published recipes](recipes.md) has every value with its source, and all that differs.

# %%
tables.results_table(published.unlabelled_rows(
                         "voc classic", ("masks alone", "CutMix-Seg",
                                         "S4MC on CutMix-Seg",
                                         "S4MC on FixMatch", "UniMatch 1")
                     ))

# %% [markdown]
# Mind the labels. Between two versions of that README the row "S4MC ψ" became "S4MC + FixMatch"
# with the same numbers, and the caption speaks of the coarsely labelled set while the columns count
# finely labelled pictures. What you compare with is only known from the code. And that has
# surprises, too:
#
# - the loop over a pass is `range(1)`: as released, **one step an epoch** is trained;
# - the list for Cityscapes names `labelIds` files, where 19 classes need `labelTrainIds`: trained
#   as it stands, classes are wrong or out of range;
# - a picture without any known pixel ends in an IndexError, a batch without any kept pixel in NaN
#   (here it is 0);
# - the recorded validation on Cityscapes is of a centre crop, and no program scores a checkpoint.

# %%
tables.results_table([{"where": entry["where"],
                       "what was found": entry["what"],
                       "how sure": published.SOURCES[entry["source"]]}
                      for entry in published.read()["reproducibility"]
                      if entry["system"] == "S4MC"])

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: neither up nor down
#
# Which $n$ leaves $p$ just as it is, for $0 < p < 1$ and $0 < E < 1$? Compare it with $p$ itself:
# a neighbour who believes in the class *a little less* than the pixel does, does it pull up or
# down?
#
# [A solution](solutions/16_marginal_context.ipynb)

# %% tags=["exercise"]
def break_even(p: float, expected: float) -> float:
    """The neighbour's probability that leaves p unchanged."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("16.1"):
    for p, share in ((0.8, 0.95), (0.3, 0.9), (0.99, 0.5)):
        n = break_even(p, share)
        pair = torch.tensor([[p, n]], dtype=torch.float64).view(1, 1, 1, 2)
        unchanged = refine(pair, torch.tensor([share]), beta=1.0)[0, 0, 0, 0]
        checks.same(unchanged, p)

# %% [markdown]
# <details><summary>Up or down?</summary>
#
# Up, as long as $n > p\,E$: with $E$ near 1 the tipping point is just below $p$. So in a smooth
# region *both* of two neighbours pull each other up, and so do both of their rivals.
#
# </details>
#
# ### 2. Implement: which pixels are kept
#
# Write the selection with padding. Given the indicators before and after refinement and which
# pixels show a picture, return a map of the kept ones: exactly the share `dropped` of the *shown*
# pixels lies at or below the threshold before refinement (rounded), and no padding is kept. With
# nothing to drop, everything shown is kept.
#
# [A solution](solutions/16_marginal_context.ipynb)

# %% tags=["exercise"]
def kept_pixels(plain: Tensor, after: Tensor, shown: Tensor,
                dropped: float) -> Tensor:
    """Which pixels are learnt, bool (B, H, W).

    Args:
        plain, after: indicators (B, H, W) before and after refinement.
        shown: bool (B, H, W), False in padding.
        dropped: the share that is asked to be dropped, 0 .. 1.
    """
    raise NotImplementedError("your turn")


# %% tags=["check"]
noise = torch.Generator().manual_seed(162)
plain, after = torch.rand(2, 2, 8, 9, generator=noise)
window = torch.ones(2, 8, 9, dtype=torch.bool)
window[0, :3] = window[1, :, 5:] = False
plain[0, :3] = -1.0  # a padding that would be dropped first
with checks.exercise("16.2"):
    for share, counts in {0.0: (45, 40), 0.25: (34, 30), 0.4: (29, 25),
                          1.0: (0, 0)}.items():
        kept = kept_pixels(plain, after, window, share)
        checks.same(kept.sum(dim=(1, 2)), counts,
                    f"kept of each picture at {share}")
    checks.same(kept_pixels(plain, after, window, 0.4).nonzero().sum(dim=0),
                (25, 232, 171), "where")

# %% [markdown]
# ### 3. Investigate: the mean of the neighbours
#
# Each class takes its own best neighbour, and so everybody's rivals rise at an outline. Replace the
# maximum by the **mean** of the neighbours, $\tilde p = p + \beta\,(\bar n - p)$, a blur. (At the
# border take the mean of those that there are.) The probabilities then add up to 1 again.
#
# [A solution](solutions/16_marginal_context.ipynb)

# %% tags=["exercise"]
def blurred(
    probabilities: Tensor, count: int = 4, beta: float = BETA
) -> Tensor:
    """Probabilities (B, C, H, W), moved by beta towards the mean of the
    neighbours."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
some = torch.rand(2, 3, 6, 7, generator=noise).softmax(dim=1)
with checks.exercise("16.3"):
    checks.same(blurred(some).sum(dim=1), torch.ones(2, 6, 7))
    checks.same(blurred(torch.ones(1, 2, 4, 4)), torch.ones(1, 2, 4, 4))
    for beta, expected_ in ((1.0, 0.3), (0.5, 0.45), (0.0, 0.6)):
        moved = blurred(strip(0.2, 0.6, 0.4), beta=beta)
        checks.same(moved[0, 0, 0, 1], expected_, f"beta {beta}")
    corner = torch.zeros(1, 1, 3, 3)
    corner[..., 0, 0] = 1
    for neighbours_, expected_ in ((4, 0), (8, 1 / 8)):
        middle = blurred(corner, neighbours_, beta=1.0)[0, 0, 1, 1]
        checks.same(middle, expected_, f"a corner of {neighbours_}")

# %% [markdown]
# Is a blur a better witness? The next cell keeps the surest 60 % and 80 % by each rule, for the
# supervised teacher of every seed, so that all keep as many.

# %% tags=["check"]
def accuracy(s: int, sureness: Tensor, kept: float) -> float:
    """How many of the surest pixels are right, as a fraction; void is left
    out."""
    truth = truth_of(s)
    known = truth != VOID
    picked = known & (sureness > s4mc.threshold(sureness, known, 1 - kept))
    right = beliefs_of[s].argmax(dim=1) == truth
    return float((right & picked).sum() / picked.sum().clamp(min=1))


with checks.after("16.3"):
    rules = {"own margin": lambda one: one,
             "best neighbour": lambda one: refine(one, E),
             "mean of neighbours": blurred}
    tables.results_table([
        {"surest by": name, **{
            f"right of the surest {share:.0%}":
                [accuracy(s, s4mc.indicator(rule(beliefs_of[s])), share)
                 for s in profile.seeds]
            for share in (0.6, 0.8)}}
        for name, rule in rules.items()
    ]).show()

# %% [markdown]
# ## Quiz
#
# **1.** A colleague reports that refinement raised the accuracy of the kept pseudo-labels by two
# points. What do you ask?
#
# <details><summary>Answer</summary>
#
# How many were kept before and after? And how accurate are as many pixels by the plain threshold?
#
# </details>
#
# **2.** You set $\alpha_0 = 0.4$ and find that 45 % of the pixels are dropped in the first step. A
# bug?
#
# <details><summary>Answer</summary>
#
# No. The threshold is the quantile of the unrefined margins, and the refined ones are compared with
# it. Near the threshold, along the outlines, more of them have fallen than risen.
#
# </details>
#
# **3.** Two teachers give the same labels, but one has its logits multiplied by three. Which one
# keeps more pixels at a threshold of 0.95 on the confidence, and which at an $\alpha$ of 0.4 on the
# margin, without refinement?
#
# <details><summary>Answer</summary>
#
# At 0.95 the inflated one. At 0.4 both keep 60 %: a quantile looks at the order only. (With more
# than two classes the order may change a little.)
#
# </details>
#
# **4.** Your unlabelled loss explodes while hardly any pixel is kept. Where do you look?
#
# <details><summary>Answer</summary>
#
# At the factor before it: all pixels over the kept ones, on top of a mean over the kept ones.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - Neighbours mostly agree, but a void rim hides where they do not. Say what was counted.
# - Refinement takes, for each class, the neighbour that believes in it most. It raises margins
#   where neighbours agree and lowers them at outlines, where rivals have friends.
# - The formula is a union of events only where $n \ge p\,E$. Below, it is a pull towards doubt.
# - The label is never refined; only whether it is kept.
# - The share that is asked for is not the share that is dropped.
# - Better labels at fewer pixels prove nothing until as many were kept by the plain rule.
# - All over kept, times a mean over kept: the loss is loudest when the teacher is least sure.
#
# ## What can go wrong
#
# - **Borders and padding as neighbours.** Zeros beyond the border support nothing, which is right;
#   labels of class 0 there are wrong. What a network says about padding is set to zero here.
# - **Neighbours from another picture.** Along a pasted rectangle, two pictures touch.
# - **A quantile of the whole tensor with padding in it.** Padding is easy, and eats up the share
#   that was to be dropped.
# - **No pixel kept.** A mean over nothing is NaN, and it stays in the weights.
# - **Entropy of numbers that are no distribution.** It can rank a surer pixel lower.
#
# ## Next
#
# [The comparison](17_comparison.ipynb) puts all methods of this book side by side, at the same
# budget, and asks what each one costs.
#
# ## References
#
# S4MC: [Kimhi et al. (2024)](references.md#kimhi2024s4mc). CutMix in semi-supervised segmentation:
# [French et al. (2020)](references.md#french2020cutmixseg); FixMatch:
# [Sohn et al. (2020)](references.md#sohn2020fixmatch), for segmentation
# [Yang et al. (2023)](references.md#yang2023unimatch). Counting void neighbours as another class,
# the sound quantile without padding, and the warm start are this book's.
