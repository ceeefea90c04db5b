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
# # Consistency
#
# *What can a picture without any label teach?*
#
# After this chapter you can
#
# - turn a picture without a label into a training example: two views, one teacher, one threshold;
# - say what a confidence threshold buys, what it costs, and whom it leaves out;
# - write the loss of FixMatch, and say why it is divided by *all* pixels;
# - name the controls without which a gain proves nothing, and read their verdicts;
# - tell when a threshold of 0.95 is really one of 0.7.
#
# **You need** the supervised baseline of [chapter 03](03_supervised_baseline.ipynb), and the idea
# of a pseudo-label from [chapter 11](11_pseudo_labelling.ipynb).
#
# **Minutes**: under one in the `smoke` profile. In the `laptop` profile between one and two the
# first time, half of one once the runs are on disk.

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
seed = 11  # whose model is trained and looked into
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib import (
    Loader, MovingAverage, VOID, batches, chapter, checks, confidence_counts,
    cross_entropy, draw_masks, draw_mix, enlarge, evaluate_labels, methods,
    paired_interval, plots, predict_logits, predict_part, published, recipes,
    resolve, self_correction, semi_supervised, strong_view, studies, tables,
    widgets,
)

profile = chapter.begin("12_consistency", profile, device)

# %% [markdown]
# ## The result first
#
# From here on the unlabelled pictures have lost their boxes. They are truly **unlabelled**:
# pictures and nothing else. Four models, each trained once per seed. **Masks alone** is the
# baseline of chapter 03. The next two go on from it, still on masks alone: the one for as many more
# steps as its rivals get, the other in addition on strongly changed views. The last one,
# **FixMatch**, also looks at the unlabelled pictures.
#
# Training all of them takes longer than a chapter may. The scores are **records**, made with
# `semiseg study unlabelled` in the laptop profile. One FixMatch you will train yourself.

# %%
records = studies.read("unlabelled", recipes.load("laptop"))
arms = studies.STUDIES["unlabelled"]


def recorded(*names: str) -> dict[str, list[float]]:
    """Test mIoU in percent of the arms that have records, one value a
    seed."""
    known = [name for name in names if records.seeds(name)]
    return {
        arms[name].text: records.scores(name) for name in known
    }


print("seeds:", records.seeds("supervised"))
print("made with:", records.made_with)
print(records.mark)

# %%
figure = plots.dots_with_intervals(recorded("supervised", "longer", "strong",
                                            "fixmatch"),
                                   "mIoU on the test pictures (%)")
plots.show(
    figure,
    alt="Rows of dots, one dot a seed, with mean and interval: the test mIoU "
    "of a model trained on the masks alone, of two that were trained on "
    "them for longer, one of these on strong views, and of FixMatch, "
    "which also learns from unlabelled pictures.",
)

# %% [markdown]
# **What to notice.** Go down row by row. The first step is what more *time* is worth, the second
# what stronger *views* of the same masks are worth. Only the last one is owed to the unlabelled
# pictures. A paper that shows the first and the last row alone lets you credit one with the work of
# three. Paired differences and their verdicts follow further down.

# %% [markdown]
# ## The same picture, seen twice
#
# Take the supervised model, and pictures that it has not learnt from. Change their colours, grey
# some, blur some. Nothing moves, so every pixel still shows what it showed before.
#
# **Predict first.** How does the model do on the changed pictures? And what follows from that for
# a picture whose label nobody knows?
#
# <details><summary>Answer</summary>
#
# Worse. It gives many pixels another class than before. For a pixel that gets two different
# classes, at least one is wrong, and *to see this no label is needed*. That is the signal of this
# chapter: a model should be **consistent** with itself. It is a faint signal, too. A model that
# says background everywhere is perfectly consistent.
#
# </details>

# %%
start = resolve(self_correction.supervised(profile, seed), device)
data, options = start.data, profile.unlabelled["fixmatch"]

