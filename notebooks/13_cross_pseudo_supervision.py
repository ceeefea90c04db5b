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
# # Cross pseudo supervision
#
# *Can two students teach each other?*
#
# After this chapter you can
#
# - map where two networks disagree, and say which of their errors no disagreement will show;
# - write the loss of cross pseudo supervision (CPS), with CutMix and without;
# - show that it treats both networks alike, that labels take no gradient, and that twins have
#   nothing to teach each other;
# - say what the pasted boxes really cover, and what labelling in training mode leaves behind;
# - judge a published score by what others found when they ran the code again.
#
# **You need** pseudo-labels ([chapter 11](11_pseudo_labelling.ipynb)) and CutMix
# ([chapter 12](12_consistency.ipynb)).
#
# **Minutes**: under one in the `smoke` profile. In the `laptop` profile about three the first time,
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
seed = 11  # whose two networks are trained and taken apart
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from semiseg_lib import (
    ImageSet, Loader, VOID, batches, chapter, checks, draw_masks, draw_mix,
    enlarge, evaluate_labels, methods, paired_interval, plots, published,
    recipes, resolve, semi_supervised, studies, tables,
)

profile = chapter.begin("13_cross_pseudo_supervision", profile, device)

# %% [markdown]
# ## The result first
#
# In chapter 12 a network learnt from a moving average of itself. Here it learns from **another
# network**, and that one learns from it. Both have seen the same few masks and differ only in the
# weights that they started from. The scores are **records**, made with `semiseg study unlabelled`
# in the laptop profile: 24 masks, and for every row but the first the same number of further steps.

# %%
records = studies.read("unlabelled", recipes.load("laptop"))
ARMS = {
    "supervised": "masks alone", "longer": "masks alone, longer",
    "fixmatch": "FixMatch", "cps": "CPS", "cutmix-cps": "CutMix-CPS",
    "boxes alone": "one network, boxes",
}
levels = {
    text: records.scores(arm)
    for arm, text in ARMS.items() if records.scores(arm)
}
print("seeds:", records.seeds("supervised"))
print("made with:", records.made_with)
print(records.mark)

# %%
plots.show(
    plots.dots_with_intervals(levels, "mIoU on the test pictures (%)"),
    alt="Rows of dots, one dot a seed, with mean and interval: the test mIoU "
    "of training on masks alone, of masks alone for longer, of FixMatch, "
    "of CPS, of CPS with CutMix, and of one network that learns with the "
    "same pasted boxes.",
)


# %%
def compared(one: str, other: str, name: str) -> dict[str, str]:
    """A line of a table: the difference of two arms in test mIoU, paired by
    seed."""
    by_seed = [
        dict(zip(records.seeds(arm), records.scores(arm), strict=True))
        for arm in (one, other)
    ]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    line = {"difference in test mIoU (points)": name,
            "seeds": str(len(seeds))}
    if len(seeds) > 1:
        found = paired_interval(
            *([scores[s] for s in seeds] for scores in by_seed)
        )
        interval = f"{found.low:+.1f} to {found.high:+.1f}"
        line |= {"mean": f"{found.mean:+.1f}", "interval": interval,
                 "verdict": found.verdict}
    return line


pairs = (("cps", "longer"), ("cutmix-cps", "longer"), ("cutmix-cps", "cps"),
         ("cutmix-cps", "fixmatch"))
tables.results_table(
    [compared(a, b, f"{ARMS[a]} − {ARMS[b]}") for a, b in pairs]
)

# %%
fair = zip(records.scores("cutmix-cps"), records.scores("longer"),
           strict=True)
gain = [ours - theirs for ours, theirs in fair]
checks.recorded("cutmix-cps-beats-longer", gain)

# %% [markdown]
# **What to notice.** The fair opponent is *masks alone, longer*, since everybody got further
# steps. The third line asks what the pasted boxes of CutMix bring. The last one compares two
# methods that were both given CutMix, and read it with care: they differ in much else, and CPS
# trains two networks, so that its steps cost more. You will measure how much. The last row of the
# figure is a control, of which more below.

# %% [markdown]
# ## Two opinions
#
# Train the supervised model twice, on the same masks in the same order. Only the random weights
# at the start differ. What does the second network know that the first does not?
#
# **Predict first.** In which share of the pixels of new pictures do the two differ? And when they
# differ, how often is one of them right?
#
# The next cell names both runs, and `resolve` finds them on disk or trains what is missing. The
# hidden masks of the unlabelled pictures serve to count; nothing learns from them.

# %%
both_runs = semi_supervised.warm_starts(profile, seed, networks=2)
start = [resolve(run, device) for run in both_runs]
data = start[0].data
count = len(data.classes)
without_masks = data.unlabelled.without_boxes()
hidden = np.asarray(data.unlabelled_truth)


