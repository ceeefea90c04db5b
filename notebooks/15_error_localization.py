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
# # Error localisation
#
# *Can a second network see where the first one is wrong?*
#
# After this chapter you can
#
# - say which errors a confidence threshold cannot find, and how many of them there are;
# - train a network that judges another one's labels, with a loss that survives void pixels and
#   pictures without any error;
# - make errors to learn from: decoders that are held back on purpose;
# - compare two detectors of errors fairly, and accept the winner;
# - name what a published script does when there is nothing to learn from.
#
# **You need** pseudo-labels ([chapter 11](11_pseudo_labelling.ipynb)) and thresholds on confidence
# ([chapter 12](12_consistency.ipynb)).
#
# **Minutes**: under one in the `smoke` profile. In the `laptop` profile about one the first time,
# half of one once the runs are on disk.

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
seed = 11  # whose networks are trained and looked into
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn

from semiseg_lib import (
    ImageSet, Loader, VOID, chapter, checks, cross_entropy, enlarge,
    evaluate_labels, models, paired_interval, plots, published, recipes,
    resolve, semi_supervised, studies, tables, widgets,
)

profile = chapter.begin("15_error_localization", profile, device)

# %% [markdown]
# ## The result first
#
# The method of this chapter is **ELN** [(Kwon and Kwak, 2022)](references.md#kwon2022eln). Like
# pseudo-labelling it gives unlabelled pictures the labels of a teacher. Which pixels are learnt is
# decided by a second network, which was trained to find errors. Two arms take one idea away each:
# in **every pixel trusted** the second network has no say; in **not held back** the decoders that
# should make errors for it to learn from may become as good as they can.
#
# The scores are **records**, made with `semiseg study context` and `semiseg study unlabelled` in
# the laptop profile. An arm that nobody has run yet is left out.

# %%
ARMS = {
    "supervised": "masks alone",
    "longer": "masks alone, longer", "fixmatch": "FixMatch",
    "eln": "ELN", "eln all pixels": "ELN, every pixel trusted",
    "eln unheld": "ELN, not held back",
}
scores: dict[str, dict[int, float]] = {}
together = studies.read_together(
    ("unlabelled", "context"), recipes.load("laptop")
)
for study, found in together.items():
    print(f"{study}:", found.made_with)
    for arm in ARMS.keys() & studies.STUDIES[study].keys():
        scores[arm] = dict(zip(found.seeds(arm), found.scores(arm),
                               strict=True))
levels = {  # an interval of two seeds would fill the page
    text: list(scores[arm].values())
    for arm, text in ARMS.items() if len(scores.get(arm, ())) > 2
}
print("seeds:", {
    arm: sorted(by_seed) for arm, by_seed in sorted(scores.items()) if by_seed
})

# %%
plots.show(
    plots.dots_with_intervals(levels, "mIoU on the test pictures (%)"),
    alt="Rows of dots, one dot a seed, with mean and interval: the test mIoU "
    "of training on masks alone, of masks alone for longer, of FixMatch, "
    "and of ELN with and without its two ideas, as far as they were run.",
)


# %%
def compared(one: str, other: str) -> list[dict[str, str]]:
    """The difference of two arms, paired by seed: a line, or none."""
    seeds = sorted(scores.get(one, {}).keys() & scores.get(other, {}).keys())
    if len(seeds) < 2:
        return []
    found = paired_interval(
        *([scores[arm][s] for s in seeds] for arm in (one, other))
    )
    pair = f"{ARMS[one]} − {ARMS[other]}"
    return [{
        "difference in test mIoU (points)": pair,
        "mean": f"{found.mean:+.1f}",
        "interval": f"{found.low:+.1f} to {found.high:+.1f}",
        "seeds": str(found.runs), "verdict": found.verdict,
    }]


pairs = (
    ("eln", "longer"), ("eln", "fixmatch"), ("eln", "eln all pixels"),
    ("eln", "eln unheld")
)
lines = [line for pair in pairs for line in compared(*pair)]
tables.results_table(
    lines or [{"difference in test mIoU (points)": "not run yet"}]
)

# %%
both = sorted(scores["eln"].keys() & scores["longer"].keys())
gain = [scores["eln"][s] - scores["longer"][s] for s in both]
checks.recorded("eln-beats-longer", gain)

# %% [markdown]
# **What to notice.** The first line asks whether the unlabelled pictures were worth anything at
# all. The last two ask what the chapter is about: do the trust, and the errors made on purpose,
# earn their place? A method can be good for a reason that is not in its title. Read the verdicts
# before you read on.

# %% [markdown]
# ## Sure and wrong
#
# Chapter 12 kept the pixels of which the teacher is sure. That finds the errors of which it is
# unsure. An error that it is *sure* of passes every threshold, and is learnt.
#
# **Predict first.** Take the supervised model and pictures that it has not learnt from. Of all its
# wrong pixels, how many have a confidence of at least 0.9? (The hidden masks of some unlabelled
# pictures serve to count. Nothing learns from them.)