val = data.val.without_boxes()
fifties = np.array_split(range(len(val)), -(-len(val) // 50))
plain = [val.part(numbers) for numbers in fifties]
rng = np.random.default_rng([seed, 12])
strong = [
    replace(one, images=strong_view(one.images, options.strong, rng))
    for one in plain
]


def labels_of(method: nn.Module, parts: list) -> np.ndarray:
    """The most likely class of every pixel of the parts' pictures,
    (N, H, W)."""
    found = [predict_part(method, part).argmax(dim=1) for part in parts]
    return torch.cat(found).cpu().numpy()


# %%
def consistency(method: nn.Module) -> dict[str, float]:
    """How alike a model sees the validation pictures and their strong views,
    in percent."""
    of_plain, of_strong = labels_of(method, plain), labels_of(method, strong)
    truth = val.masks.numpy()
    scores = [evaluate_labels(truth, labels, data.classes).mean_iou
              for labels in (of_plain, of_strong)]
    return {
        "mIoU on plain pictures": 100 * scores[0],
        "mIoU on strong views": 100 * scores[1],
        "pixels that change class": 100
        * float((of_plain != of_strong).mean()),
    }


before = consistency(start.method)
tables.results_table([{"model": "masks alone", **before}])

# %%
def pixels(images: Tensor) -> np.ndarray:
    """Pictures of a part, floats in [0, 1], as uint8 for drawing."""
    return (255 * images).round().to(torch.uint8).numpy()


of_plain = labels_of(start.method, plain)
of_strong = labels_of(start.method, strong)
chosen = np.argsort(-(of_plain != of_strong).mean(axis=(1, 2)),
                    kind="stable")[:3]
figure = plots.gallery(
    {
        "plain": val.images[chosen].numpy(), "its label": of_plain[chosen],
        "strong view": pixels(torch.cat(
                                  [one.images for one in strong]
                              ))[chosen], "its own label": of_strong[chosen],
        "truth": val.masks[chosen].numpy(),
    }, data.classes,
)
plots.show(
    figure,
    alt="Three validation pictures with the label that the supervised model "
    "gives them, a strongly recoloured view of each with the very "
    "different label that it gives to that, and the truth.",
)

# %% [markdown]
# These are the three on which the model contradicts itself most. Which of its two answers is the
# better one, as a rule? The table says: the one for the plain picture. So the lesson has a
# **direction**. The label of the plain view is given to the strong view, never the other way round.

# %% [markdown]
# ## A teacher, a student, and three gaps
#
# FixMatch [(Sohn et al., 2020)](references.md#sohn2020fixmatch) makes a training example of an
# unlabelled picture $u$:
#
# 1. A *weak* view of it (a flip, a shift, a little colour) goes to the **teacher**. Its most likely
#    class in each pixel becomes the label $\hat y$.
# 2. Pixels of which the teacher is less sure than a threshold $\tau$ become void.
# 3. The *strong* view of the same weak view goes to the **student**, which learns $\hat y$.
#
# With $q$ for the teacher's probabilities, the first two steps are
#
# $$
# \hat y_i = \arg\max_c q_{i,c} \;\text{ if }\; \max_c q_{i,c} \ge \tau, \;\text{ else void,}
# \qquad q = \mathrm{softmax}(f(u; \bar\theta)). \tag{E1}
# $$
#
# For the third, $S$ changes the colours, and $M$ pastes, as the next section shows. There may be
# several strong views $k = 1 \dots K$; here there is one.
#
# $$
# \tilde u_k = M_k(S_k(u)), \qquad \tilde y_k = M_k(\hat y). \tag{E2}
# $$
#
# The numbers are those at the head of `semiseg_lib/methods/fixmatch/method.py`.
#
# Chapter 07 showed that a model which learns its own soft output learns nothing: the pull is zero.
# Here are three gaps between the one that says and the one that learns: another view, other
# weights (the teacher is the student's moving average), and a hard label for a soft belief.

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
labels = method.teach(batch.unlabelled.images)
rng = np.random.default_rng(batch.seed)
view = method.strong_part(batch.unlabelled, labels, rng)
print("weak views:", tuple(batch.unlabelled.images.shape),
      " labels:", tuple(labels.shape))
kept = (labels != VOID).float().mean()
print(f"kept at a confidence of {options.threshold:g}: {kept:.0%}")

# %%
with torch.no_grad():
    whole_label = method(batch.unlabelled.images).argmax(dim=1)
shown = slice(0, 4)
figure = plots.gallery(
    {
        "weak view": pixels(batch.unlabelled.images[shown]),
        "teacher's label": whole_label[shown].numpy(),
        "what is kept": labels[shown].numpy(),
        "strong, mixed": pixels(view.images[shown]),
        "its label": view.masks[shown].numpy(),
    }, data.classes,
)
plots.show(
    figure,
    alt="Unlabelled pictures of one batch in five columns: a weak view, all "
    "of the teacher's label, the same label with its unsure pixels void, "
    "the strong view with a rectangle of the next picture pasted into "
    "some, and the label mixed in the same way.",
)

# %% [markdown]
# **What to notice.** Void eats the outlines first, and now and then a whole object. In some strong
# views a rectangle shows another picture: CutMix, the subject of the next section. Compare each
# with its label. Every rectangle of the picture is one of the label too.

# %% [markdown]
# ## CutMix
#
# Strong colours leave a picture's layout alone. CutMix
# [(Yun et al., 2019)](references.md#yun2019cutmix) does not: it pastes a rectangle of the next
# picture of the batch, and the teacher's label of that rectangle with it. An object may lose half
# of its body and all of its surroundings, and should be recognised still. Whether that helps on
# these pictures is another question. A table further down has the answer.
#
# Two habits are in use. FixMatch's masks are **one box**, in half of the pictures. CutMix-CPS
# ([chapter 13](13_cross_pseudo_supervision.ipynb)) takes **three boxes**, and where two of them
# overlap, the first picture shows again. Move the slider through some draws of each.

# %%
size = plain[0].images.shape[-2:]
always = replace(options.cutmix, chance=1.0)
CONFIGS = {"one box": always, "three boxes, XOR": batches.THREE_BOXES}
drawn = {name: draw_masks(24, tuple(size), config,
                          np.random.default_rng([seed, 13]))
         .numpy() for name, config in CONFIGS.items()}
widgets.CutMixSampler(data.unlabelled.take(range(4)).images.numpy(), drawn)

# %%
for name, config in CONFIGS.items():
    many = draw_masks(
        2000, (64, 64), config, np.random.default_rng(12)
    ).float().mean(dim=(1, 2))
    low, high = many.quantile(0.05), many.quantile(0.95)
    print(f"{name:<17} pasted share: mean {many.mean():.2f}, nine of ten "
          f"between {low:.2f} and {high:.2f}")

# %% [markdown]
# ## What a threshold buys
#
# Nobody checks the teacher's labels. The one thing that we know about a pixel is how sure the
# teacher is. So keep the sure ones. The unlabelled pictures have hidden masks, which no training
# reads; with them we can look up what a threshold keeps of the supervised model's pixels, and how
# much of that is right. At the start of the training, this model is the teacher.
#
# **Predict first.** Raise the threshold from 0.8 to 0.95. What do you gain, what do you lose, and
# do all classes lose alike?

# %%
truth = np.asarray(data.unlabelled_truth)
logits = predict_logits(start.method, data.unlabelled.without_boxes())
counts = confidence_counts(logits, truth, data.classes)
thresholds = np.arange(0.3, 1.0, 0.025).round(3).tolist()
figure = plots.curves(
    {
        "kept": [(t, 100 * counts.overall_kept(t)) for t in thresholds],
        "right, of the kept": [(t, 100 * counts.overall_accuracy(t))
                               for t in thresholds],
    }, "threshold on the teacher's confidence", "pixels (%)",
)
plots.show(
    figure,
    alt="Two curves against the confidence threshold: the share of the "
    "unlabelled pictures' pixels that are kept, which falls, and the "
    "share of the kept ones that is right, which rises.",
)

# %%
tables.results_table([
    {
        "class": low["class"], "kept at 0.8": f"{low['kept']:.0f}",
        "kept at 0.95": f"{high['kept']:.0f}",
        "right, of those at 0.8": f"{low['accuracy of the kept']:.0f}",
        "right, of those at 0.95": f"{high['accuracy of the kept']:.0f}",
    }
    for low, high in zip(counts.rows(0.8), counts.rows(0.95), strict=True)
])

# %% [markdown]
# All in percent, by the class that the model calls a pixel. A threshold buys accuracy and pays
# with pixels. Background hardly pays; every object class pays several times as much. So whoever
# raises the threshold also changes **which classes** the unlabelled pictures teach. Now look for
# the row whose kept pixels are wrong most often. If its pixels are kept as readily as those of the
# other objects, then the model is sure of its mistakes there, and no threshold on sureness will
# find them.
#
# Nor are the kept pixels a fair sample within a class. As the pictures above show, they lie in the
# middle of objects and seldom along an outline.
#
# Move the slider below. Find a threshold at which an object vanishes, and one at which a wrong
# label survives everything.

# %%
labelled_as = enlarge(logits, truth.shape[-2:]).argmax(dim=1).numpy()
wrong = ((labelled_as != truth) & (truth != VOID)).mean(axis=(1, 2))
ranked = np.argsort(wrong, kind="stable")
picked = [
    int(ranked[int(share * (len(ranked) - 1))])
    for share in (0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
]
widgets.ThresholdExplorer(
    data.unlabelled.take(picked).images.numpy(), logits[picked],
    truth[picked], counts,
    data.classes, threshold=options.threshold,
)

# %% [markdown]
# Published recipes do not agree on the threshold. UniMatch's code has 0.95 for VOC and 0 for
# Cityscapes, where every pixel counts; its second version has 0.95 for both. This book's laptop
# profile has 0.8, chosen on the validation pictures of a seed that is reported nowhere.

# %% [markdown]
# ## The loss
#
# With weak views $x$, $u$ and strong views $\tilde u_k$, and $p$ for the student's probabilities:
#
# $$
# \ell(\hat y, p) = -\frac{1}{|\Omega|}
#   \sum_{i \in \Omega,\; \hat y_i \ne \mathrm{void}} \log p_{i, \hat y_i} \tag{E3}
# $$
#
# $$
# L_s = \frac{1}{K} \sum_k \ell(\tilde y_k, p(\tilde u_k)), \qquad
# p(x) = \mathrm{softmax}(f(x; \theta)) \tag{E4}
# $$
#
# $$
# L = \mathrm{CE}(y, p(x)) + w\, L_u, \tag{E7}
# $$
#
# where $L_u = L_s$ until UniMatch adds to it.
#
# | in the text | in code | shape |
# |-|-|-|
# | $x$, $y$ | `batch.labelled.images`, `.masks` | `(B_L, 3, H, W)`, `(B_L, H, W)` |
# | $u$ | `batch.unlabelled.images` | `(B_U, 3, H, W)` |
# | $q$, the teacher | `method.average(...).softmax(dim=1)` | `(B_U, C, h, w)` |
# | $\hat y$, void below $\tau$ | `method.teach(batch.unlabelled.images)` | `(B_U, H, W)` |
# | $\tilde u$, $\tilde y$ | `view.images`, `view.masks` | `(B_U, 3, H, W)`, `(B_U, H, W)` |
# | $\Omega$, pixels that show a picture | `view.inside` | `(B_U, H, W)` |
# | $w$, $\tau$ | `options.weight`, `options.threshold` | numbers |
#
# The sum is over the sure pixels, but the divisor counts **all** that are shown:

# %% tags=["inline", "inline:semiseg_lib.methods.losses.confident_cross_entropy"]
def confident_cross_entropy(logits: Tensor, labels: Tensor,
                            inside: Tensor) -> Tensor:
    """Cross-entropy of the pixels with a label, summed, divided by all that
    are shown."""
    logits = enlarge(logits, labels.shape[-2:])
    labels = labels.where(inside, VOID)
    total = nn.functional.cross_entropy(logits, labels, ignore_index=VOID,
                                        reduction="sum")
    return total / inside.sum().clamp(min=1)


# %% [markdown]
# **Predict first.** A teacher at the start is sure of one pixel in a hundred. A later one is sure
# of all. The student knows nothing yet: two classes, even odds, so each pixel costs $\ln 2 \approx
# 0.693$. What does each divisor make of the two?

# %% tags=["nbval-check-output"]
even = torch.zeros(1, 2, 10, 10)
inside = torch.ones(1, 10, 10, dtype=torch.bool)
for sure in (1, 100):
    label = torch.full((1, 100), VOID)
    label[0, :sure] = 1
    label = label.view(1, 10, 10)
    over_all = float(confident_cross_entropy(even, label, inside))
    over_sure = float(cross_entropy(even, label))
    print(f"{sure:3d} sure pixels of 100:  divided by all {over_all:.3f}, "
          f"by the sure {over_sure:.3f}")

# %% [markdown]
# Divided by the sure pixels alone, one lucky pixel shouts as loudly as a whole picture. Divided by
# all, the unlabelled pictures speak up only as the teacher grows sure. With a high threshold this
# can make a **curriculum** that nobody has to schedule: easy pixels first, little weight at first.
# Whether it does depends on the teacher, as you will see once one is trained.
#
# Now a whole step by hand, then the library's on the same batch. The draws depend on `batch.seed`
# alone, so both see the same views.

# %% tags=["nbval-check-output"]
method.train()
rng = np.random.default_rng(batch.seed)
labels = method.teach(batch.unlabelled.images)
mix = draw_mix(batch.unlabelled.images, options.cutmix, rng)
images = mix(strong_view(batch.unlabelled.images, options.strong, rng))

both = method.network(torch.cat([batch.labelled.images, images]))
logits_labelled, logits_strong = both.split(
    [train.batch_labelled, train.batch_unlabelled]
)
everywhere = torch.ones_like(labels, dtype=torch.bool)
by_hand = {
    "labelled": cross_entropy(logits_labelled, batch.labelled.masks),
    "unlabelled": options.weight * confident_cross_entropy(
        logits_strong, mix(labels), everywhere
    ),
}
for name, term in method.losses(batch, progress=0.0).items():
    print(f"{name} term equal:",
          torch.allclose(term, by_hand[name], rtol=1e-4))

# %% [markdown]
# ## Who teaches
#
# The teacher is the moving average of the student
# [(Tarvainen and Valpola, 2017)](references.md#tarvainen2017meanteacher), which this book deploys
# anyway. After update $j = 0, 1, \dots$ it is
#
# $$
# \bar\theta \leftarrow d_j\,\bar\theta + (1 - d_j)\,\theta, \qquad d_j = \min\!\big(d,\; 1 -
# \tfrac{1}{j+1}\big).
# $$
#
# **Predict first.** What is $\bar\theta$ after the first $1/(1-d)$ updates?
#
# <details><summary>Answer</summary>
#
# Their plain mean. With $d_0 = 0$, $d_1 = 1/2$, $d_2 = 2/3$ every update so far has the same
# weight. From then on the past fades by the factor $d$ a step: after $n$ updates, student $i$ has
# the share
# $(1-d)\, d^{\,n - \max(i,\, 1/(1-d))}$.
#
# </details>

# %% tags=["nbval-check-output"]
decay, early, count = 0.75, 4, 12  # early = 1 / (1 - decay)
weights = torch.randn(count, generator=torch.Generator().manual_seed(12))
network = nn.Linear(1, 1, bias=False)
average, seen = MovingAverage(network, decay), []
for weight in weights:
    nn.init.constant_(network.weight, float(weight))
    average.update_parameters(network)
    seen.append(float(average.module.weight.detach()))

update = torch.arange(1, count + 1)
shares = (1 - decay) * decay ** (count - update.clamp(min=early)).float()
print("the shares of the 12 students add up to",
      round(float(shares.sum()), 6))
print("after  4 updates it is the plain mean: ",
      bool(np.isclose(seen[3], weights[:4].mean())))
print("after 12 updates it is the closed form:",
      bool(np.isclose(seen[-1], shares @ weights)))

# %% [markdown]
# An average is steadier than the student of the moment, so its labels do not flicker from step to
# step. It is not independent of the student, though. It repeats, with some delay, what the student
# has come to believe. Version 1 of UniMatch [(Yang et al., 2023)](references.md#yang2023unimatch)
# has no average at all: the student labels the weak view itself, and the threshold and the strong
# views must do. Here that is `FixMatchConfig(ema_decay=0)`.

# %% [markdown]
# ## Controls
#
# FixMatch differs from the baseline in three ways, and only one of them is interesting. It trains
# longer, it sees stronger views, and it reads unlabelled pictures. Each of the first two gets a
# control. A third control is about the code: with $w = 0$ FixMatch must *be* supervised training,
# to the last bit. If it is not, the comparison is between two programs and not between two
# methods.

# %% tags=["nbval-check-output"]
def three_steps(config) -> dict[str, Tensor]:
    """All weights after three steps of a method, from one start on the same
    batches."""
    torch.manual_seed(seed)
    method = methods.build(config, profile.model, len(data.classes)).train()
    method.load_start([start.method])
    optimizer = torch.optim.AdamW(method.network.parameters(), lr=train.lr)
    for step in range(3):
        sum(method.losses(loader.batch(step), progress=step / 3)
            .values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(step)
    return method.state_dict()


silent = three_steps(replace(options, weight=0.0))
masks_alone = three_steps(profile.supervised)
same = all(torch.equal(silent[name], value)
           for name, value in masks_alone.items())
print("weight 0: every weight equal to supervised training's, bit by bit:",
      same)


# %% [markdown]
# The other two are runs, each with several seeds. We subtract within a seed, as ever. Row by
# row, the table asks what one more ingredient is worth.

# %%
def row(one: str, other: str) -> dict:
    """What one arm has over another: paired by seed, with interval and
    verdict."""
    here, there = (
        dict(zip(records.seeds(name), records.scores(name), strict=True))
        for name in (one, other)
    )
    seeds = sorted(here.keys() & there.keys())
    line = {"trained with": arms[one].text,
            "test mIoU": [here[s] / 100 for s in seeds],
            "compared with": arms[other].text}
    if len(seeds) < 2:
        return {**line, "verdict": "one seed: no verdict"}
    interval = paired_interval([here[s] for s in seeds],
                               [there[s] for s in seeds])
    return {**line, "points": f"{interval.mean:+.1f}",
            "95 % interval": f"{interval.low:+.1f} to {interval.high:+.1f}",
            "verdict": interval.verdict}


# %%
def rows(*pairs: tuple[str, str]) -> list[dict]:
    """The lines of a table, without those whose arms have no records of a
    common seed."""
    return [
        row(*pair)
        for pair in pairs
        if set.intersection(*map(set, map(records.seeds, pair)))
    ]


# %%
tables.results_table(rows(
    ("longer", "supervised"), ("strong", "longer"), ("fixmatch", "strong"),
    ("fixmatch", "longer"),
))

# %%
def gain(one: str, other: str) -> list[float]:
    """The differences in points, seed by seed, of two arms that have the same
    seeds."""
    return [a - b for a, b in zip(records.scores(one), records.scores(other),
                                  strict=True)]


checks.recorded("fixmatch-beats-longer", gain("fixmatch", "longer"))
checks.recorded("fixmatch-beats-strong-views", gain("fixmatch", "strong"))

# %% [markdown]
# The third row is the one that counts: same steps, same strong views, same CutMix. What is left is
# the unlabelled pictures. The last row is what papers call "gain over the baseline", if they
# are careful. It mixes pictures and views.

# %% [markdown]
# ## Train one
#
# FixMatch goes on from the supervised run, and names it as its start. The next cell trains it, or
# loads the finished run.

# %% tags=["nbval-ignore-output"]
run = semi_supervised.learn(profile, seed, options)
fixmatch = resolve(run, device)
print("goes on from the supervised run:", run.start == (start.run,))

# %%
figure = plots.curves(
    {
        name: [
            (entry["step"], entry[f"loss_{name}"])
            for entry in fixmatch.history
        ]
        for name in ("labelled", "unlabelled")
    },
    "training step",
    "loss",
)
plots.show(
    figure,
    alt="Two curves over the training steps of FixMatch: the loss on the "
    "labelled pictures and the loss on the strong views of the unlabelled "
    "ones.",
)

# %% [markdown]
# Neither curve tells you whether the model got better. The unlabelled term falls when the student
# agrees more, and rises when the teacher keeps more pixels; its target moves. So measure what it
# was meant to change: the consistency, the teacher's labels, and the score on masks.

# %%
without_masks = data.unlabelled.without_boxes()
logits_after = predict_logits(fixmatch.method, without_masks)
counts_after = confidence_counts(logits_after, truth, data.classes)


def line(name: str, consistent: dict[str, float], counted) -> dict:
    """Consistency, and what the threshold keeps of the unlabelled pictures,
    in percent."""
    kept = counted.overall_kept(options.threshold)
    right = counted.overall_accuracy(options.threshold)
    return {"model": name, **consistent,
            "pixels kept": 100 * kept, "right of these": 100 * right}


torch.manual_seed(seed)
fresh = methods.build(options, profile.model, len(data.classes)).eval()
logits_fresh = predict_logits(fresh, without_masks)
counts_fresh = confidence_counts(logits_fresh, truth, data.classes)
tables.results_table([
    line("fresh weights", consistency(fresh), counts_fresh),
    line("masks alone", before, counts),
    line("FixMatch", consistency(fixmatch.method), counts_after),
])

# %% [markdown]
# All in percent, for this one seed. Compare the last two rows: the labels of plain and strong views
# have come closer, and both have become better. Had only the first happened, be warned: the first
# row is the model that contradicts itself least, for it knows nothing.
#
# Now the column of kept pixels. A fresh network is sure of nothing: there the threshold is a
# curriculum indeed, and training would begin with long silence. Our teacher starts from the
# supervised run and is sure of most pixels from the first step. So the threshold hardly schedules
# anything here. What rises is the share of the kept labels that is *right*. Only the hidden masks
# tell us that, and in a real project you do not have them.

# %%
scores = {"masks alone": start.evaluate(), "FixMatch": fixmatch.evaluate()}
figure = plots.class_bars({name: score.iou for name, score in scores.items()},
                          data.classes)
plots.show(
    figure,
    alt="For each class a pair of bars: the IoU on the test pictures of the "
    "model trained on the masks alone and of FixMatch, which went on from "
    "it.",
)
for name, score in scores.items():
    print(f"{name:<12} mIoU {studies.percent(score):.1f} % "
          f"on the test pictures, seed {seed}")

# %% [markdown]
# Compare the bars with the table of thresholds above. Did the classes gain most of which the
# teacher kept many pixels, or those that had most to gain? One seed suggests; it proves nothing.

# %% [markdown]
# ## Two more views
#
# UniMatch adds two views of each unlabelled picture
# [(Yang et al., 2023)](references.md#yang2023unimatch):
#
# - a **second strong view**, with colours and rectangle drawn anew. Both learn the same label, so
#   one look of the teacher serves two lessons;
# - a **weak view with dropped features**: half of the encoder's maps are set to zero, drawn for
#   each picture, and the decoder must do with the rest. Colours can only change what a person can
#   think of. Features that vanish change what the network happens to rely on.
#
# With $h$ for the encoder, $g$ for the decoder and $D$ for the dropping:
#
# $$
# L_d = \ell\big(\hat y,\, \mathrm{softmax}(g(D(h(u))))\big) \tag{E5}
# $$
#
# $$
# L_u = (L_s + L_d) / 2 \tag{E6}
# $$
#
# In the published code the loss is half of $L_x + \tfrac14 L_{s1} + \tfrac14 L_{s2} + \tfrac12
# L_{fp}$. This book's $L$ with $w = 1$ has the same proportions, without the half.

# %% tags=["nbval-check-output"]
unimatch = methods.build(replace(options, views=2, feature_dropout=0.5),
                         profile.model, len(data.classes)).train()
features = unimatch.network.encode(batch.unlabelled.images[:2])
print("scales of the encoder that are dropped from:", len(features))
side = batch.unlabelled.images.shape[-1]
print("strides:", [side // one.shape[-1] for one in features])
print("terms of the loss:", list(unimatch.losses(batch, progress=0.0)))

# %% [markdown]
# ### What each part is worth
#
# Three runs that go off from FixMatch. *No CutMix* has strong colours alone. *No threshold* learns
# every pixel. The last one has UniMatch's two additions.
#
# **Predict first.** Write down "better", "worse" or "cannot tell" for each row before you look.

# %%
tables.results_table(rows(
                         ("fixmatch plain", "fixmatch"),
                         ("fixmatch all", "fixmatch"),
                         ("unimatch", "fixmatch"),
                     ))

# %% [markdown]
# Read the verdicts, not the means. An ablation with a handful of seeds finds large effects and is
# blind to small ones. And it holds for these pictures and this budget. A threshold that does no
# good here, where the classes are few and well apart, may be needed elsewhere. Remember how far
# apart the published recipes are.

# %% [markdown]
# ## When confidence lies
#
# A threshold on confidence is worth what the confidence is worth. A model is **calibrated** if, of
# all pixels of which it is 80 % sure, 80 % are right. Sort the pixels of the unlabelled pictures by
# confidence and look:

# %%
def reliability(counted, groups: int = 10) -> list[tuple[float, float]]:
    """Mean confidence and share of right pixels (both %), for groups ever
    surer."""
    middles = (np.arange(counted.bins) + 0.5) / counted.bins
    total, right = counted.total.sum(axis=0), counted.right.sum(axis=0)
    in_group, sure, correct = (one.reshape(groups, -1).sum(axis=1)
                               for one in (total, total * middles, right))
    enough = in_group >= 0.001 * total.sum()  # no handful of pixels
    shares = 100 * np.stack([sure, correct])[:, enough] / in_group[enough]
    return list(zip(*shares, strict=True))


figure = plots.curves(
    {"calibrated": [(20, 20), (100, 100)], "masks alone": reliability(counts),
     "FixMatch": reliability(counts_after)},
    "confidence (%)", "right (%)",
)
plots.show(
    figure,
    alt="The share of right pixels against the confidence of the model, for "
    "the supervised model and for FixMatch, beside the diagonal of a "
    "calibrated model. A curve below the diagonal means overconfidence.",
)

# %% [markdown]
# Below the diagonal a model is surer than it should be. Networks often are
# [(Guo et al., 2017)](references.md#guo2017calibration). Few masks and many passes over them are an
# easy way there: a model learns to be sure of pictures that it knows by heart. (FixMatch's curve is
# of pictures that it has learnt from, though never their masks.)
#
# Now make it worse. Multiply the teacher's logits by $t$. Not one label changes, only its
# confidence.
#
# **Predict first.** At the profile's threshold, what do $t = 3$ and $t = 1/3$ do to the kept share
# and to its accuracy?

# %%
tables.results_table([
    {
        "teacher's logits": f"times {t:.2g}",
        "right of all": 100 * scaled.overall_accuracy(0.0),
        "kept": 100 * scaled.overall_kept(options.threshold),
        "right of the kept": 100 * scaled.overall_accuracy(options.threshold),
    }
    for t, scaled in ((t, confidence_counts(t * logits, truth, data.classes))
                      for t in (1 / 3, 1.0, 3.0))
])

# %% [markdown]
# All in percent. The overconfident teacher keeps nearly everything, and its kept pixels are hardly
# better than all of them: the threshold is there and does next to nothing. The timid one keeps far
# less, and nearly all of that is right. All three have the *same* mIoU. So a threshold cannot be
# carried over from one model to another like a learning rate. Look at what it keeps, on pictures
# whose masks you have and did not train on. Exercise 3 makes this exact.

# %% [markdown]
# ## On real photographs
#
# The library runs the same method on photographs. A view is then a random crop, and what lies
# outside the picture is padding: it counts in neither sum nor divisor.
#
# ```bash
# semiseg train fixmatch --dataset voc --profile laptop --root DIR     # reduced, on a CPU
# semiseg train fixmatch --dataset voc --profile paper --root DIR      # as published, on GPUs
# semiseg study "voc unlabelled" --root DIR
# ```
#
# This book could afford one seed of the reduced profile, with 100 masks. One seed ranks nothing.
# The table shows that it runs, and what it costs.
# These numbers were made by an earlier version of the library; the records name the commits. Such
# rows are marked †, and are not mixed with runs of today's code.

# %%
photographs = studies.STUDIES["voc unlabelled"]
try:
    on_voc = studies.read("voc unlabelled", recipes.load("laptop", "voc"))
    print(on_voc.mark)
    lines = [
        {"trained with": photographs[one["arm"]].text + on_voc.sign,
         "seed": str(one["seed"]), "VOC mIoU": f"{one['test']:.1f}",
         "minutes": f"{one['minutes']:.0f}"}
        for one in on_voc.rows
        if one["arm"].split(" ", 1)[1] in ("supervised", "longer", "fixmatch")
    ]
except FileNotFoundError as missing:
    lines = []
    print(missing)
tables.results_table(lines) if lines else None

# %% [markdown]
# What others report, on VOC with masks from its own 1,464 pictures. The column *how sure* says
# where each line was read. Compare within an encoder first, then across.

# %%
tables.results_table([
    line for line in published.unlabelled_rows("voc classic")
    if line["published"].startswith(("masks alone", "UniMatch"))
])

# %% [markdown]
# With few masks the method adds much to each encoder. But the strongest encoder *without any
# unlabelled picture* is ahead of the weakest one *with* them, in every column. Who compares two
# methods must hold the encoder fixed, and the crop, the lists and the epochs too.
# [The published recipes](recipes.md) shows UniMatch's values, each with its source, and what of the
# system ours does not reproduce.

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: how long does a teacher remember?
#
# After how many steps has the weight of one student in the teacher fallen to half of what it was
# at first? (Assume that the first $1/(1-d)$ steps are over.) Write the function, then think about
# $d = 0.999$ in a training of 600 steps.
#
# [A solution](solutions/12_consistency.ipynb)

# %% tags=["exercise"]
def half_life(decay: float) -> float:
    """Steps after which a student's weight in the moving average has
    halved."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("12.1"):
    for decay, expected in {0.5: 1.0, 0.99: 68.9676, 0.999: 692.8}.items():
        checks.same(half_life(decay), expected)

# %% [markdown]
# ### 2. Implement: CutMix for a batch
#
# Paste the next picture of the batch into each one where the mask says so, and the first one into
# the last. Do the same with the labels. Do *not* draw another mask for them.
#
# [A solution](solutions/12_consistency.ipynb)

# %% tags=["exercise"]
def cutmix(images: Tensor, labels: Tensor,
           masks: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and labels, mixed alike.

    Args:
        images: (B, 3, H, W).
        labels: (B, H, W).
        masks: bool (B, H, W), True where the next picture is pasted.
    """
    raise NotImplementedError("your turn")


# %% tags=["check"]
masks = draw_masks(3, (8, 8), batches.THREE_BOXES, np.random.default_rng(2))
generator = torch.Generator().manual_seed(2)
some_images = torch.rand(3, 3, 8, 8, generator=generator)
some_labels = torch.randint(0, 5, (3, 8, 8), generator=generator)
mixed = batches.Mix(masks)
with checks.exercise("12.2"):
    for part, given in enumerate((some_images, some_labels)):
        checks.same(cutmix(some_images, some_labels, masks)[part],
                    mixed(given))

# %% [markdown]
# ### 3. Investigate: the threshold that you really have
#
# There are two classes, and a calibrated teacher. Its logits are multiplied by $t$. A pixel passes
# the threshold $\tau$ on the inflated confidence. What must its *true* confidence be at least?
# (Confidence $p$ means a margin of $\ln \frac{p}{1-p}$, and margins are what $t$ multiplies.)
#
# [A solution](solutions/12_consistency.ipynb)

# %% tags=["exercise"]
def true_threshold(threshold: float, t: float) -> float:
    """The calibrated confidence at which a teacher t times too sure just
    passes."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("12.3"):
    for t, expected in {1.0: 0.95, 3.0: 0.72739, 0.5: 0.99724}.items():
        checks.same(true_threshold(0.95, t), expected)

# %% [markdown]
# With more than two classes it is not exact, but nearly so, for few pixels waver between three. The
# next cell compares what the inflated teacher keeps at 0.95 with what the original keeps at the
# threshold that your function gives. If your own teacher is overconfident, turn it round: which
# threshold would you have to write to *get* 0.95?

# %% tags=["check"]
inflated = confidence_counts(3 * logits, truth, data.classes)
with checks.after("12.3"):
    # the counts are exact at such steps
    asked = round(200 * true_threshold(0.95, 3.0)) / 200
    print("times 3, threshold 0.95:      kept "
          f"{inflated.overall_kept(0.95):.1%}, right "
          f"{inflated.overall_accuracy(0.95):.1%}")
    print(f"as it is, threshold {asked:g}:   kept "
          f"{counts.overall_kept(asked):.1%}, right "
          f"{counts.overall_accuracy(asked):.1%}")

# %% [markdown]
# ## Quiz
#
# **1.** A colleague lets the *strong* view be labelled by the teacher and the student learn that
# label on the weak view. The loss falls nicely. What is wrong?
#
# <details><summary>Answer</summary>
#
# The direction. Labels of strong views are worse, as the first table shows, so the student learns
# from the worse of two opinions. A loss that falls says only that the two agree.
#
# </details>
#
# **2.** With the threshold at 0.95, the share of kept pixels rises from epoch to epoch. Is the
# training going well?
#
# <details><summary>Answer</summary>
#
# You cannot tell. Growing better and growing overconfident both raise it. Look at the accuracy of
# the kept pixels on pictures with masks that were not trained on.
#
# </details>
#
# **3.** "FixMatch gives us eight points over the supervised baseline." Which two questions do you
# ask?
#
# <details><summary>Answer</summary>
#
# Did the baseline get as many steps, and the same strong views? And over how many seeds was the
# difference taken, paired within a seed?
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - Two views of one picture should get one label. That can be checked without knowing the label.
# - The lesson goes from the weak view to the strong one, and from the average to the student.
# - A threshold trades pixels for accuracy, and not at the same price in every class.
# - Divide by all pixels that are shown: then few sure pixels weigh little. With a teacher that
#   starts unsure, that is a curriculum; with a warm one, hardly.
# - Longer training and strong views are controls. What remains after them is owed to the pictures.
# - A threshold means what it says only for a calibrated teacher.
#
# ## What can go wrong
#
# - **Picture mixed, label not.** Or mixed with another mask. It trains without an error message.
# - **A label for padding.** The teacher has an opinion there, too, and often a sure one.
# - **A gradient through the label.** `teach` runs without gradients. If it did not, the teacher
#   could lower the loss by becoming sure.
# - **The teacher in training mode.** Its labels would depend on the other pictures of the batch.
# - **A cold start.** With a high threshold it begins with silence, with a low one with noise.
# - **A threshold from a paper.** It belongs to that paper's network, data and calibration.
#
# ## Next
#
# [Cross pseudo supervision](13_cross_pseudo_supervision.ipynb) does without threshold and average.
# Two students that started from different weights label the pictures for each other.
#
# ## References
#
# FixMatch: [Sohn et al. (2020)](references.md#sohn2020fixmatch), there for whole pictures. Its form
# for segmentation, the second strong view and the dropped features:
# [Yang et al. (2023)](references.md#yang2023unimatch); the averaged teacher in that line:
# [Yang et al. (2025)](references.md#yang2025unimatchv2). CutMix:
# [Yun et al. (2019)](references.md#yun2019cutmix), for segmentation with few labels
# [French et al. (2020)](references.md#french2020cutmixseg). The averaged teacher:
# [Tarvainen and Valpola (2017)](references.md#tarvainen2017meanteacher). Calibration of networks:
# [Guo et al. (2017)](references.md#guo2017calibration). The threshold of 0.8, the warm start and
# the number of steps are this book's choices.