# %%
@torch.inference_mode()
def beliefs(network: nn.Module, images: ImageSet) -> Tensor:
    """A network's probabilities in every pixel of some pictures,
    (N, C, H, W)."""
    network.eval()
    place = next(network.parameters()).device
    pieces = torch.arange(len(images)).split(50)
    parts = (
        images.part(numbers.tolist()).images.to(place) for numbers in pieces
    )
    return torch.cat([
        enlarge(network(some), some.shape[-2:]).softmax(dim=1).cpu()
        for some in parts
    ])


def labels_of(probabilities: Tensor) -> np.ndarray:
    """The most likely class of every pixel, (N, H, W)."""
    return probabilities.argmax(dim=1).numpy()


# %%
def outcomes(one: np.ndarray, two: np.ndarray) -> dict[str, float]:
    """Shares of the unlabelled pictures' known pixels by who is right, in
    percent."""
    known = hidden != VOID
    one, two, truth = (labels[known] for labels in (one, two, hidden))
    right, right_two, alike = one == truth, two == truth, one == two
    shares = {
        "both right": right & alike,
        "only the first right": right & ~alike,
        "only the second right": right_two & ~alike,
        "both wrong, they differ": ~right & ~right_two & ~alike,
        "both wrong, alike": ~right & alike,
    }
    return {name: 100 * float(where.mean()) for name, where in shares.items()}


def hidden_errors(shares: dict[str, float]) -> float:
    """Of the first one's wrong pixels, the percentage in which the second
    errs alike."""
    wrong = 100 - shares["both right"] - shares["only the first right"]
    return 100 * shares["both wrong, alike"] / wrong


# %%
before = [
    labels_of(beliefs(one.method.network, without_masks)) for one in start
]
shares_before = outcomes(*before)
for name, share in shares_before.items():
    print(f"{name:<24} {share:5.1f} % of the pixels")
shared = hidden_errors(shares_before)
print(f"\nthe first one's errors that the second shares: {shared:.0f} %")

# %%
differ = before[0] != before[1]
chosen = np.argsort(-differ.mean(axis=(1, 2)), kind="stable")[:4]
figure = plots.gallery(
    {
        "picture": without_masks.take(chosen).images.numpy(),
        "first": before[0][chosen], "second": before[1][chosen],
        "they differ": differ[chosen], "truth": hidden[chosen],
    },
    data.classes,
)
plots.show(
    figure,
    alt="Four unlabelled pictures on which two networks disagree most, each "
    "with both networks' labels, a map that is light where they differ, "
    "and the hidden truth.",
)

# %% [markdown]
# Where they differ, **at least one is wrong**, and no mask was needed to find that out. That is
# what disagreement is worth. Two limits belong to it. Errors that both make alike stay hidden;
# they come from what the networks share: the masks, the architecture, the order of the batches.
# And disagreement does not say *who* is right.
#
# CPS has no referee. Each network is told to believe the other, and the masks go on pulling at
# both. The hope: an accident of one start is hard to teach, since the other network finds nothing
# in the pictures to tie it to, while what holds for many pictures is learnt. Hope is not proof.
# The table above is the test.

# %% [markdown]
# ## The loss
#
# Without CutMix [(Chen et al., 2021)](references.md#chen2021cps), for networks $k = 1, 2$ with
# beliefs $p_k$ and hard labels $\hat y_k$ on pictures $v$:
#
# $$
# \hat y_k = \arg\max_c p_{k,c}(v), \qquad p_k = \mathrm{softmax}(f_k), \qquad k = 1, 2 \tag{E1}
# $$
#
# $$
# L_u = \mathrm{CE}_\Omega(\hat y_2, p_1(v)) + \mathrm{CE}_\Omega(\hat y_1, p_2(v)) \tag{E2}
# $$
#
# $$
# L = \sum_k \mathrm{CE}_F(y, p_k(x)) + \lambda\, L_u \tag{E3}
# $$
#
# The numbers are those at the head of `semiseg_lib/methods/cps/method.py`. The cross terms run over
# **all** pictures $v$, those with masks ($F$) included. Every pixel counts ($\Omega$ leaves out
# padding only): there is no threshold. Both networks see the same view.
#
# | paper | in code | shape |
# |-|-|-|
# | $x_F$, $x_U$ | `labelled.images`, `unlabelled.images` | `(B_F, 3, H, W)`, `(B_U, 3, H, W)` |
# | $p_1$, $p_2$ | softmax of `large[0]`, `large[1]` | `(B_F + B_U, C, H, W)` |
# | $\hat y_1$, $\hat y_2$ | `labels[0]`, `labels[1]` | `(B_F + B_U, H, W)` |
# | $\lambda$ | `cps.config.weight` | a number |
# | the cross terms | `cross` | two numbers |

