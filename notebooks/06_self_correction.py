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
# # Self-correction
#
# *When do two models that disagree make a better label than either?*
#
# After this chapter you can
#
# - derive the corrected label $q$ from the objective it minimises, and compute one by hand;
# - say what $q$ does where the two models agree, and who wins where they do not;
# - explain what a corrected label changes in the gradient, and why none flows through $q$;
# - read the trust $\alpha$ off a schedule, and choose where to look when it seems wrong;
# - hold a mixed label against *both* of its parents, and say what the mixture is worth.
#
# **You need** softmax and cross-entropy (the [glossary](glossary.md) says what they are), and the
# stored logits of [chapter 05](05_ancillary_logits.ipynb).
#
# **Minutes**: about 100 to read and do; the code takes 2.5 in `laptop`, 0.3 in `smoke`, and
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
# whose pictures are shown; scores are over all of the profile's seeds
seed = 11
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
import numpy as np
import torch
from torch import Tensor

from semiseg_lib import (
    VOID, chapter, checks, enlarge, evaluate_unlabelled, paired_interval,
    plots, predict_logits, recipes, resolve, self_correction as story,
    soft_cross_entropy, studies, tables, widgets,
)

profile = chapter.begin("06_self_correction", profile, device)

# %% [markdown]
# ## A suspicion
#
# A label made by two models that err in different ways should be better than either of them. This
# is how ensembles work, and it is the hope on which self-correction rests. Keep a suspicion beside
# it: whoever holds the mixture against the *worse* of the two opinions will find a gain even if the
# mixture adds nothing. So this chapter derives the mixture, and then holds it against both parents.
#
# Two models have an opinion on every unlabelled picture. The **ancillary** saw the annotator's
# boxes; you stored its logits in chapter 05. The **primary** sees the picture alone. The one used
# here has already learnt from the ancillary's labels as they are. (Chapter 07 shows how it was
# trained. Here we only need a second opinion.)
#
# The next cell loads both, or trains what is missing.

# %%
seeds = tuple(dict.fromkeys((seed, *profile.seeds)))
stores = {s: resolve(story.logits(profile, s), device) for s in seeds}
primaries = {
    s: resolve(story.primary(profile, s, story.UNCORRECTED), device)
    for s in seeds
}
logits_ancillary = {s: store.read().float() for s, store in stores.items()}
logits_primary = {
    s: predict_logits(primary.method, primary.data.unlabelled)
    for s, primary in primaries.items()
}
print("logits of the unlabelled pictures:", tuple(logits_primary[seed].shape))

# %% [markdown]
# Now mix them. One line of arithmetic on logits, with the primary counting twice as much as the
# ancillary, makes a third label: the corrected one. The hidden masks of the unlabelled pictures
# serve to measure it, and to pick the pictures shown below. Nothing learns from them.

# %%
data = primaries[seed].data
truth = np.asarray(data.unlabelled_truth)
mixed = (logits_primary[seed] + 0.5 * logits_ancillary[seed]) / 1.5


def labels_of(logits: Tensor) -> np.ndarray:
    """The most likely class of every pixel of the picture, uint8
    (N, H, W)."""
    return (enlarge(logits, truth.shape[-2:]).argmax(dim=1).to(torch.uint8)
            .numpy())


# %%
def share_right(labels: np.ndarray) -> np.ndarray:
    """The share of each picture's pixels that are right, (N,), void left
    out."""
    counted = truth != VOID
    return (((labels == truth) & counted)
            .sum(axis=(1, 2)) / counted.sum(axis=(1, 2)))


views = {
    "ancillary": labels_of(logits_ancillary[seed]),
    "primary": labels_of(logits_primary[seed]),
    "corrected": labels_of(mixed),
}
gain = share_right(views["corrected"]) - share_right(views["ancillary"])

# %%
order = np.argsort(-gain, kind="stable")
chosen = [*order[:3], order[-1]]
samples = {int(i): data.unlabelled.sample(int(i)) for i in chosen}
figure = plots.gallery(
    {
        "picture": [samples[int(i)].image for i in chosen],
        **{title: labels[chosen] for title, labels in views.items()},
        "truth": truth[chosen],
    },
    data.classes,
    boxes=[samples[int(i)].boxes for i in chosen],
    rows_titles=["most gained", "second", "third", "least gained"],
)
plots.show(
    figure,
    alt="Four unlabelled pictures with their loosely drawn boxes, each "
    "beside the labels of the ancillary, the primary and the "
    "corrected mixture of both, and the hidden truth. The first three "
    "are the pictures on which the mixture gains most over the "
    "ancillary, the last the one on which it gains least.",
)

# %% [markdown]
# **What to notice.** In the first three rows, compare the ancillary's outlines with the boxes,
# and then with the truth. Where do the extra pixels come from? In the last row, which of the two
# models did the corrected label follow, and should it have?
#
# <details><summary>Answer</summary>
#
# The extra pixels lie between an object and the sides of its box: the ancillary believes the loose
# box, and the mixture drops many of them. In the last row the primary calls the tree a balloon, and
# the corrected label follows it on a part of the tree. It should have followed the ancillary, which
# had been told that there is a tree.
#
# </details>
#
# A rule that mixes opinions must sometimes follow the wrong one. The question of this chapter is
# *when*.

# %% [markdown]
# ## One pixel, two opinions
#
# Take one pixel just outside a car, inside the loose box around it. There are three classes. The
# primary is fairly sure of background. The ancillary, which saw the box, leans to car:
#
# | | background | car | tree |
# |-|-|-|-|
# | primary $p$ | 0.80 | 0.18 | 0.02 |
# | ancillary $p_\mathrm{anc}$ | 0.20 | 0.72 | 0.08 |
#
# Averaging the two rows would be one way to agree. Self-Correcting Networks
# [(Ibrahim et al., 2020)](references.md#ibrahim2020selfcorrecting) use another: the **geometric
# mean**. Multiply the two probabilities of each class, take the square root, and divide by the sum
# so that they add up to 1.
#
# **Predict first.** Do it on paper. Which class wins, and by how much?
#
# <details><summary>Answer</summary>
#
# The products are 0.16, 0.1296 and 0.0016. Their roots are 0.40, 0.36 and 0.04, which add up to
# 0.80. Divided by that: **0.50, 0.45, 0.05**. Background wins, narrowly. The primary was a little
# surer of its background than the ancillary was of its car.
#
# </details>