# %%
start = resolve(semi_supervised.supervised(profile, seed), device)
data, count = start.data, len(start.classes)
unlabelled = data.unlabelled.without_boxes()
few = range(min(len(unlabelled), 300))  # enough to count on
looked_at = unlabelled.take(few)
truth = np.asarray(data.unlabelled_truth)[few]
known = truth != VOID


@torch.inference_mode()
def beliefs(
    method: nn.Module, images: ImageSet
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, confidence, entropy / log C of every pixel, (N, H, W) each."""
    place, found = next(method.parameters()).device, []
    for numbers in torch.arange(len(images)).split(50):
        part = images.part(numbers.tolist())
        p = method(part.images.to(place)).softmax(dim=1)
        entropy = (
            -(p * p.clamp(min=1e-12).log()).sum(dim=1) / np.log(p.shape[1])
        )
        found.append([p.argmax(dim=1), p.amax(dim=1), entropy])
    return tuple(
        torch.cat(maps).cpu().numpy() for maps in zip(*found, strict=True)
    )


# %%
labels, confidence, _ = beliefs(start.method, looked_at)
wrong = (labels != truth) & known
rows = []
for low, high in ((0.0, 0.6), (0.6, 0.9), (0.9, 0.99), (0.99, 1.01)):
    here = known & (confidence >= low) & (confidence < high)
    caught = (here & wrong).sum() / wrong.sum()
    rows.append({
        "confidence": f"{low:g} to {min(high, 1):g}",
        "of all pixels (%)": f"{100 * here.sum() / known.sum():.1f}",
        "of all errors (%)": f"{100 * caught:.1f}",
        "wrong among these (%)":
            f"{100 * wrong[here].mean():.1f}" if here.any() else "–",
    })
tables.results_table(rows)

# %%
sure_and_wrong = wrong & (confidence >= 0.9)
chosen = np.argsort(-sure_and_wrong.mean(axis=(1, 2)), kind="stable")[:4]
figure = plots.gallery(
    {
        "picture": looked_at.take(chosen).images.numpy(),
        "truth": truth[chosen], "prediction": labels[chosen].astype(np.uint8),
        "confidence": confidence[chosen],
        "sure and wrong": sure_and_wrong[chosen],
    }, data.classes,
)
plots.show(
    figure,
    alt="Four unlabelled pictures with their hidden truth, the supervised "
    "model's prediction, its confidence, dark for 0 and yellow for 1, and "
    "a map that is light where it is at least 0.9 sure and yet wrong: "
    "whole objects light up.",
)

# %% [markdown]
# The last two rows of the table together answer the question. These are the pictures where such
# errors are most frequent. They are no frayed outlines but whole objects: a thing of one class,
# called another with conviction. The confidence of such a pixel looks like that of its right
# neighbours. To find it, something must look at the **picture and the label together** and judge
# whether they go with each other.

# %% [markdown]
# ## A network that judges
#
# The error network $g$ reads three things at the picture's size: the picture $x$, the logits $\ell$
# that were given to it, and their entropy $H$. It answers with one logit a pixel: *the label is
# right here*.
#
# $$
# e = g(x, H, \ell), \qquad H_i = -\sum_c p_{i,c} \log p_{i,c}, \qquad p = \mathrm{softmax}(\ell)
# \tag{E1}
# $$
#
# Where there is a mask $y$, everybody can see whether the label is right. So it learns on the
# labelled pictures, with
#
# $$
# L_{\mathrm{err}} = \frac{1}{n} \sum_{i \,:\, y_i \neq \mathrm{void}} b_i \,
# \mathrm{BCE}\big([\arg\max_c \ell_{i,c} = y_i],\; e_i\big), \qquad
# b_i = 1 \text{ where right, }\; n_{\mathrm{right}} / n_{\mathrm{wrong}} \text{ where wrong.} \tag{E3}
# $$
#
# The numbers are those at the head of `semiseg_lib/methods/eln/method.py`.
#
# | paper | in code | shape |
# |-|-|-|
# | $x$ | `images` | `(B, 3, H, W)` |
# | $\ell$, $H$ | `logits`, their entropy | `(B, C, H, W)`, `(B, 1, H, W)` |
# | $e$ | `right` | `(B, H, W)`, logits |
# | $[\arg\max \ell = y]$ | `hit` | `(B, H, W)` |
# | $b$ of a wrong pixel | `weight` | a number |
#
# Everything it reads is detached: judging a label does not change it. Right pixels are many and
# wrong ones few, so the wrong ones get the weight that makes both kinds count the same.

# %% tags=["inline:semiseg_lib.methods.eln.method.error_loss"]
def error_loss(right: Tensor, labels: Tensor, masks: Tensor,
               balance: float) -> Tensor:
    """Binary cross-entropy of "the label is right here"; wrong ones as heavy
    as right ones.

    ``balance`` bounds the weight of a wrong pixel: it lies between 1 /
    balance and balance.
    """
    known, hit = masks != VOID, labels == masks
    misses = (known & ~hit).sum()
    weight = (hit.sum() / misses.clamp(min=1)).clamp(1 / balance, balance)
    plain = nn.functional.binary_cross_entropy_with_logits(
        right, hit.to(right), reduction="none"
    )
    losses = torch.where(hit, plain, weight * plain).where(known, 0)
    return losses.sum() / known.sum().clamp(min=1)


# %% [markdown]
# ### Three traps
#
# The equation hides three cases, and the published code falls into each. A **void** pixel equals no
# prediction, so a careless comparison calls it an error. If **no** pixel of a batch is wrong, the
# weight is a division by zero. If **all** are wrong, the weight is 0 and nothing is learnt from the
# worst prediction of all.
#
# **Predict first.** Objects of mini-VOC have a thin void outline. By what factor does the number of
# "wrong" pixels of a batch grow if void counts among them?

# %%
options, train = profile.unlabelled["eln"], profile.train_unlabelled
loader = Loader(
    data.labelled.without_boxes(), unlabelled,
    train.batch_labelled, train.batch_unlabelled, profile.augment, seed,
)
labelled = loader.batch(step=0).labelled
place = next(start.method.parameters()).device
with torch.no_grad():
    judged = start.method(labelled.images.to(place)).argmax(dim=1).cpu()
unsaid = torch.zeros(judged.shape)  # g says 1/2 everywhere
# never predicted
careless = labelled.masks.where(labelled.masks != VOID, 254)
for name, masks in (("void left out", labelled.masks),
                    ("void is wrong", careless)):
    misses = int(((judged != masks) & (masks != VOID)).sum())
    print(f"{name}: {misses:5} wrong pixels, loss "
          f"{float(error_loss(unsaid, judged, masks, options.balance)):.3f}")

# %% tags=["nbval-check-output"]
here = torch.full((1, 4, 4), 0.0)
seen = torch.arange(16).view(1, 4, 4) % 3
for name, masks in (("no wrong pixel ", seen),
                    ("no right pixel ", (seen + 1) % 3),
                    ("no known pixel ", torch.full_like(seen, VOID))):
    print(f"{name} loss {float(error_loss(here, seen, masks, 100.0)):.4f}")

# %% [markdown]
# The error network would mostly learn to find outlines: void lies there, and it would be told that
# void is wrong. In ours void counts on neither side. The weight is bounded, so no case is infinite
# or lost; the loss of nothing is 0.

# %% [markdown]
# ## Errors to learn from
#
# Here is the catch. The error network learns on the *labelled* pictures, and those the model knows
# by heart.
#
# **Predict first.** Where will a network that has only ever seen right labels say "wrong"?

# %%
by_heart, *_ = beliefs(start.method, data.labelled.without_boxes())
masks = data.labelled.masks.numpy()
labelled_errors = (by_heart != masks)[masks != VOID].mean()
print("wrong pixels of the supervised model")
print(f"on unlabelled pictures: {100 * wrong[known].mean():4.1f} %")
print(f"on labelled pictures:   {100 * labelled_errors:4.1f} %")

# %% [markdown]
# So errors are **made**. Two further decoders read the encoder's features, and learn the masks as
# the main one does, but on a leash: decoder $k$ learns only while its loss is at least $K_k$ times
# the main one's. As the main decoder gets better, the leash lets them follow. They stay behind it,
# one by a little, one by more, and what they get wrong is what a decoder gets wrong that is not yet
# that far. Their features are detached, so their bad taste does not spoil the encoder. With $d_k$ for
# decoder $k$ and $z$ for the features:
#
# $$
# L_\mathrm{aux} = \sum_k L_k\, [\, L_k \ge K_k L_\mathrm{sup} \,], \qquad
# L_k = \mathrm{CE}\big(y, \mathrm{softmax}(d_k(z))\big) \tag{E2}
# $$

# %% tags=["inline:semiseg_lib.methods.eln.method.held_at"]
def held_at(ratio: float, loss: Tensor, main: Tensor) -> Tensor:
    """An auxiliary decoder's loss while it is at least ``ratio`` times the
    main one's."""
    return torch.where(loss.detach() >= ratio * main.detach(), loss, 0.0)


# %% [markdown]
# To see the leash alone, hold everything else still. The supervised network stays as it is, and
# three fresh decoders learn from its features: two held back, one free. The ratios here are larger
# than the profile's, for a main loss that was learnt by heart is tiny.

# %%
ratios = {"held at 30": 30.0, "held at 10": 10.0, "not held": 0.0}
torch.manual_seed(seed)
decoders = {
    name: models.decoder_alone(models.build(profile.model, count)).train()
    for name in ratios
}
network = start.method.average.cpu().module
learnt = [p for one in decoders.values() for p in one.parameters()]
optimizer = torch.optim.AdamW(learnt, lr=train.lr)

# %%
# of every step: the main decoder's, then those of the three
losses, misses = [], []
for step in range(120):
    part = loader.batch(step).labelled
    with torch.no_grad():
        scales = network.encode(part.images)
        main = network.decode(scales)
    logits = [main, *(one.decode(scales) for one in decoders.values())]
    found = [cross_entropy(one, part.masks) for one in logits]
    optimizer.zero_grad()
    sum(held_at(k, one, found[0])
        for k, one in zip(ratios.values(), found[1:], strict=True)).backward()
    optimizer.step()
    said = torch.stack(
        [enlarge(one, part.masks.shape[-2:]).argmax(dim=1) for one in logits]
    )
    losses.append([one.item() for one in found])
    misses.append((said != part.masks)[:, part.masks != VOID].float()
                  .mean(dim=1).tolist())

# %%
tens = np.array(losses).reshape(12, 10, 4).mean(axis=1)  # of every ten steps
curves = {
    name: [(10 * (i + 1), row[k + 1] / row[0]) for i, row in enumerate(tens)]
    for k, name in enumerate(ratios)
}
plots.show(
    plots.curves(curves, "training step", "loss over the main decoder's",
                 True),
    alt="Three falling curves over the training steps on a logarithmic axis, "
    "each the loss of a decoder over that of the main one. They fall "
    "together; the one that is held at 30 levels off first, the one that "
    "is held at 10 later, and the free one goes on falling.",
)
late = 100 * np.mean(misses[-20:], axis=0)
tables.results_table([
    {"decoder": name,
     "wrong pixels of the labelled views (%)": f"{share:.1f}"}
    for name, share in zip(("main", *ratios), late, strict=True)
])

# %% [markdown]
# A held decoder comes down with the free one, then levels off. It does so somewhat past its ratio,
# not at it: the rule looks at one batch, and every batch on which the main decoder does very well
# sets the others free; and the optimiser's momentum goes on after the gradient has stopped. A leash
# is no target. The last column is what it is for: errors to learn from, on pictures whose masks are
# known.
#
# It holds from below only: a decoder that has not come so far yet is simply worse. The published
# ratios are 20 and 50, and belong to a main loss that is tiny after long training. A loss of
# $\log C$ is what a decoder has that knows nothing, so a ratio that asks for more than that
# leaves the decoder untrained. The laptop profile has 2 and 5: of two pairs that were tried on the
# validation pictures of a seed that is reported nowhere, the better one.

# %% [markdown]
# ## Three phases
#
# 1. **Masks** alone, until the main decoder is worth judging. Here that phase is the supervised run
#    that ELN goes on from.
# 2. **Errors**: auxiliary decoders and error network learn, on the labelled pictures.
# 3. **Unlabelled pictures**: the teacher labels a picture, the error network says which pixels to
#    trust ($\sigma(e') \geq \tau = 0.5$), and the student learns those from two views, a plain one and
#    one with changed colours. All terms are simply added up.
#
# With $\ell'$, $H'$ and $e'$ for what the teacher says of a picture $u$, and views $v$ of it:
#
# $$
# \hat y_i = \arg\max_c \ell'_{i,c} \;\text{ if }\; \sigma(e'_i) \ge \tau, \;\text{ else void,}
# \qquad e' = g(u, H', \ell') \tag{E4}
# $$
#
# $$
# L_u = \sum_v \big( \mathrm{CE}(\hat y, p(v)) + w_\mathrm{con}\, L_\mathrm{con}(v) \big) \tag{E6}
# $$
#
# $$
# L = L_\mathrm{sup} + L_\mathrm{aux} + L_\mathrm{err} + w\, L_u, \qquad
# L_\mathrm{sup} = \mathrm{CE}(y, p(x)) \tag{E7}
# $$
#
# $L_\mathrm{con}$ is the contrast at the end of this chapter.
#
# The next cell trains: 400 steps in the laptop profile, where the records have 1000. It takes the
# longest of this chapter.

# %% tags=["nbval-ignore-output"]
short = replace(profile,
                train_unlabelled=replace(train, steps=min(train.steps, 400)))
trained = resolve(semi_supervised.learn(short, seed, options), device)
method = trained.method.eval()
print("training took",
      f"{trained.record['seconds']:.0f} s on the machine that ran it")

# %%
terms = {
    "masks": "labelled", "auxiliary": "auxiliary", "error": "error",
    "unlabelled": "unlabelled",
}
histories = {
    name: [(row["step"], row[f"loss_{term}"]) for row in trained.history
           if row[f"loss_{term}"] > 0]
    for name, term in terms.items()
}
histories = {name: points for name, points in histories.items() if points}
first = options.unlabelled_from * short.train_unlabelled.steps
print(f"unlabelled pictures from step {first:.0f}")
plots.show(
    plots.curves(histories, "training step", "loss (logarithmic)", True),
    alt="Curves over the training steps on a logarithmic axis: the loss on "
    "the masks; that of the auxiliary decoders, counted only while they "
    "learn; that of the error network, the largest, which falls slowly; "
    "and from the third phase on that of the unlabelled pictures.",
)

# %%
def standing(steps: int = 20) -> list[dict[str, str]]:
    """Each decoder's loss and errors on labelled views, at the end of the
    training."""
    place = next(method.parameters()).device
    decoders, rows = (method.network, *method.auxiliary), []
    for step in range(steps):
        part = loader.batch(step).to(place).labelled
        with torch.no_grad():
            scales = method.network.encode(part.images)
            decoded = [one.decode(scales) for one in decoders]
        logits = [enlarge(one, part.masks.shape[-2:]) for one in decoded]
        masks, known = part.masks, part.masks != VOID
        wrong = [(one.argmax(dim=1) != masks)[known] for one in logits]
        rows.append([
            (float(cross_entropy(one, masks)), float(missed.float().mean()))
            for one, missed in zip(logits, wrong, strict=True)
        ])
    means = np.mean(rows, axis=0)
    names = ("main",
             *(f"auxiliary, K = {ratio:g}" for ratio in options.ratios))
    return [{"decoder": name,
             "loss over the main one's": f"{loss / means[0][0]:.1f}",
             "wrong pixels (%)": f"{100 * misses:.1f}"}
            for name, (loss, misses) in zip(names, means, strict=True)]


# %%
tables.results_table(standing())


# %%
def scored(labels: np.ndarray) -> float:
    """mIoU of labels of the unlabelled pictures, in percent."""
    return 100 * evaluate_labels(truth, labels, data.classes).mean_iou


judged_labels, sureness, entropy = beliefs(method, looked_at)
with torch.inference_mode():
    place = next(method.parameters()).device
    right = torch.cat([
        method.error_map(looked_at.part(some.tolist()).images.to(place)).cpu()
        for some in torch.arange(len(looked_at)).split(50)
    ]).numpy()
print(f"mIoU of the labels of the unlabelled pictures: {scored(labels):.1f} "
      f"before, {scored(judged_labels):.1f} after")

# %%
missed = (judged_labels != truth) & known
worst = np.argsort(-missed.mean(axis=(1, 2)), kind="stable")
chosen = worst[[2, 8, 14, 20]] if len(truth) > 20 else np.arange(4)
kept = right >= options.threshold
figure = plots.gallery(
    {
        "picture": looked_at.take(chosen).images.numpy(),
        "truth": truth[chosen],
        "label": judged_labels[chosen].astype(np.uint8),
        "wrong": missed[chosen], "error map": 1 - right[chosen],
        "doubt": 1 - sureness[chosen],
        "kept": np.where(kept, judged_labels, VOID).astype(np.uint8)[chosen],
    },
    data.classes,
)
plots.show(
    figure,
    alt="Four unlabelled pictures with many errors: hidden truth, predicted "
    "label, where it is wrong, the error map, bright where an error is "
    "suspected, one minus the confidence, and the labels that are kept, "
    "void elsewhere. The map's bands are broader than the lines of doubt.",
)

# %% [markdown]
# **What to notice.** *Doubt* is one minus the confidence. The error map points at much the same
# places with a broader brush: where doubt draws a fine line, it paints a band, and the right pixels
# beside an outline fall with the wrong ones. Now look at whole objects that are wrong, the kind of
# error that all this was made for. Is their middle bright? Which map is the better guide? A few
# pictures cannot say.

# %% [markdown]
# ## Who finds the errors?
#
# Treat each as a **detector of errors**: it gives every pixel a score, and wrong pixels should
# score higher than right ones. Two numbers tell how well it ranks, whatever the threshold. The
# **AUROC** is the chance that a wrong pixel scores higher than a right one, both drawn at random;
# 0.5 is guessing. The **average precision** is the mean share of true errors among the pixels that
# score highest, down to each error in turn; guessing gets the share of errors. It looks at the top
# of the list, and so is the stricter one where errors are rare
# [(Davis and Goadrich, 2006)](references.md#davis2006prroc).
#
# **Predict first.** The error network reads the logits and their entropy, and the picture besides.
# It can know all that confidence knows, and more. Does it win?

# %%
detectors = {"error map": 1 - right,
             "1 − confidence": 1 - sureness, "entropy": entropy,
             "both, averaged": (1 - right) + (1 - sureness)}
target = missed[known]
print(f"wrong pixels: {100 * target.mean():.1f} %")
ranked = {name: roc_auc_score(target, score[known])
          for name, score in detectors.items()}
precise = {name: average_precision_score(target, score[known])
           for name, score in detectors.items()}
tables.results_table([
    {"detector": name, "AUROC": f"{ranked[name]:.3f}",
     "average precision": f"{precise[name]:.3f}"}
    for name in detectors
])

# %%
def by_picture(score: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Average precision in each picture, (N,); NaN without an error."""
    found = np.full(len(score), np.nan)
    for number, (where, errors) in enumerate(
        zip(among, missed & among, strict=True)
    ):
        if errors.any():
            found[number] = average_precision_score(
                errors[where], score[number][where]
            )
    return found


# %%
lines = []
for name, among in (
    ("all pixels", known),
    ("confidence at least 0.9", known & (sureness >= 0.9))
):
    pair = [by_picture(detectors[one], among)
            for one in ("error map", "1 − confidence")]
    both = np.isfinite(pair[0])
    if both.sum() > 1:
        found = paired_interval(pair[0][both], pair[1][both])
        lines.append({
            "error map − confidence, average precision": name,
            "pictures": str(found.runs), "mean": f"{found.mean:+.3f}",
            "interval": f"{found.low:+.3f} to {found.high:+.3f}",
            "the error map is": found.verdict,
        })
tables.results_table(
    lines or [{"error map − confidence, average precision": "no errors"}]
)

# %% [markdown]
# The first line asks about all errors, the second only about those that no confidence threshold
# below 0.9 would find: the reason why ELN was made. The intervals are over pictures, for the one
# network that you trained; another seed has another judge. The answer is what is printed, whether
# it suits the paper or not.
#
# <details><summary>Why a judge that could know more may know less</summary>
#
# It *could* compute the confidence from the logits. But it is trained on few pictures, on other
# decoders' errors, for a short time, and with a weight that calls for many alarms. What it has
# learnt of pictures comes from the same masks that the model itself has learnt. Confidence comes
# for free, and is trained by every pixel.
#
# </details>

# %% [markdown]
# ## What the student learns
#
# For the student only one thing counts: how many pixels it gets, and how many of them are right.
# So compare at an **equal kept share**. The error network keeps what it trusts; confidence keeps
# its own surest pixels, exactly as many.

# %%
share = kept[known].mean()
surest = sureness >= np.quantile(sureness[known], 1 - share)
filters = {"error network": kept, "confidence": surest}
rows = []
for number, name in (*enumerate(data.classes), (None, "all")):
    of_class = known & (True if number is None else judged_labels == number)
    row = {"class": name}
    for title, keeps in filters.items():
        chosen_pixels = of_class & keeps
        row[f"{title}: kept (%)"] = (
            f"{100 * keeps[of_class].mean():.0f}" if of_class.any() else "–"
        )
        row[f"{title}: right (%)"] = (
            f"{100 * (1 - missed[chosen_pixels].mean()):.1f}"
            if chosen_pixels.any() else "–"
        )
    rows.append(row)
tables.results_table(rows)

# %% [markdown]
# The last line is equal in *kept* by construction; its two columns of *right* are the comparison.
# Then go through the classes. Filters of equal size need not drop the same classes, and what a
# filter drops, nobody learns.
#
# Move the slider: to the left everything is learnt, errors included; to the right little is. Find a
# threshold at which the wrong object of a picture is dropped and its right ones are kept. Is there
# one?

# %%
rank = np.argsort(missed.mean(axis=(1, 2)), kind="stable")
shown = [
    int(rank[int(share * (len(rank) - 1))])
    for share in (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
]
widgets.ErrorMapExplorer(
    looked_at.images.numpy(), judged_labels.astype(np.uint8), right, truth,
    data.classes,
    shown=shown, threshold=options.threshold,
)

# %% [markdown]
# ## A contrast that hardly counts
#
# The paper adds a **pixel contrast** among trusted pixels. A teacher's feature should resemble
# students' features of the same pseudo-label, and no others. With anchors $a$, unit vectors $s$ and
# a temperature $T$:
#
# $$
# L_{\mathrm{con}} = -\log \frac{P}{P + Q}, \qquad
# P = \sum_{s \text{ like } a} \exp(a \cdot s / T), \quad
# Q = \sum_{s \text{ unlike } a} \exp(a \cdot s / T), \tag{E5}
# $$
#
# where vectors of the same label are alike.
#
# The devil is in the reduction. The published code forms one such logarithm for each *class* and
# divides it by the number of the class's pixels. Ours is a mean over *anchors*.

# %% tags=["inline:semiseg_lib.methods.eln.method.pixel_contrast"]
def pixel_contrast(
    anchors: Tensor, others: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """Mean over anchors of -log(P / (P + Q)); 0 if there is none. Void is
    left out.

    ``anchors`` and ``others`` are unit vectors (N, D) of the same N cells;
    ``labels`` (N,).
    """
    cosines = (anchors @ others.T).float() / temperature
    known = labels != VOID
    same = known & (labels[:, None] == labels)
    counts = known & same.any(dim=1) & (known & ~same).any(dim=1)
    of_same, of_all = (
        (cosines - 1e9 * ~kind).logsumexp(dim=1) for kind in (same, known)
    )
    return (
        (of_all - of_same).where(counts, 0).sum() / counts.sum().clamp(min=1)
    )


# %%
def one_a_class(
    anchors: Tensor, others: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """The published reduction: one logarithm a class, over the number of its
    pixels."""
    powers = (anchors @ others.T / temperature).exp()
    total = torch.zeros(())
    for label in labels.unique():
        mine = labels == label
        positive, every = powers[mine][:, mine].sum(), powers[mine].sum()
        total = total - (positive / every).log() / mine.sum()
    return total


# %%
noise = torch.Generator().manual_seed(15)
for cells in (256, 1024, 4096):
    their = torch.randint(0, 4, (cells,), generator=noise)
    teachers, raw = (torch.randn(cells, 16, generator=noise)
                     for _ in range(2))
    norms = []
    for loss in (pixel_contrast, one_a_class):
        students = raw.clone().requires_grad_()
        unit = [nn.functional.normalize(one, dim=1)
                for one in (teachers, students)]
        loss(*unit, their, 0.5).backward()
        norms.append(float(students.grad.norm()))
    print(f"{cells:4} cells of four classes: the mean's gradient is "
          f"{norms[0] / norms[1]:4.0f} times as long as the published one's")

# %% [markdown]
# The larger the map, the less is left: the mean's gradient belongs to a loss of about one, whatever
# the number of cells; the other one is divided by it once more. Crops of the feature map are
# 32 × 32 cells there. Such a term is in the equation and, for the encoder, hardly in the training.
# (The projector feels it all the same: AdamW divides each gradient by its own size.) So an ablation
# that takes such a term away tells little about the idea. Before you trust a new term, print its
# gradient beside that of a term that you know.

# %% [markdown]
# ## As published
#
# These are the published scores of ELN, beside others in the same setting. They come from large
# encoders, long training and photographs, so hold them against each other and not against ours.

# %%
print("PASCAL VOC, mIoU in percent on val")
tables.results_table(published.unlabelled_rows(
    "voc blended", ("Mean Teacher", "CPS", "CutMix-CPS", "ELN")
))

# %%
print("Cityscapes, mIoU in percent on val")
tables.results_table(
    published.unlabelled_rows("cityscapes", ("masks alone", "CPS", "ELN"))
)

# %% [markdown]
# Mind the notes. The released code scores VOC at 505 × 505 pixels: the picture is squashed to a
# square, and so is its **mask**, by nearest neighbours. Thin things vanish from the truth before
# anybody is scored on them. Such a number is not the mIoU that the other rows report.
#
# [The published recipes](recipes.md) has every value with its source, and all that differs.
# Four more things to know before you run that code, and what we do instead:
#
# | released code | here |
# |-|-|
# | no trusted pixel in a batch gives NaN, at which the script ends | a loss of 0 |
# | void counts as an error; no error divides by zero | void left out, weight bounded |
# | teacher and error network label with the *batch's* statistics | in evaluation mode |
# | the student is overwritten with the teacher at the start of every epoch | option `reset`, off |
#
# ### Look at your own picture
#
# ```bash
# semiseg train eln --dataset minivoc --profile laptop
# semiseg visualize PICTURE.jpg --run data/runs/RUN --out figure.png --truth MASK.png
# semiseg train eln --dataset voc --profile gpu --root DIR
# ```
#
# The second command draws picture, truth, prediction, error map and kept labels of one run, and
# prints how many errors were found. The next table is a reduced run on real photographs with **one
# seed**: it shows that everything runs and what it costs, and ranks nothing. Its numbers, marked †,
# were made by an earlier version of the library too.

# %%
rows = []
for study, named in (("voc unlabelled", "voc"),
                     ("camvid unlabelled", "camvid")):
    try:
        found = studies.read(study, recipes.load("laptop", named))
    except FileNotFoundError as missing:
        print(missing)
        continue
    print(f"{study}:", found.made_with)
    wanted = ("supervised", "longer", "fixmatch", "eln")
    rows += [
        {"dataset": named, "masks and arm": row["arm"] + found.sign,
         "test mIoU (%)": f"{row['test']:.1f}",
         "minutes": f"{row['minutes']:.1f}",
         "seed": str(row["seed"])}
        for row in found.rows if row["arm"].split(" ", 1)[1] in wanted
        and row["arm"].split(" ")[0] in ("100", "46")
    ]
tables.results_table(rows or [{"dataset": "not run yet"}])

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: the weight of a wrong pixel
#
# Given the numbers of right and wrong pixels of a batch and the bound, return the share of the
# whole weight that the wrong ones hold together. What is it as long as the bound is not reached?
# And with 100 right pixels to 1 wrong one, and a bound of 10?
#
# [A solution](solutions/15_error_localization.ipynb)

# %% tags=["exercise"]
def share_of_the_wrong(right: int, wrong: int, balance: float) -> float:
    """The wrong pixels' part of all weight, 0 .. 1; 0 if there is no
    pixel."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("15.1"):
    for given, expected in (
        ((90, 10, 100.0), 0.5), ((100, 1, 10.0), 0.0909091),
        ((50, 0, 100.0), 0.0), ((0, 50, 100.0), 1.0), ((10, 90, 100.0), 0.5),
        ((0, 0, 100.0), 0.0),
    ):
        checks.same(share_of_the_wrong(*given), expected)

# %% [markdown]
# ### 2. Implement: AUROC without sorting by hand
#
# Write the AUROC from its meaning: over all pairs of a wrong and a right pixel, the share in which
# the wrong one scores higher; a tie counts one half. Pairs of some hundred pixels fit a matrix.
# Why does it not change if all scores are squared, as long as they are not negative?
#
# [A solution](solutions/15_error_localization.ipynb)

# %% tags=["exercise"]
def auroc(wrong: np.ndarray, score: np.ndarray) -> float:
    """The chance that a wrong pixel scores higher than a right one."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
rng = np.random.default_rng(15)
some, their = rng.random(400) < 0.1, rng.integers(0, 30, 400) / 30
with checks.exercise("15.2"):
    checks.same(auroc(some, their), 0.417139)
    checks.same(auroc(some, their), auroc(some, their**2))
    checks.same(auroc(some, np.zeros(400)), 0.5)

# %% [markdown]
# ### 3. Investigate: a cheaper judge
#
# A judge need not be a network. Write a filter that keeps the surest share of **each predicted
# class** by confidence, as many pixels of a class as the error network keeps of it. Is the accuracy
# of what it keeps above the error network's? What does the answer say about where the error
# network's strength or weakness lies: between classes, or within them?
#
# [A solution](solutions/15_error_localization.ipynb)

# %% tags=["exercise"]
def class_by_class(keeps: np.ndarray, labels: np.ndarray,
                   sure: np.ndarray) -> np.ndarray:
    """Bool like ``keeps``: as many pixels of each predicted class, the
    surest."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
tiny = (np.array([1, 1, 0, 1, 0, 0], bool), np.array([0, 0, 0, 1, 1, 1]),
       np.array([0.7, 0.9, 0.8, 0.3, 0.2, 0.6]))
with checks.exercise("15.3"):
    checks.same(class_by_class(*tiny), np.array([0, 1, 1, 0, 0, 1], bool))
    cheap = class_by_class(kept, judged_labels, sureness)
    for name, keeps in (("error network", kept),
                        ("confidence, class by class", cheap)):
        print(f"  {name:<27} {100 * (1 - missed[keeps & known].mean()):.1f} "
              "% right")

# %% [markdown]
# <details><summary>What it says</summary>
#
# The two keep equally many pixels of every class. So what is left of a difference lies **within**
# the classes: it is which pixels of a class are trusted. Whatever the difference in the table above
# was more than this is owed to which classes are trusted.
#
# </details>

# %% [markdown]
# ## Quiz
#
# **1.** Your error network says "right" everywhere. Its plain accuracy is 93 %. Is it a good judge?
#
# <details><summary>Answer</summary>
#
# It is none. If 7 % of the pixels are wrong, saying "right" everywhere scores 93 %. That is why the
# loss is balanced, and why one looks at AUROC or average precision.
#
# </details>
#
# **2.** The error network is trained on the main decoder's predictions of labelled pictures alone.
# What goes wrong?
#
# <details><summary>Answer</summary>
#
# Training drives those errors to zero. It sees fewer and fewer of them, and the last ones are
# outlines and label noise. On new pictures the errors are of another kind.
#
# </details>
#
# **3.** Which gradient flows from the error network's loss into the segmentation network?
#
# <details><summary>Answer</summary>
#
# None. Picture, logits and entropy are detached. Otherwise the model could learn to please the
# judge: to make predictions that are easy to call right or wrong.
#
# </details>
#
# **4.** A paper compares "pixels filtered by our network" with "all pixels". What is missing?
#
# <details><summary>Answer</summary>
#
# The filter that costs nothing: confidence, at the same kept share. And the seeds.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - Many errors are confident ones; no threshold on confidence finds those.
# - A judge that reads picture and prediction together can be learnt from masks, with right and
#   wrong pixels balanced and void on neither side.
# - It needs errors to learn from. Decoders held back at a multiple of the main loss make them.
# - Judge a judge by AUROC and average precision on pictures that nobody learnt from, beside the
#   detector that comes for free.
# - Compare filters at an equal kept share, class by class.
# - A term can be in the paper and, by its reduction, hardly in the training.
#
# ## What can go wrong
#
# - **Void as error**: the judge learns outlines.
# - **Ratios copied from a paper**: 20 times a large loss asks for a decoder that knows nothing.
# - **A gradient from the judge into the judged.**
# - **A batch without a trusted pixel**: a mean over none. Divide by at least one.
# - **Scores on squashed pictures** beside scores at full size.
#
# ## Next
#
# Here a second network decides whom to trust. [Chapter 16](16_marginal_context.ipynb) asks somebody
# nearer: a pixel's own neighbours.
#
# ## References
#
# Error localisation: [Kwon and Kwak (2022)](references.md#kwon2022eln). What average precision sees
# that AUROC does not: [Davis and Goadrich (2006)](references.md#davis2006prroc). The supervised
# start, the moving average as the deployed network, the bounded weight and the contrast's reduction
# are this book's.