# %%
train = profile.train_unlabelled
loader = Loader(
    data.labelled.without_boxes(), without_masks,
    train.batch_labelled, train.batch_unlabelled, profile.augment, seed,
)
batch = loader.batch(step=0)
labelled, unlabelled = batch.labelled, batch.unlabelled


def pair(options: methods.CPSConfig, begin=start) -> methods.CPS:
    """Two networks in training mode on the CPU, with the weights of finished
    runs."""
    method = methods.build(options, profile.model, count)
    method.load_start([one.method for one in begin])
    return method.train()


# %%
cps = pair(profile.unlabelled["cps"])
images = torch.cat([labelled.images, unlabelled.images])
size = images.shape[-2:]

large = [
    enlarge(network(images), size) for network in (cps.network, cps.second)
]
labels = [logits.argmax(dim=1) for logits in large]

cross = [functional.cross_entropy(large[0], labels[1]),  # the second's label
         functional.cross_entropy(large[1], labels[0])]
loss_cross = cps.config.weight * sum(cross)

with_masks = len(labelled.images)
loss_labelled = sum(functional.cross_entropy(logits[:with_masks],
                                             labelled.masks,
                                             ignore_index=VOID)
                    for logits in large)

# %% tags=["nbval-check-output"]
losses = cps.losses(batch, progress=0.5)
print("labelled term equal:",
      torch.allclose(losses["labelled"], loss_labelled, rtol=1e-4))
print("cross term equal:   ",
      torch.allclose(losses["unlabelled"], loss_cross, rtol=1e-4))

# %% [markdown]
# ### Three properties
#
# **Predict first.** Does the first network's cross term give the second network a gradient? Does
# anything change if the networks trade places? And what if both start with the *same* weights?
#
# <details><summary>Answer</summary>
#
# No: an arg max is a step function, so the label is a constant to the loss. No: the loss is the
# same sum in another order (only the deployed network is another one). And twins stay twins. They
# see the same pictures and the same labels, and so take the same steps for ever. Their labels never
# differ, and the cross term is the loss of a network on its own hard labels: self-training with
# twice the work.
#
# </details>

# %% tags=["nbval-check-output"]
def largest_gradient(loss: Tensor, network: nn.Module) -> float:
    """The largest entry of a loss's gradient in a network's weights; 0 if
    none."""
    found = torch.autograd.grad(
        loss, list(network.parameters()), retain_graph=True, allow_unused=True
    )
    return max((float(one.abs().max()) for one in found if one is not None),
               default=0.0)


for name, network in (("first", cps.network), ("second", cps.second)):
    reached = largest_gradient(cross[0], network) > 0
    print(f"the first's cross term teaches the {name} network: {reached}")

swapped = methods.CPS(cps.config, cps.second, cps.network).train()
swapped = swapped.losses(batch, progress=0.5)
same = all(bool(swapped[term] == loss) for term, loss in losses.items())
print("the networks trade places, the loss stays the same:  ", same)


# %% tags=["nbval-check-output"]
def after_steps(method: methods.CPS, steps: int = 5) -> methods.CPS:
    """The method after a few steps of training on the CPU."""
    optimizer = torch.optim.AdamW(method.parameters(), lr=train.lr)
    for step in range(steps):
        optimizer.zero_grad()
        sum(method.losses(loader.batch(step), progress=0.0)
            .values()).backward()
        optimizer.step()
    return method


def label_differs(method: methods.CPS) -> bool:
    """Whether the networks differ in any pixel of the first batch."""
    networks = (method.network, method.second)
    one, two = (enlarge(network(images), size).argmax(dim=1)
                for network in networks)
    return bool((one != two).any())


twins = after_steps(pair(profile.unlabelled["cps"],
                         begin=[start[0], start[0]]))
others = after_steps(pair(profile.unlabelled["cps"]))
print("the same start, labels differ after five steps:", label_differs(twins))
print("two starts, labels differ after five steps:    ",
      label_differs(others))

# %% [markdown]
# So **the difference at the start is the whole capital** of CPS, and training spends it: whatever
# the one network teaches the other makes them more alike. In the paper both start with the same
# pretrained encoder and differ in freshly drawn decoder weights only. Here they differ throughout.