# %% tags=["nbval-check-output"]
p = torch.tensor([0.80, 0.18, 0.02], dtype=torch.float64)
p_ancillary = torch.tensor([0.20, 0.72, 0.08], dtype=torch.float64)

root = (p * p_ancillary).sqrt()
print("roots:        ", [round(float(value), 2) for value in root])
print("their sum:    ", round(float(root.sum()), 2))
print("corrected q:  ",
      [round(float(value), 2) for value in root / root.sum()])

# %% [markdown]
# ## The label as a minimum
#
# Why a geometric mean? Because it is what comes out when you ask for a label that is close to
# both opinions. "Close" is measured by the Kullback–Leibler divergence, and $\alpha \ge 0$ says
# how much the ancillary is trusted. For every pixel:
#
# $$
# q = \arg\min_q \; \mathrm{KL}(q \,\|\, p) + \alpha \, \mathrm{KL}(q \,\|\, p_\mathrm{anc})
# \quad\text{with}\quad \sum_c q_c = 1 .
# $$
#
# A small $\alpha$ asks mostly for the primary's approval, a large one mostly for the ancillary's.

# %% [markdown]
# **Step 1: the Lagrangian.** Write the divergences out and add the constraint with a multiplier
# $\lambda$:
#
# $$
# \sum_c q_c \ln\frac{q_c}{p_c}
#   + \alpha \sum_c q_c \ln\frac{q_c}{p_{\mathrm{anc},c}}
#   + \lambda \Big(\sum_c q_c - 1\Big).
# $$
#
# **Step 2: the derivative.** Since $\frac{d}{dq}\, q \ln\frac{q}{p} = \ln\frac{q}{p} + 1$,
# setting the derivative of this sum in $q_c$ to zero gives, for each class on its own,
#
# $$
# (1+\alpha)\ln q_c = \ln p_c + \alpha \ln p_{\mathrm{anc},c} - (1 + \alpha + \lambda).
# $$
#
# **Step 3: exponentiate.** The last bracket is the same for all classes. It is the factor that
# makes $q$ add up to 1, so
#
# $$
# q_c \;\propto\; \big(p_c \; p_{\mathrm{anc},c}^{\,\alpha}\big)^{1/(1+\alpha)},
# $$
#
# a weighted geometric mean. With $\alpha = 1$ it is the square root that you just took.

# %% [markdown]
# **Step 4: logits.** With $p = \mathrm{softmax}(\ell)$ we have $\ln p_c = \ell_c$ minus a number
# that all classes share, and the same for the ancillary. Shared numbers vanish in a softmax.
# What remains is the formula that the whole book rests on:
#
# $$
# q = \mathrm{softmax}\!\left(\frac{\ell + \alpha\,\ell_\mathrm{anc}}{1+\alpha}\right). \tag{E3}
# $$
#
# (The number is that at the head of `semiseg_lib/methods/self_correcting/method.py`.)
#
# **Why this order of the arguments?** A divergence is not symmetric. $\mathrm{KL}(q\,\|\,p) =
# \sum_c q_c \ln (q_c / p_c)$ is an average *under q*. Where $p$ gives a class almost nothing, any
# $q_c$ above almost nothing costs dearly: each model has a **veto**. Swap the arguments, and the
# average is under $p$: then $q$ pays for every class that $p$ believes in and $q$ leaves out, but
# nothing for keeping a class that $p$ finds absurd. The result is another mean, in which both
# opinions stay side by side (exercise 2). For labels the veto is what we want: a pixel just outside
# an object should not stay half an object because one of two models thinks so.
#
# **Step 5: is it the minimum?** Call this solution $q^\ast$. Put it back into the objective, and
# it turns into $(1+\alpha)\,\mathrm{KL}(q \,\|\, q^\ast)$ plus a constant. A divergence is zero
# at $q = q^\ast$ and positive elsewhere. So there is one minimum, and this is it.
#
# In code it is one line and two checks:

# %% tags=["inline", "inline:semiseg_lib.methods.self_correcting.method.linear_correction"]
def linear_correction(logits: Tensor, logits_ancillary: Tensor,
                      alpha: float) -> Tensor:
    """The logits of q, the label that self-correction puts in place of the
    ancillary's."""
    if alpha < 0:
        raise ValueError(f"alpha is {alpha}, but a weight cannot be "
                         "negative.")
    if logits.shape != logits_ancillary.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and ancillary logits "
                         f"{tuple(logits_ancillary.shape)} differ in shape: "
                         "were they stored for another model or other "
                         "classes?")
    return (logits + alpha * logits_ancillary) / (1 + alpha)


# %% [markdown]
# A derivation can hide a slip, so test it against something that knows nothing of it. Below, an
# optimiser searches for the label of our pixel that makes the objective smallest, in double
# precision, starting from three equal probabilities. It must land on the closed form.

# %%
def searched(alpha: float) -> Tensor:
    """Minimise KL(q || p) + alpha KL(q || p_anc) over one pixel's q by
    gradient descent."""
    # q = softmax(scores)
    scores = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores],
                                  max_iter=200, tolerance_grad=1e-12,
                                  line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        log_q = scores.log_softmax(dim=0)
        gaps = (log_q - p.log()) + alpha * (log_q - p_ancillary.log())
        value = (log_q.exp() * gaps).sum()
        value.backward()
        return value

    optimizer.step(objective)
    return scores.detach().softmax(dim=0)


# %% tags=["nbval-check-output"]
def closed_form(alpha: float) -> Tensor:
    """The corrected label of our pixel."""
    return linear_correction(p.log(), p_ancillary.log(), alpha).softmax(dim=0)


for alpha in (0.5, 1.0, 5.0):
    found, derived = searched(alpha), closed_form(alpha)
    print(f"alpha {alpha:3.1f}   searched "
          f"{[round(float(v), 4) for v in found]}   derived "
          f"{[round(float(v), 4) for v in derived]}   same: "
          f"{torch.allclose(found, derived, atol=1e-6)}")

# %% [markdown]
# The two ends are worth a look of their own. With $\alpha = 0$ the ancillary has no say. With
# $\alpha \to \infty$ only the ancillary counts, and we are back at training on uncorrected
# labels.