# %% [markdown]
# ## With pasted boxes
#
# CutMix-CPS adds what chapter 12 is about. Each network labels the unlabelled pictures as they are.
# Then boxes of one picture are pasted onto another, in the labels as well ($M$), and each network
# must find the *other's* label in the collage. Instead of (E1), with unlabelled pictures $u$:
#
# $$
# v = M(u), \qquad \hat y_k = M(\arg\max_c p_{k,c}(u)) \tag{E4}
# $$
#
# The labelled pictures are **not** in the cross terms now. Readers of the published code have asked
# why (its thread 71). It is how the code is, and we do the same.

# %%
cutmix_options = profile.unlabelled["cutmix-cps"]
cutmix_cps = pair(cutmix_options)
networks = (cutmix_cps.network, cutmix_cps.second)
rng = np.random.default_rng(batch.seed)
mix = draw_mix(unlabelled.images, cutmix_options.cutmix, rng)

with torch.no_grad():
    labels = [
        enlarge(network(unlabelled.images), size).argmax(dim=1)
        for network in networks
    ]
mixed = mix(unlabelled.images)
large = [enlarge(network(mixed), size) for network in networks]
loss_cross = cutmix_options.weight * sum(
    functional.cross_entropy(logits, mix(other))
    for logits, other in zip(large, reversed(labels), strict=True)
)

# %% tags=["nbval-check-output"]
losses = cutmix_cps.losses(batch, progress=0.5)
print("cross term equal:",
      torch.allclose(losses["unlabelled"], loss_cross, rtol=1e-4))


# %%
def pixels(views: Tensor) -> np.ndarray:
    """Pictures of a batch, floats in [0, 1], as uint8 for drawing."""
    return (255 * views).round().to(torch.uint8).numpy()


shown = mix.masks.float().mean(dim=(1, 2)).argsort(descending=True)[:3]
figure = plots.gallery(
    {
        "picture": pixels(unlabelled.images[shown]),
        "next": pixels(unlabelled.images.roll(-1, dims=0)[shown]),
        "pasted": mix.masks[shown].numpy(),
        "collage": pixels(mixed[shown]),
        "1st label": mix(labels[0])[shown].numpy(),
        "2nd label": mix(labels[1])[shown].numpy(),
    },
    data.classes,
)
plots.show(
    figure,
    alt="Three unlabelled pictures, each with the picture that is pasted "
    "into it, the map of the pasted boxes, the collage, and the "
    "labels that the first and the second network gave to its parts "
    "before they were cut out.",
)

# %% [markdown]
# ### How much is pasted?
#
# A mask is made of three boxes. Together they have an area drawn evenly from 25 % to 50 % of the
# picture: 37.5 % on average. Where boxes overlap, the lower picture shows again: exclusive or.
#
# **Predict first.** Which share of a picture is pasted, on average?
#
# <details><summary>Answer</summary>
#
# Less than 37.5 %, since two boxes that overlap hide each other. It is about a quarter. Boxes lie
# anywhere *inside* the picture, so they crowd in its middle and overlap there all the more.
#
# </details>

# %% tags=["nbval-check-output"]
many = draw_masks(
    4000, (64, 64), batches.THREE_BOXES, np.random.default_rng(130)
).float()
covered = many.mean(dim=(1, 2))
low, high = np.quantile(covered, (0.05, 0.95))
area = np.mean(batches.THREE_BOXES.area)
print(f"drawn area of the boxes, mean: {area:.3f}")
print(f"pasted share, mean:            {covered.mean():.2f}")
print(f"nine masks in ten paste        {low:.2f} to {high:.2f}")
often = many.mean(dim=0)
print(f"the middle is pasted in        {often[28:36, 28:36].mean():.0%} of "
      "the masks")
print(f"a corner in                    {often[:4, :4].mean():.0%}")

# %%
kinds = {
    "one box": batches.CutMixConfig(chance=1.0),
    "three boxes": batches.THREE_BOXES,
}
drawn = [
    draw_masks(2000, (64, 64), kind, np.random.default_rng(131))
    for kind in kinds.values()
]
columns = {f"mask {i + 1}": [masks[i].numpy() for masks in drawn]
           for i in range(4)}
columns["how often"] = [masks.float().mean(dim=0).numpy() / 0.5
                        for masks in drawn]
plots.show(
    plots.gallery(columns, (), rows_titles=list(kinds), legend=False),
    alt="Upper row: four masks of one box each, and a map of how often each "
    "pixel is pasted. Lower row: the same for three boxes with exclusive "
    "or. Both maps are bright in the middle and dark at the corners; full "
    "brightness means half of all masks.",
)

# %% [markdown]
# ## What labelling leaves behind
#
# The published code labels the unmixed pictures in **training mode**. No gradient is kept, yet two
# things happen. Batch normalisation uses the statistics of this batch instead of the running ones,
# so the labels are not those that the deployed network would give. And the running statistics
# *move*: one more batch enters them, of pictures that the loss never sees in this form. The option
# `label_passes` chooses.