# %% tags=["nbval-check-output"]
print("primary        ", [round(float(v), 4) for v in p])
for alpha in (0.0, 0.001, 1.0, 1000.0, 1e6):
    print(f"alpha {alpha:<9g}",
          [round(float(v), 4) for v in closed_form(alpha)])
print("ancillary      ", [round(float(v), 4) for v in p_ancillary])

# %% [markdown]
# Between the ends the label moves smoothly. A figure with $\alpha$ on a logarithmic axis shows
# both models alike: swapping them mirrors the picture about $\alpha = 1$.

# %%
POSITIONS = {0.01: "0.01", 0.1: "0.1", 0.5: "0.5", 1: "1", 5: "5", 30: "30",
             100: "100"}

alphas = np.geomspace(0.01, 100, 61)
labels = torch.stack([closed_form(float(alpha)) for alpha in alphas])
figure = plots.curves(
    {name: list(zip(np.log10(alphas), labels[:, index].tolist(), strict=True))
     for index, name in enumerate(("background", "car", "tree"))},
    "α (logarithmic): primary decides at the left, ancillary at the right",
    "probability in q",
)
figure.axes[0].set_xticks(np.log10(list(POSITIONS)), list(POSITIONS.values()))
plots.show(
    figure,
    alt="Three curves over alpha on a logarithmic axis: the corrected "
    "probabilities of background, car and tree at one pixel. Background "
    "starts high at the left and falls, car rises, tree stays low. "
    "Background and car cross a little to the right of alpha one.",
)

# %% [markdown]
# ## What kind of compromise is it?
#
# Look at two classes at a time. The **margin** of a model is the difference of their two logits:
# its sign says who wins, its size how sure the model is. The formula averages margins:
#
# $$
# m_q = \frac{m + \alpha\, m_\mathrm{anc}}{1 + \alpha}.
# $$
#
# Three things follow. Where the models disagree, **the surer one wins**, after $\alpha$ has
# weighted them. Where both have the same winner, the label keeps it. And $m_q$ always lies
# *between* the two margins.
#
# **Predict first.** Both models give car 0.8 and background 0.2, independently. How sure is $q$?
#
# <details><summary>Answer</summary>
#
# 0.8, for every $\alpha$: the average of two equal margins is that margin. Agreement is not
# counted as extra evidence. Multiplying the opinions without the root, as one would for two
# independent witnesses, gives 0.94. Our two models are not independent: one was trained on the
# other's labels.
#
# </details>

# %% tags=["nbval-check-output"]
both = torch.tensor([0.2, 0.8], dtype=torch.float64)
corrected = (
    linear_correction(both.log(), both.log(), alpha=0.5).softmax(dim=0)
)
multiplied = (both * both) / (both * both).sum()
print("corrected: ", [round(float(v), 2) for v in corrected])
print("multiplied:", [round(float(v), 2) for v in multiplied])

# %% [markdown]
# With more than two classes, "averages margins" still holds for every pair, and that has a
# consequence that surprises most people.
#
# **Predict first.** The primary gives (background, car, tree) the probabilities 9/16, 6/16, 1/16.
# The ancillary gives 1/16, 6/16, 9/16. Which class wins at $\alpha = 1$?
#
# <details><summary>Answer</summary>
#
# Car, although neither model ranked it first. The roots of the products are 3, 6 and 3, so $q$ is
# (0.25, 0.50, 0.25). A geometric mean punishes a class that *anyone* thinks unlikely; car is the
# only one that nobody objects to.
#
# </details>

# %% tags=["nbval-check-output"]
first = torch.tensor([9, 6, 1], dtype=torch.float64) / 16
second = torch.tensor([1, 6, 9], dtype=torch.float64) / 16
compromise = (
    linear_correction(first.log(), second.log(), alpha=1.0).softmax(dim=0)
)
print("geometric mean: ", [round(float(v), 2) for v in compromise])
print("arithmetic mean:", [round(float(v), 2) for v in (first + second) / 2])

# %% [markdown]
# ## What the primary learns from it
#
# On the unlabelled pictures the primary minimises the cross-entropy to $q$, and $q$ was made from
# the primary itself. So **no gradient may flow through $q$**: it is a target, held fixed for the
# step. We write $\mathrm{sg}[q]$, stop-gradient; the code says `detach()`. With $W$ for the
# positions of these pictures:
#
# $$
# \mathrm{CE}_W(\mathrm{sg}[q], p)
#   = -\frac{1}{|W|} \sum_{i \in W} \sum_c q_{i,c} \log p_{i,c}. \tag{E6}
# $$
#
# What would happen without? Take $\alpha = 0$, where $q = p$. The cross-entropy of $p$ with
# itself is its entropy. A network can always lower that by becoming more certain, right or wrong.

# %% tags=["nbval-check-output"]
def push(stop_gradient: bool) -> list[float]:
    """Where one descent step on CE(q, p) moves our pixel's logits when alpha
    = 0, so that q = p."""
    logits = p.log().requires_grad_()
    q = logits.softmax(dim=0)
    q = q.detach() if stop_gradient else q
    (-(q * logits.log_softmax(dim=0)).sum()).backward()
    return [round(-float(value), 3) + 0.0 for value in logits.grad]


print("with stop-gradient:   ", push(stop_gradient=True))
print("without:              ", push(stop_gradient=False))

# %% [markdown]
# With the stop-gradient, a primary that is its own teacher learns nothing at all. Remember this
# for chapter 07. Without it, background goes up because it was already ahead.
#
# Two more facts about this loss. Its gradient in the logits is $p - q$, divided by the number of
# pixels. And it does not matter whether you write cross-entropy or $\mathrm{KL}(q\,\|\,p)$: they
# differ by the entropy of $q$, which is a constant. What does matter is **what you average
# over**. PyTorch's `kl_div` with `reduction="batchmean"` divides by the batch only, not by the
# pixels. A public
# [re-implementation](https://github.com/youcefgheffari3/semi-supervised_segmentation_approach)
# does this on whole label maps. By which factor is its gradient too large on maps of 8 × 8?
#
# <details><summary>Answer</summary>
#
# 64, the number of pixels in a map. On larger maps it is more.
#
# </details>

# %% tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(6)
logits = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64,
                     requires_grad=True)
q = (torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
     .softmax(dim=1))
log_p = logits.log_softmax(dim=1)

per_pixel = (
    torch.nn.functional.kl_div(log_p, q, reduction="none").sum(dim=1).mean()
)
batchmean = torch.nn.functional.kl_div(log_p, q, reduction="batchmean")
by_entropy, by_kl, by_batchmean = (
    torch.autograd.grad(loss, logits, retain_graph=True)[0]
    for loss in (soft_cross_entropy(logits, q), per_pixel, batchmean)
)
by_hand = (logits.softmax(dim=1) - q) / (2 * 8 * 8)
print("cross-entropy = KL:        ", torch.allclose(by_entropy, by_kl))
print("cross-entropy = (p - q)/|W|:", torch.allclose(by_entropy, by_hand))
print("batchmean is larger by:    ",
      round(float(by_batchmean.norm() / by_entropy.norm()), 6))

# %% [markdown]
# Now the heart of the matter. A label pulls on the primary with the force $p - q$. Suppose the
# ancillary says car, with margin 3, and the primary says background, with a margin that we vary.
# An uncorrected label pulls harder the surer the primary is. A corrected label pulls most while
# the primary is undecided, and **lets go of a primary that has become sure**.
#
# For any $\alpha > 0$ the force is zero only where the two models give the same probabilities, just
# as without correction. So correction does not change what a *single* pixel would end up as, if it
# were fitted alone. It changes how loudly each label speaks. A network whose weights are shared by
# all pixels then listens to the others.

# %%
def pull(margin: np.ndarray, alpha: float | None) -> np.ndarray:
    """The force p - q on the primary's class, where the ancillary's margin
    against it is 3."""
    target = (np.full_like(margin, -3.0) if alpha is None
              else (margin - 3 * alpha) / (1 + alpha))
    return 1 / (1 + np.exp(-margin)) - 1 / (1 + np.exp(-target))


margins = np.linspace(-3, 8, 56)
figure = plots.curves(
    {name: list(zip(margins, pull(margins, alpha), strict=True))
     for name, alpha in {"uncorrected": None, "α = 30": 30, "α = 5": 5,
                         "α = 1": 1, "α = 0.5": 0.5}.items()},
    "margin of the primary for background (ancillary: 3 for car)",
    "pull of the label, p − q",
)
plots.show(
    figure,
    alt="Five curves of the pull of a label against the margin of a primary "
    "that disagrees with it. All start at zero where both models agree. "
    "Uncorrected and alpha 30 rise to nearly one and stay; alpha 5 turns "
    "down a little; 1 and 0.5 rise less and fall back towards zero as the "
    "primary becomes sure.",
)

# %% [markdown]
# Statisticians know this shape: an influence that falls again for distant points makes an
# estimate *robust to outliers*. It also shows the danger. A primary that is sure and **wrong**
# stops listening as well.
#
# That is why trust is not constant. Early on, the primary knows little, so $\alpha$ starts at 30
# and the labels are nearly the ancillary's. Later $\alpha$ falls to 0.5. The paper's end points
# are these two; how to get from one to the other is left to us. We take a straight line from
# $\alpha_0$ to $\alpha_1$, which is reached when the share $r$ of the training is done:
#
# $$
# \alpha(t) = \alpha_0 + (\alpha_1 - \alpha_0)\, \min(t / r,\, 1). \tag{E4}
# $$

# %% tags=["nbval-check-output"]
print("alpha   weight of the ancillary, alpha / (1 + alpha)")
for alpha in (30, 5, 1, 0.5, 0.25):
    print(f"{alpha:5g}   {alpha / (1 + alpha):.2f}")

# %%
from semiseg_lib import AlphaSchedule, linear_correction

schedules = {
    "by 30 % (ours)": AlphaSchedule(start=30, end=0.5, until=0.3),
    "by 100 %": AlphaSchedule(start=30, end=0.5, until=1.0),
    "0.5 throughout": AlphaSchedule(start=30, end=0.5, until=0.0),
    "30 throughout": AlphaSchedule(start=30, end=30, until=0.0),
}
progress = np.linspace(0, 1, 101)
figure = plots.alpha_schedules(
    {
        name: (progress, [schedule.at(float(done)) for done in progress])
        for name, schedule in schedules.items()
    }
)
plots.show(
    figure,
    alt="Alpha over the course of training on a logarithmic axis. One "
    "schedule falls from 30 to 0.5 within the first 30 percent and stays "
    "there, one takes the whole training, one is 0.5 from the start, and "
    "one stays at 30. A line at one marks where both models count the "
    "same.",
)

# %% [markdown]
# Note how long the slow schedule stays above the line at 1. Falling in a straight line from 30,
# it lets the primary have the louder voice only at the very end. Chapter 07 asks what that costs.

# %% [markdown]
# ## On real labels
#
# Back to the unlabelled pictures. Their boxes were drawn in a hurry, so the ancillary's labels
# spill over the objects' outlines. We mix its logits with those of the finished primary at many
# values of $\alpha$, and score each label set on the hidden masks.
#
# **Predict first.** Sketch the curve from $\alpha = 0$ (primary) to $\alpha = \infty$
# (ancillary). Is its highest point at an end or in between?
#
# <details><summary>Answer</summary>
#
# Inside, but close to the primary. In our runs the curve rises by less than a point from
# $\alpha = 0$ to its peak at 0.1, is hardly lower at 0.25, and then falls steadily to the
# ancillary, which is by far the worse of the two. The errors of the two models are unlike, so a
# little of the ancillary helps; but loose boxes make it wrong along every outline, so more of it
# hurts.
#
# </details>

# %%
ALPHAS = (0, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, np.inf)


def corrected_labels_miou(s: int, alpha: float) -> float:
    """mIoU in percent of the corrected labels of seed s; alpha may be
    infinite."""
    labels = logits_ancillary[s]
    if not np.isinf(alpha):
        labels = linear_correction(logits_primary[s], labels, alpha)
    return studies.percent(evaluate_unlabelled(data, labels))


label_scores = {s: [corrected_labels_miou(s, alpha) for alpha in ALPHAS]
                for s in seeds}

# %%
# the ends lie outside a logarithmic axis
places = [-1.8, *np.log10(ALPHAS[1:-1]), 2.0]
figure = plots.curves(
    {f"seed {s}": list(zip(places, label_scores[s], strict=True))
     for s in seeds}, "α (logarithmic)", "mIoU of the labels (%)",
)
names = ["0:\nprimary", *(f"{alpha:g}" for alpha in ALPHAS[1:-1]),
         "∞:\nancillary"]