# %% tags=["nbval-check-output"]
def first_norm(network: nn.Module) -> nn.BatchNorm2d:
    """The first batch normalisation of a network."""
    return next(one for one in network.modules()
                if isinstance(one, nn.BatchNorm2d))


network = pair(cutmix_options).network
mean = first_norm(network).running_mean.clone()
with torch.no_grad():
    in_training = enlarge(network(unlabelled.images), size).argmax(dim=1)
print("labelling moved the running mean:",
      bool((first_norm(network).running_mean != mean).any()))

for mode in ("train", "eval"):
    method = pair(replace(cutmix_options, label_passes=mode))
    entered = -int(first_norm(method.network).num_batches_tracked)
    method.losses(batch, progress=0.5)
    entered += int(first_norm(method.network).num_batches_tracked)
    print(f"labels in {mode} mode: {entered} batches a step enter the "
          "statistics")

# %%
with torch.no_grad():
    unmoved = pair(cutmix_options).network.eval()
    in_evaluation = enlarge(unmoved(unlabelled.images), size).argmax(dim=1)
share = float((in_training != in_evaluation).float().mean())
print(f"one network, one batch, two modes: {share:.1%} of the pixels get "
      "another label")
name = "CutMix-CPS, labels in training − in evaluation mode"
tables.results_table([compared("cutmix-cps", "cutmix-cps clean", name)])

# %% [markdown]
# Does it matter for the score? The line above is the paired difference in the records. Unless its
# verdict says otherwise, keep the published way when you reproduce, and the clean one when
# batches are small or labelled and unlabelled pictures look unlike: there, batch statistics are a
# poor guess. Labels from unmixed pictures and predictions on collages share one set of running
# statistics in either case.

# %% [markdown]
# ## One pair, before and after
#
# Now train CutMix-CPS, from both supervised runs on. Its run names them as its start, so their
# digests are part of its identity: with another pair of parents it is another run. The next cell
# takes the longest of this chapter.

# %% tags=["nbval-ignore-output"]
run = semi_supervised.learn(profile, seed, cutmix_options)
trained = resolve(run, device)
print("it starts from draws", *(one.draw for one in run.start))
print("training took",
      f"{trained.record['seconds']:.0f} s on the machine that ran it")

# %%
histories = {
    name: [(row["step"], row[f"loss_{term}"]) for row in trained.history]
    for name, term in (("masks", "labelled"), ("cross", "unlabelled"))
}
plots.show(
    plots.curves(histories, "training step",
                 "loss of both networks (logarithmic)", True),
    alt="Two curves over the training steps on a logarithmic axis: the loss "
    "on the masks, summed over both networks, and the cross loss on the "
    "unlabelled pictures.",
)

# %% [markdown]
# **Predict first.** After a quick start the cross loss falls slowly, if at all. Have the networks
# stopped learning from the unlabelled pictures?
#
# <details><summary>Answer</summary>
#
# This curve cannot tell. Its target moves: the labels change with the networks that make them. And
# a collage stays harder to read than its parts. A low cross loss would not be good news either.
# Two networks that call everything background have one of zero. It measures agreement, and
# agreement is what was asked for.
#
# </details>
#
# The hidden masks can tell agreement from truth.

# %%
after = [
    labels_of(beliefs(net, without_masks)) for net in (trained.method.network,
                                                       trained.method.second)
]
shares_after = outcomes(*after)
tables.results_table([{"pixels of the unlabelled pictures": name,
                       "before": f"{shares_before[name]:.1f} %",
                       "after": f"{shares_after[name]:.1f} %"}
                      for name in shares_before])

# %%
for name, shares in (("before", shares_before), ("after", shares_after)):
    print(f"{name:<7} the first one's errors that the second shares: "
          f"{hidden_errors(shares):.0f} %")

# %% [markdown]
# Compare the rows. Pixels in which only one network was right should have become fewer, and "both
# right" should have taken most of them. Then look at "both wrong, alike", which moves far less.
# These pixels were hidden from the first step on, and cross labels confirm them. So of the errors
# that are left, a larger part is shared. **Two students end up with nearly one opinion.** From then
# on disagreement finds little, and the second network has done most of its work.

# %% [markdown]
# ### Whom to deploy?
#
# Only the first network is deployed; the second is thrown away. (This book deploys the first's
# moving average, as everywhere. The paper deploys the network itself.) Would the mean of both be
# better? It doubles the cost of every prediction, so it is a choice, and choices are made on the
# **validation** pictures.
#
# One row of the table costs no unlabelled picture at all: the mean of the two supervised
# networks.