figure.axes[0].set_xticks(places, names)
plots.show(
    figure,
    alt="One curve a seed: the mIoU of corrected labels on the unlabelled "
    "pictures against alpha on a logarithmic axis. The left end is the "
    "label of the primary alone, the right end that of the ancillary "
    "alone.",
)

# %% [markdown]
# Curves of different seeds may lie at different heights: each seed drew other labelled pictures
# and trained another ancillary. So compare **within** a seed. The corrected label has two parents,
# and a gain over the worse one says little: it is there as soon as the mixture leans to the better
# one. The comparison that matters is with the *better* parent, the primary's own label.
#
# The next cell checks the difference to the worse parent, the ancillary, in these runs. Stored
# records have more seeds. The table below has from them what labels at each $\alpha$ are worth
# against *both* parents, in points of mIoU.

# %%
checks.claim(
    "corrected-beats-ancillary",
    [label_scores[s][ALPHAS.index(0.5)] - label_scores[s][-1]
     for s in profile.seeds],
    profile.asserts_claims,
)

# %%
ways = studies.current("ways", recipes.load("laptop"))


def against(parent: str, alpha: float) -> str:
    """Labels mixed at alpha against a parent's: mean difference in points
    and the verdict, where less than one point does not matter."""
    mixed, other = (ways.by_seed("none", "sources", source, "mIoU")
                    for source in (f"α {alpha:g}", parent))
    interval = paired_interval([mixed[s] for s in ways.seeds("none")],
                               [other[s] for s in ways.seeds("none")])
    return f"{interval.mean:+.1f}, {interval.judged(smallest=1)}"


print("seeds:", ways.seeds("none"))
tables.results_table([
    {"α": f"{alpha:g}", "against the ancillary": against("given", alpha),
     "against the primary": against("own", alpha)}
    for alpha in (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 30)
])

# %% [markdown]
# Against the ancillary nearly every mixture is better, because the primary is. Against the primary
# none is: up to $\alpha = 0.25$ the labels are the same to within a point, and from 0.5 on they are
# worse. With their intervals:
#
# - <!-- finding: corrected-labels-over-ancillary -->
#   With the corrected labels (α 0.5), the mIoU of the labels is 8.6 points higher than with the
#   ancillary's (95 % interval +7.6 to +9.6, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: lightly-corrected-labels-over-primary -->
#   With lightly corrected labels (α 0.1) and with the primary's own, the mIoU of the labels is the
#   same to within 1 point (difference +0.8, 95 % interval +0.7 to +0.9, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: evenly-mixed-labels-over-primary -->
#   With evenly mixed labels (α 1), the mIoU of the labels is 3.1 points lower than with the
#   primary's own (95 % interval -3.8 to -2.4, 10 seeds, paired).
#   <!-- end -->
#
# So the first figure of this chapter showed the easy half of the truth. What the mixture adds to a
# *finished* primary has to be looked for at small $\alpha$, and it is small.
#
# ### Who is right where they disagree?
#
# The scores by region tell why. The record has, for every source of labels, the share of wrong
# pixels near outlines (within two pixels), inside the drawn boxes, and outside of all boxes; and
# the share of the objects' pixels that were given *another object's* name.
#
# **Predict first.** The ancillary was told the class of each object by its box. The primary sees
# where colours change. Which of the two is ahead in which column?
#
# <details><summary>Answer</summary>
#
# Outside of all boxes the ancillary is nearly perfect, since it has learnt that nothing lies there.
# At outlines and inside the boxes it is the worse one: loose boxes made it fat. And names? One
# would bet on the ancillary, whose input says them. But the primary learnt its names from the
# ancillary's labels, and averages over many pictures. It gives *fewer* pixels a wrong name:
#
# <!-- finding: names-of-primary-over-ancillary -->
# With the labels of the uncorrected primary, the share of objects' pixels with a wrong name is 1.4
# points lower than with the ancillary's (95 % interval -2.1 to -0.7, 10 seeds, paired).
# <!-- end -->
#
# </details>

# %%
SOURCES = {"given": "ancillary", "own": "primary", "α 0.1": "α = 0.1",
           "α 0.5": "α = 0.5", "own, in boxes": "primary, in its boxes"}
COLUMNS = {"mIoU": "mIoU (%)", "at outlines": "wrong at outlines (%)",
           "inside boxes": "wrong inside boxes (%)",
           "outside boxes": "wrong outside boxes (%)",
           "wrong class": "wrong name (%)"}


def of_all_seeds(source: str, score: str) -> list[float]:
    """A score of a source of labels in percent, one value a seed."""
    return [*ways.by_seed("none", "sources", source, score).values()]


print("seeds:", ways.seeds("none"))
tables.results_table([
    {"labels": title, **{column: of_all_seeds(source, score)
                         for score, column in COLUMNS.items()}}
    for source, title in SOURCES.items()
], plain=list(COLUMNS.values()))

# %% [markdown]
# The last row is a third way to use a box, and it trains nothing. Outside of every box of a class
# that class is impossible, so set its probability to zero there. The primary's own label, cut off
# at the boxes, is better than any mixture:
#
# - <!-- finding: primary-in-boxes-over-corrected-labels -->
#   With the primary's own labels kept inside the boxes, the mIoU of the labels is 4.3 points higher
#   than with the corrected labels (α 0.5) (95 % interval +3.9 to +4.8, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: supervised-in-boxes-over-ancillary-labels -->
#   With the labels of the model of masks alone kept inside the boxes, the mIoU of the labels is 9.5
#   points higher than with the ancillary's (95 % interval +7.5 to +11.5, 10 seeds, paired).
#   <!-- end -->
#
# Does the ancillary not know this fact? It does, from its own input. Cut its labels off in the same
# way, and next to nothing changes:
#
# - <!-- finding: ancillary-labels-in-boxes-over-ancillary-labels -->
#   With the ancillary's labels kept inside the boxes and with the ancillary's, the mIoU of the
#   labels is the same to within 1 point (difference +0.2, 95 % interval +0.1 to +0.3, 10 seeds,
#   paired).
#   <!-- end -->
#
# So it obeys the boxes already. What it lacks is the object *inside* of them: it takes the sides
# of a loose box for those of the object. The primary sees colours but no box, and the constraint
# hands it the one thing that the box is sure of. [Chapter 08](08_evaluation.ipynb) trains students
# on all of these labels.