# %%
def on_validation(probabilities: Tensor) -> float:
    """mIoU as a fraction on the validation pictures."""
    labels = labels_of(probabilities)
    return evaluate_labels(data.val.masks.numpy(), labels,
                           data.classes).mean_iou


def deployments(networks: dict[str, nn.Module]) -> dict[str, str]:
    """mIoU on the validation pictures of each network, and of the mean of the
    first two."""
    found = {name: beliefs(network, data.val)
             for name, network in networks.items()}
    first, second, *_ = found.values()
    found["mean of both"] = (first + second) / 2
    return {name: f"{100 * on_validation(one):.1f}"
            for name, one in found.items()}


# %%
method = trained.method
tables.results_table([
    {"val mIoU (%)": "before: masks alone", **deployments({
        "first": start[0].method.network, "second": start[1].method.network,
        "first, averaged": start[0].method.average})},
    {"val mIoU (%)": "after CutMix-CPS", **deployments({
        "first": method.network, "second": method.second,
        "first, averaged": method.average})},
])

# %% [markdown]
# Hold "mean of both" against the single networks, line by line. Before, the errors are different
# ones, and a mean can cancel some of them. After, there is less left to cancel. This is one seed,
# so take the direction and leave the digits. Averaging *weights over time* costs nothing when
# predicting, though it need not pay either; averaging *networks* costs a second pass.

# %% [markdown]
# ### The second network, or the boxes?
#
# A gain of CutMix-CPS over *masks alone, longer* has two possible sources. The control takes the
# second network away and leaves the boxes: **one network**, the same three boxes, no threshold, no
# change of colours. It learns, on collages, the labels that its own moving average gives to their
# parts.
#
# **Predict first.** How large a part of the gain is left?

# %%
tables.results_table([
    compared(one, other, f"{ARMS[one]} − {ARMS[other]}") for one, other in (
        ("cutmix-cps", "longer"), ("boxes alone", "longer"),
        ("cutmix-cps", "boxes alone"),
    )
])

# %% [markdown]
# The third line is the worth of the second network. If its verdict is "cannot tell", then these
# seeds do not show that two students teach each other anything which one could not have learnt from
# its own average, at half the cost. (One thing more differs: an average labels in evaluation mode.)

# %% [markdown]
# ### What does it cost?
#
# Count pictures that pass through a network in one step, with the gradient kept and without, and
# measure a step.

# %%
def seconds_a_step(name: str) -> float:
    """The time of one step's losses and gradients on the CPU: the best of
    three."""
    method = methods.build(profile.unlabelled[name], profile.model,
                           count).train()
    times = []
    for _ in range(3):
        began = perf_counter()
        sum(method.losses(batch, progress=0.5).values()).backward()
        times.append(perf_counter() - began)
    return min(times)


masks, pictures = train.batch_labelled, train.batch_unlabelled
passes = {"fixmatch": (masks + pictures, pictures),
          "cps": (2 * (masks + pictures), 0),
          "cutmix-cps": (2 * (masks + pictures), 2 * pictures)}
times = {name: seconds_a_step(name) for name in passes}
tables.results_table([
    {"method": ARMS[name], "passes with gradient": str(kept),
     "without": str(free),
     "time of a step, FixMatch = 1": f"{times[name] / times['fixmatch']:.1f}"}
    for name, (kept, free) in passes.items()
])

# %% [markdown]
# Two networks also take twice the memory for weights, gradients and the optimiser's state. At
# equal *cost* FixMatch could train about twice as long. Say which budget was equal whenever you
# compare: in the records above it is the number of steps.

# %% [markdown]
# ## Published figures, and running them again
#
# On photographs the weight $\lambda$ depends on the dataset and on CutMix. For Cityscapes it is
# several times as large. One likely reason: there the labelled loss is the mean over *hard*
# pixels only, which is a larger number to stand up to. [The published recipes](recipes.md) shows
# all values, each with its source, and what of the system ours does not reproduce.

# %%
rows = []
for method_name in ("cps", "cutmix-cps"):
    for dataset in ("voc", "cityscapes"):
        lines = {line.setting: line
                 for line in published.recipe(method_name, dataset)}
        weight = lines[f"unlabelled.{method_name}.weight"]
        hard = lines.get(f"unlabelled.{method_name}.hard.below")
        rows.append({
            "method": ARMS[method_name], "dataset": dataset,
            "λ": f"{weight.value:g}",
            "labelled loss": "hard pixels" if hard else "all pixels",
            "how sure": published.SOURCES[weight.source],
        })
tables.results_table(rows)

# %%
print("PASCAL VOC, mIoU in percent on val")
tables.results_table(
    published.unlabelled_rows("voc blended", ("CPS", "CutMix-CPS"))
)

# %%
print("Cityscapes, mIoU in percent on val")
tables.results_table(
    published.unlabelled_rows("cityscapes",
                              ("masks alone", "CPS", "CutMix-CPS",
                               "CutMix-CPS, run by others", "UniMatch 1"))
)

# %% [markdown]
# Mind the column *how sure*: most rows of CPS are recalled from the paper, and no copy of it was at
# hand to check them. In the second table two rows name the same method, the same encoder and the
# same numbers of masks. Now look at what people reported who ran the published code themselves.

# %%
tables.results_table([{"thread": entry["where"],
                       "what was reported": entry["what"],
                       "how sure": published.SOURCES[entry["source"]]}
                      for entry in published.read()["reproducibility"]
                      if entry["system"] == "CPS"])

# %% [markdown]
# With 1,323 masks and a ResNet-50, the published gap between CPS with CutMix and without is no
# larger than the gap between two runs of one recipe in this table. Nobody need have erred for
# that. These threads, and those of other systems, name the causes: a batch that was made smaller
# while the learning rate stayed, epochs counted on other lists of pictures, another way of scoring,
# the seed, the versions of libraries. Note the report in which the score *without* the cross loss
# was no lower: somebody ran the **control**. Always do.
#
# With few masks seeds differ more. So this book reports differences within a seed, and says
# "cannot tell".
#
# ### On photographs
#
# The same commands run on real pictures:
#
# ```bash
# semiseg train cutmix-cps --dataset minivoc --profile laptop
# semiseg train cutmix-cps --dataset voc --profile gpu --root DIR
# semiseg train cps --dataset cityscapes --profile paper --root DIR
# semiseg study "voc unlabelled" --root DIR
# ```
#
# The next table is a reduced run on PASCAL VOC with small crops, few steps and **one seed**. It
# shows that everything runs and what it costs. It ranks nothing.
# These numbers were made by an earlier version of the library; the records name the commits. Such
# rows are marked †, and are not mixed with runs of today's code.

# %%
variants, rows = studies.STUDIES["voc unlabelled"], []
try:
    photographs = studies.read("voc unlabelled",
                               recipes.load("laptop", "voc"))
    print(photographs.mark)
    rows = [{"100 masks": variants[row["arm"]].text + photographs.sign,
             "test mIoU (%)": f"{row['test']:.1f}",
             "minutes": f"{row['minutes']:.1f}",
             "memory (GB)": f"{row['memory GB']:.1f}",
             "seed": str(row["seed"])}
            for row in photographs.rows]
except FileNotFoundError as missing:
    print(missing)
tables.results_table(rows or [{"100 masks": "not run yet"}])

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: odd numbers of boxes
#
# Suppose that every pixel were covered by each of $n$ boxes with the same chance $p$,
# independently. Which share of the picture shows the pasted one? (Exclusive or: covered by an odd
# number of boxes.) Compare it with the share that you measured. Why is that one smaller still?
#
# [A solution](solutions/13_cross_pseudo_supervision.ipynb)

# %% tags=["exercise"]
def odd_share(chance: float, boxes: int) -> float:
    """The chance that a pixel lies in an odd number of boxes, 0 .. 1."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("13.1"):
    for chance, boxes, expected in (
        (0.125, 1, 0.125), (0.5, 3, 0.5), (0.2, 2, 0.32), (1.0, 3, 1.0)
    ):
        checks.same(odd_share(chance, boxes), expected)
    print(f"  evenly spread: {odd_share(0.125, 3):.3f}, measured: "
          f"{float(covered.mean()):.3f}")

# %% [markdown]
# <details><summary>Why it is smaller still</summary>
#
# The boxes crowd in the middle. There $p$ is large and overlaps are common, and what the middle
# loses the rim does not win back: the share is a concave function of $p$ up to one half.
#
# </details>
#
# ### 2. Implement: more than two students
#
# Write the cross loss of any number of students. Each learns the hard labels of **all others**,
# with the mean over these teachers; the students' losses are added up. With two students it must
# be the cross loss of CPS. Input: logits of each student, `(B, C, H, W)`.
#
# [A solution](solutions/13_cross_pseudo_supervision.ipynb)

# %% tags=["exercise"]
def cross_of_many(*students: Tensor) -> Tensor:
    """The sum over students of the mean loss on the others' hard labels."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
noise = torch.Generator().manual_seed(132)
one, two, three = (torch.randn(2, count, 8, 8, generator=noise)
                   for _ in range(3))