# %% [markdown]
# ### While it learns
#
# All of this was about a finished primary. A corrected primary learns from its labels while it is
# still bad, so who is right changes on the way. The next figure scores labels by a primary with
# linear correction, stopped after a tenth, three tenths and six tenths of its steps, and at the
# end.
#
# **Predict first.** Early on, who is ahead, the ancillary or the primary? And is there a time at
# which the mixture at $\alpha = 0.5$ beats *both* of its parents?

# %%
on_the_way = studies.current("training", recipes.load("laptop"))
shown = {"given": "ancillary", "own": "primary", "α 0.5": "α = 0.5"}
over_training = {}
for source, title in shown.items():
    place = ("sources", source, "mIoU")
    points = {share: on_the_way.by_seed(f"linear {share}%", *place)
              for share in (10, 30, 60)}
    points[100] = ways.by_seed("linear", *place)
    shared = set.intersection(*(set(one) for one in points.values()))
    over_training[title] = [
        (share, float(np.mean([one[s] for s in shared])))
        for share, one in points.items()
    ]
figure = plots.curves(over_training, "share of the training (%)",
                      "mIoU of the labels (%)")
plots.show(
    figure,
    alt="Three lines over the training of a primary with linear correction: "
    "the mIoU of the ancillary's labels, of the primary's own, and of the "
    "corrected labels at alpha 0.5, as means over the seeds.",
)
print("seeds:", sorted(shared))

# %% [markdown]
# <details><summary>Answer</summary>
#
# The ancillary, by far, and yes: on the way.
#
# - <!-- finding: corrected-labels-over-ancillary-at-10 -->
#   With the corrected labels (α 0.5) after 10 % of the training, the mIoU of the labels is 8.3
#   points higher than with the ancillary's (95 % interval +6.4 to +10.1, 5 seeds, paired).
#   <!-- end -->
# - <!-- finding: corrected-labels-over-primary-at-10 -->
#   With the corrected labels (α 0.5) after 10 % of the training, the mIoU of the labels is 30.5
#   points higher than with the primary's own (95 % interval +23.7 to +37.3, 5 seeds, paired).
#   <!-- end -->
# - <!-- finding: corrected-labels-over-corrected-primary -->
#   With the corrected labels (α 0.5) and with those of the primary that learnt from corrected
#   labels, the mIoU of the labels is the same to within 1 point (difference +0.2, 95 % interval
#   -0.2 to +0.6, 10 seeds, paired).
#   <!-- end -->
#
# </details>
#
# So two models do make one better label, **while the primary is still learning**. Whoever looks at
# the finished model only will miss it; whoever looks at the ancillary only will take all of it for
# the mixture's merit. And with the boxes as constraint on both, on mixture and primary? Then the
# second opinion is worth having at first, and soon no more:
#
# - <!-- finding: corrected-labels-over-primary-in-boxes-at-10 -->
#   With the corrected labels (α 0.5) after 10 % of the training, the mIoU of the labels is 8.4
#   points higher than with the primary's own, both kept inside the boxes (95 % interval +4.3 to
#   +12.6, 5 seeds, paired).
#   <!-- end -->
# - <!-- finding: corrected-labels-over-primary-in-boxes-at-30 -->
#   With the corrected labels (α 0.5) after 30 % of the training, the mIoU of the labels is 1.6
#   points lower than with the primary's own, both kept inside the boxes (95 % interval -2.9 to
#   -0.3, 5 seeds, paired).
#   <!-- end -->
#
# The table says who is wrong where at these four times. The ancillary does not
# change.

# %%
moments = {f"after {share} %": (on_the_way, f"linear {share}%")
           for share in (10, 30, 60)} | {"at the end": (ways, "linear")}


def wrong_where(title: str, source: str, when: str) -> dict:
    """The wrong pixels of a source of labels by region, in percent."""
    study, arm = moments[when]
    return {"labels": title} | {
        column: [*study.by_seed(arm, "sources", source, score).values()]
        for score, column in COLUMNS.items() if score != "mIoU"
    }


tables.results_table(
    [wrong_where("ancillary", "given", "at the end")]
    + [wrong_where(f"{shown[source]}, {when}", source, when)
       for when in moments for source in ("own", "α 0.5")],
    plain=list(COLUMNS.values()),
)

# %% [markdown]
# **How to read it.** After a tenth of the training the parents err in different ways: the primary
# by its names, and still more at outlines than the ancillary, whose outlines are fat. Inside the boxes the mixture has fewer than half
# as many wrong pixels as either of them: where one is wrong there, the other is often right.
#
# - <!-- finding: names-of-primary-at-10 -->
#   With the primary's own labels after 10 % of the training, the share of objects' pixels with a
#   wrong name is 25.0 points higher than with the ancillary's (95 % interval +19.4 to +30.6, 5
#   seeds, paired).
#   <!-- end -->
# - <!-- finding: inside-boxes-of-corrected-labels-at-10 -->
#   With the corrected labels (α 0.5) after 10 % of the training, the share of wrong pixels inside
#   the boxes is 8.0 points lower than with the ancillary's (95 % interval -9.7 to -6.4, 5 seeds,
#   paired).
#   <!-- end -->
#
# At the end the primary has learnt the names. The two do not agree: inside the boxes and at
# outlines the primary is now far ahead.
#
# - <!-- finding: inside-boxes-of-trained-primary -->
#   With the finished primary's own labels (linear correction), the share of wrong pixels inside the
#   boxes is 10.3 points lower than with the ancillary's (95 % interval -11.5 to -9.2, 10 seeds,
#   paired).
#   <!-- end -->
#
# Mixed in, the ancillary still mends names and what lies outside of all boxes, and does as much
# harm inside them and at outlines: the mIoU stays where it was. That is no sign that the boxes have
# nothing left to say. Cut off at the boxes, the primary's labels gain:
#
# - <!-- finding: trained-primary-in-boxes -->
#   With the finished primary's own labels (linear correction) kept inside the boxes, the mIoU of
#   the labels is 3.6 points higher than with those labels as they are (95 % interval +3.2 to +4.0,
#   10 seeds, paired).
#   <!-- end -->
#
# One more thing should make you suspicious. The schedule of the last section starts at
# $\alpha = 30$, where the label is the ancillary's. At a tenth of the training, when the mixture at
# 0.5 would be most worth having, nobody asks for it. Chapter 07 tests $\alpha = 0.5$ from the first
# step.