with checks.exercise("13.2"):
    checks.same(cross_of_many(one, two), 3.9966)
    checks.same(cross_of_many(one, two, three), 5.9868)
    unsure = [torch.zeros(1, count, 4, 4)] * 3
    checks.same(cross_of_many(*unsure), 3 * np.log(count))

# %% [markdown]
# ### 3. Investigate: what a twin can teach
#
# In chapter 07 a network that learnt its own *soft* labels in the same pass got no gradient at all.
# Twins with *hard* labels do get one. Write a function that returns the gradient of a network's
# loss in its logits when its twin labels the picture, with hard labels or with soft ones. Into
# which direction does the hard one push? What happens if nothing else ever contradicts it?
#
# [A solution](solutions/13_cross_pseudo_supervision.ipynb)

# %% tags=["exercise"]
def gradient_from_twin(logits: Tensor, hard: bool) -> Tensor:
    """The gradient (B, C, H, W) of the mean cross-entropy with a twin's
    label."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("13.3"):
    checks.same(gradient_from_twin(one, False), torch.zeros_like(one),
                "soft labels")
    undecided = gradient_from_twin(torch.zeros(1, 2, 1, 4), True)
    checks.same(undecided[0, :, 0], [[-0.125] * 4, [0.125] * 4],
                "two classes, undecided at each of four pixels")
    hard = gradient_from_twin(one, True)
    checks.same(hard.sum(dim=1), torch.zeros(2, 8, 8),
                "the sum over the classes")
    checks.same(hard.argmin(dim=1), one.argmax(dim=1), "the class that gains")

# %% [markdown]
# <details><summary>What it means</summary>
#
# The step goes towards the winner, by as much as the network is unsure of it. Every pixel is
# pushed to certainty, right or wrong: confirmation, without a second opinion.
#
# </details>

# %% [markdown]
# ## Quiz
#
# **1.** A colleague loads one checkpoint into both networks "to save time". What does CPS become?
#
# <details><summary>Answer</summary>
#
# Self-training on hard labels, with twice the work. Unless dropout, other batches or other views
# set the twins apart, they never differ.
#
# </details>
#
# **2.** The cross loss of your run has nearly vanished after a tenth of the steps. Good news?
#
# <details><summary>Answer</summary>
#
# You cannot know from this. The networks agree and are sure. Score them on validation pictures,
# and look at which classes they still name.
#
# </details>
#
# **3.** A paper reports the mean of both networks, its rivals one network each. What do you ask
# for?
#
# <details><summary>Answer</summary>
#
# The score of the first network alone, or rivals with two networks as well. Two supervised networks
# gain from averaging too, without any unlabelled picture.
#
# </details>
#
# **4.** You run CutMix-CPS with twins by mistake. Is there still something to learn from?
#
# <details><summary>Answer</summary>
#
# Yes. The labels were made where each part stands in its own surroundings, the predictions on a
# collage. That gap is there for one network as well as for two. It is why the control with one
# network was needed.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - Where two networks differ, at least one is wrong. Where they err alike, nothing shows it.
# - CPS is symmetric, its labels are hard, and no gradient passes through them. There is no
#   threshold.
# - What CPS lives on is the difference between its networks, and it uses it up.
# - Without CutMix the labelled pictures are in the cross terms, with it they are not.
# - Three boxes with exclusive or paste about a quarter of a picture, not three eighths.
# - Labelling in training mode moves the running statistics. It is an option; know which you have.
# - Deploy one network and compare at a stated budget: two networks cost about twice.
# - Runs of the same published code can differ by as much as published methods do.
#
# ## What can go wrong
#
# - **Twins.** The same weights in both networks, or a seed that is set anew before each is built.
# - **Labels made from collages.** They are worse, and then mixed twice.
# - **A label that is not mixed like its picture**, or with another mask.
# - **A learning rate without its batch.** Published rates are for the total batch over all devices.
# - **Padding in the cross loss.** Cropped views of photographs show padding; it is no background.
#   The library leaves it out.
#
# ## Next
#
# You have met three ways to learn from pictures without any label: rounds of pseudo-labels, one
# network with a moving average, two networks. Ask of each: what was equal, how many seeds, and
# which control was run?
#
# ## References
#
# CPS and its CutMix variant: [Chen et al. (2021)](references.md#chen2021cps). CutMix:
# [Yun et al. (2019)](references.md#yun2019cutmix); its use in semi-supervised segmentation, with
# these masks: [French et al. (2020)](references.md#french2020cutmixseg). Two learners that label
# for each other are older: [Blum and Mitchell (1998)](references.md#blum1998cotraining). The
# supervised start of both networks and the moving average are this book's.