# %% [markdown]
# A better label is not yet a better model. The primary learns *while* it corrects, and a label near
# its own tells it little that is new. Chapter 07 holds what the labels gain, against either parent,
# beside what the model gains, and chapter 08 does so for boxes of other kinds.
#
# ### Move the slider yourself
#
# Eight unlabelled pictures: those that gained most, those that gained least, and those on
# which the two models differ most. Move $\alpha$ from the left (primary) to the right
# (ancillary). Watch which pixels flip first, and compare with the truth. The widget also works
# in the HTML book, where no Python runs.

# %%
disagreement = (views["primary"] != views["ancillary"]).mean(axis=(1, 2))
by_disagreement = np.argsort(-disagreement, kind="stable")
candidates = [*order[:3], *order[-3:], *by_disagreement]
picked = list(dict.fromkeys(int(i) for i in candidates))[:8]
widgets.AlphaExplorer(
    images=data.unlabelled.images[picked].numpy(),
    boxes=[data.unlabelled.sample(i).boxes for i in picked],
    logits_ancillary=logits_ancillary[seed][picked].numpy(),
    logits_primary=logits_primary[seed][picked].numpy(),
    classes=data.classes,
    truth=truth[picked],
    alpha=0.5,
)

# %% [markdown]
# **Things to try.** Find a pixel region that flips between 30 and 5: there the ancillary was
# barely confident. Find one that never flips: there both agree, or one is certain. In the pictures
# that gained least, who was wrong *and* sure?
#
# <details><summary>Answer to the last question</summary>
#
# The primary. In the picture that gained least, the last row of the first figure, it is sure that a
# tree is a balloon. The ancillary is right and about as sure, but at $\alpha = 0.5$ the primary
# counts twice.
#
# </details>

# %% [markdown]
# ## Equations and tensors
#
# | paper | in code | shape |
# |-|-|-|
# | $\ell$ | `logits` | `(B, C, h, w)`, at half the picture's resolution here |
# | $\ell_\mathrm{anc}$ | `logits_ancillary` | `(B, C, h, w)`, read from the store |
# | $p$, $p_\mathrm{anc}$ | `logits.softmax(dim=1)` | `(B, C, h, w)` |
# | $\alpha$ | `alpha = schedule.at(progress)` | a number, at least 0 |
# | $q$ | `linear_correction(logits, logits_ancillary, alpha).softmax(dim=1)` | `(B, C, h, w)` |
# | $\mathrm{sg}[q]$ | `target.detach()` | `(B, C, h, w)` |
# | $\mathrm{CE}_W(\mathrm{sg}[q], p)$ | `soft_cross_entropy(logits, target)` | a number, mean over `B·h·w` |

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: when does the pixel flip?
#
# The primary prefers one class, the ancillary another. At which $\alpha$ does the corrected label
# change from the primary's class to the ancillary's? Find the rule on paper, from the two margins
# between these classes. (Assume that no third class interferes.) Then write the function. Its
# arguments are the two models' probabilities of one pixel.
#
# <details><summary>Hint</summary>
#
# $q$ changes sides where its own margin between the two classes, the average of the two margins, is
# zero. They have opposite signs.
#
# </details>
#
# [A solution](solutions/06_self_correction.ipynb)

# %% tags=["exercise"]
def flip_alpha(p: Tensor, p_ancillary: Tensor) -> float:
    """The alpha at which q changes sides between the two models' classes.

    Args:
        p, p_ancillary: probabilities (C,) of a pixel; the largest differ.
    """
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("6.1"):
    flip = flip_alpha(p, p_ancillary)
    checks.same(flip, 1.164506)
    order = [2, 0, 1]
    checks.same(flip_alpha(p[order], p_ancillary[order]), 1.164506,
                "the same pixel, its classes in another order")
    assert int(closed_form(0.99 * flip).argmax()) == 0, (
        "just below, the primary's class should win"
    )
    assert int(closed_form(1.01 * flip).argmax()) == 1, (
        "just above, the ancillary's class should win"
    )

# %% [markdown]
# ### 2. Implement: the other mean
#
# Swap the arguments of both divergences and minimise $\mathrm{KL}(p\,\|\,q) +
# \alpha\,\mathrm{KL}(p_\mathrm{anc} \,\|\,q)$. The same three steps lead to another mean. Which?
# Implement it for logits. It returns probabilities.
#
# <details><summary>Answer on paper</summary>
#
# The *arithmetic* mean. The derivative is $-(p_c + \alpha\,p_{\mathrm{anc},c}) / q_c + \lambda$, so
# $q_c$ is in proportion to the sum:
#
# $$
# q = \frac{p + \alpha\,p_\mathrm{anc}}{1 + \alpha}. \tag{E10}
# $$
#
# </details>
#
# [A solution](solutions/06_self_correction.ipynb)

# %% tags=["exercise"]
def swapped_correction(logits: Tensor, logits_ancillary: Tensor,
                       alpha: float) -> Tensor:
    """The label that makes the swapped objective smallest: probabilities
    (B, C, h, w)."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
one_pixel = (p.log()[None, :, None, None],
             p_ancillary.log()[None, :, None, None])
with checks.exercise("6.2"):
    q = swapped_correction(*one_pixel, 0.5)
    checks.same(q.flatten(), (0.6, 0.36, 0.04), "our pixel")
    checks.same(q.shape, (1, 3, 1, 1), "the shape")

# %% [markdown]
# Which mean makes the better labels? The next cell scores both at $\alpha = 0.5$ on the unlabelled
# set. They differ only where the models disagree, and there in how they treat near-certainty: the
# veto of the geometric mean.
#
# <details><summary>Answer</summary>
#
# Neither. In our runs the labels of the two means differ by 0.1 points (−0.4 to +0.6), which is no
# relevant difference.
#
# </details>
#
# Learning from the arithmetic mean has a name of its own, *soft
# bootstrapping* [(Reed et al., 2014)](references.md#reed2014bootstrapping), and is among the
# controls of chapter 08.

# %% tags=["check"]
def arithmetic_miou(s: int) -> float:
    """mIoU in percent of labels made with the arithmetic mean at alpha
    = 0.5."""
    mean = swapped_correction(logits_primary[s], logits_ancillary[s], 0.5)
    return studies.percent(evaluate_unlabelled(data, mean.log()))


geometric = [label_scores[s][ALPHAS.index(0.5)] for s in profile.seeds]
with checks.after("6.2"):
    arithmetic = [arithmetic_miou(s) for s in profile.seeds]
    difference = paired_interval(arithmetic, geometric)
    print(f"arithmetic minus geometric: {difference.mean:+.1f} points "
          f"({difference.low:+.1f} to {difference.high:+.1f}): "
          f"{difference.judged(smallest=1)}")

# %% [markdown]
# ### 3. Investigate: an overconfident primary
#
# Multiply all of the primary's logits by a factor of 2: the same opinions, held with more
# conviction. Which $\alpha$ applied to the *original* logits gives the same most likely classes as
# $\alpha = 1$ applied to the inflated ones? Write the rule for any factor and $\alpha$. What does
# it say about choosing $\alpha$ for a model whose confidence cannot be trusted?
#
# <details><summary>Answer to the last question</summary>
#
# That $\alpha$ also makes up for how sure the primary is. An overconfident primary needs a larger
# $\alpha$ for the same labels, and an $\alpha$ that was chosen for one model need not suit another.
#
# </details>
#
# The same knob, on the other model, makes a control of correction: an ancillary that is less sure,
# by a temperature $T$ above 1,
#
# $$
# p_\mathrm{anc} = \mathrm{softmax}(\ell_\mathrm{anc} / T), \tag{E11}
# $$
#
# or any label with a share $\eta$ of it spread evenly over the $C$ classes,
#
# $$
# q \leftarrow (1 - \eta)\, q + \eta / C. \tag{E12}
# $$
#
# Both make a label softer without a second opinion. If they do as well, it was not correction that
# helped, but doubt.
#
# [A solution](solutions/06_self_correction.ipynb)

# %% tags=["exercise"]
def equivalent_alpha(alpha: float, factor: float) -> float:
    """The alpha that gives, on logits l, the same winners as ``alpha`` gives
    on factor * l."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
generator = torch.Generator().manual_seed(63)
noise, noise_ancillary = (torch.randn(1, 4, 20, 20, generator=generator)
                          for _ in range(2))
with checks.exercise("6.3"):
    for alpha, factor in ((1.0, 2.0), (3.0, 2.0), (0.5, 4.0)):
        same = equivalent_alpha(alpha, factor)
        inflated = linear_correction(factor * noise, noise_ancillary, alpha)
        original = linear_correction(noise, noise_ancillary, same)
        assert torch.equal(inflated.argmax(dim=1), original.argmax(dim=1)), (
            f"other winners with alpha {alpha:g} and factor {factor:g}: "
            "which sums of logits are compared in either case?"
        )
    print("overconfidence and a smaller alpha are the same thing")

# %% [markdown]
# ## Quiz
#
# **1.** Both models give car the probability 0.6 and background 0.4. What does $q$ say?
#
# <details><summary>Answer</summary>
#
# 0.6 for car, at every $\alpha$. Equal margins average to themselves.
#
# </details>
#
# **2.** Why does nobody correct the labels of the pictures that have masks?
#
# <details><summary>Answer</summary>
#
# Their labels are the truth as far as we know it. Mixing in the primary's opinion could only
# soften it. Correction is for labels that came from a model.
#
# </details>
#
# **3.** A colleague trains with `kl_div(..., reduction="batchmean")` on maps of 32 × 32 and
# finds that the labelled pictures no longer matter. What happened?
#
# <details><summary>Answer</summary>
#
# The unlabelled term is 1024 times its per-pixel mean, so its gradient drowns the supervised one.
# Take the mean over pixels.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - $q$ minimises $\mathrm{KL}(q\,\|\,p) + \alpha\,\mathrm{KL}(q\,\|\,p_\mathrm{anc})$; it is the
#   softmax of averaged logits, a weighted geometric mean.
# - Margins average. In a disagreement the surer model wins, after weighting by $\alpha$.
#   Agreement keeps its side but is not counted as new evidence.
# - Seen from the gradient, correction turns labels down that a sure primary contradicts. That is
#   robustness where the primary is right, and deafness where it is wrong.
# - $q$ is a target: no gradient through it, and a mean over pixels around it.
# - A mixture has to be held against its better parent. While the primary learns, it beats both; with
#   all labels kept inside the boxes, not after 30 % of the training any more. In the end α 0.5 does
#   not beat both, and a small α gains less than a point:
#
#   <!-- finding: corrected-labels-over-primary-at-30 -->
#   With the corrected labels (α 0.5) after 30 % of the training, the mIoU of the labels is 10.4
#   points higher than with the primary's own (95 % interval +7.6 to +13.3, 5 seeds, paired).
#   <!-- end -->
#
#   <!-- finding: corrected-labels-over-corrected-primary -->
#   With the corrected labels (α 0.5) and with those of the primary that learnt from corrected
#   labels, the mIoU of the labels is the same to within 1 point (difference +0.2, 95 % interval
#   -0.2 to +0.6, 10 seeds, paired).
#   <!-- end -->
#
# ## What can go wrong
#
# - **A sum over pixels.** `batchmean` on label maps inflates the unlabelled loss by the number of
#   pixels.
# - **A forgotten `detach()`.** The loss then rewards certainty, whatever the label.
# - **Probabilities where logits belong.** Feeding softmaxed scores into the formula flattens
#   every margin; [TwoStageSegmentation](https://github.com/OneMagicKey/TwoStageSegmentation) does
#   this to its correction module.
# - **Logits that no longer lie on their picture.** They must be flipped and shifted with it.
#   Here one index moves both.
# - **The convenient baseline.** A mixture beats its worse parent almost always. That says nothing
#   about the mixture.
#
# ## Next
#
# [Training the primary model](07_primary_training.ipynb) puts the corrected label into a loss,
# and asks over several seeds whether the model gains what the labels gained.
#
# ## References
#
# The method and its linear correction:
# [Ibrahim et al. (2020)](references.md#ibrahim2020selfcorrecting). The straight line from 30 to its
# end value, and reaching it after 30 % of the training, are this book's choices.
