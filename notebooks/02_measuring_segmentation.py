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
# # Measuring segmentation
#
# *What exactly is mIoU, and how can it mislead?*
#
# After this chapter you can
#
# - compute a confusion matrix and mIoU by hand, and in ten lines of NumPy;
# - say what void pixels and absent classes do to the number, and which convention you use;
# - explain why the mean over pictures and the mean over the dataset differ;
# - recognise two flattering rulers: pixel accuracy, and a truth that was resized;
# - say how many test pictures a comparison needs.
#
# **You need** chapter 01, and NumPy. Nothing is trained here: the ruler comes before the models.
#
# **Minutes**: about 80 to read and do; the code takes 0.3 in `laptop`, 0.2 in `smoke`.

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
seed = 11  # draws the resampled test sets
device = None  # "cpu" to stay on the CPU; None takes the best there is

# %% tags=["nbval-ignore-output"]
from importlib.util import find_spec

import numpy as np
from PIL import Image

from semiseg_lib import (
    VOID, Data, Evaluation, chapter, checks, evaluate_labels, evaluation,
    plots, tables,
)

profile = chapter.begin("02_measuring_segmentation", profile, device)
data = Data(profile.data, seed)

# %% [markdown]
# ## The result first
#
# Here are two ways to label the test pictures without any learning. The first calls every pixel
# background. The second is allowed to see the boxes and fills each with its class; where boxes
# overlap, the smallest wins.

# %%
truth = data.test.masks.numpy()
nothing = np.zeros_like(truth)


def fill_boxes(box_maps: np.ndarray) -> np.ndarray:
    """Label each pixel with the class of the smallest box that covers it:
    (N, C, H, W) to (N, H, W)."""
    areas = box_maps.sum(axis=(2, 3), keepdims=True, dtype=np.int64)
    return (np.where(box_maps == 1, areas, np.iinfo(np.int64).max)
            .argmin(axis=1).astype(np.uint8))


# %%
maps = data.test.part(range(len(data.test))).box_maps.numpy()
filled = fill_boxes(maps)
crowded = np.argsort(-(filled != 0).mean(axis=(1, 2)), kind="stable")
sparse_to_crowded = crowded[[-1, len(crowded) // 2, 0]]
figure = plots.gallery(
    {"picture": data.test.images[sparse_to_crowded].numpy(),
     "truth": truth[sparse_to_crowded],
     "all background": nothing[sparse_to_crowded],
     "filled boxes": filled[sparse_to_crowded]}, data.classes,
)
plots.show(figure,
           alt="Three test pictures, from the emptiest to the fullest: the "
           "picture, its true mask, a label that is background throughout, "
           "and a label made of filled boxes.")

# %%
predictions = {"all background": nothing, "filled boxes": filled}
scores = {name: evaluate_labels(truth, p, data.classes)
          for name, p in predictions.items()}
tables.results_table([{"prediction": name,
                       "pixel accuracy": [score.pixel_accuracy],
                       "mIoU": [score.mean_iou]}
                      for name, score in scores.items()])

# %% [markdown]
# Notice how far the two columns lie apart in the first row. A label without a single object is
# *useless*, and still most of its pixels are right. The rest of the chapter takes the second column
# apart.

# %% [markdown]
# ## Counting pixels once
#
# Everything begins with a table of counts. Row $c$, column $c'$ of the **confusion matrix** $M$
# holds the number of pixels that are class $c$ in the truth and are called class $c'$. Here is a
# picture of 4 × 6 pixels with two void ones, small enough to count by hand.

# %%
small_truth = np.array([
    [0, 0, 0, 0, 0, 0],
    [0, 1, 1, VOID, 2, 2],
    [0, 1, 1, VOID, 2, 2],
    [0, 0, 0, 0, 0, 0],
])
small_prediction = np.array([
    [0, 0, 0, 0, 0, 0],
    [0, 1, 1, 1, 2, 2],
    [0, 1, 0, 1, 2, 1],
    [0, 0, 0, 0, 2, 0],
])
SMALL = ("background", "balloon", "car")
figure = plots.gallery(
    {"truth": [small_truth], "prediction": [small_prediction]}, SMALL
)
for axes in figure.axes:
    for line in range(1, 6):
        axes.axvline(line - 0.5, color="white", linewidth=0.8)
        axes.axhline(line - 0.5, color="white", linewidth=0.8)
    axes.set_ylim(3.5, -0.5)
plots.show(figure,
           alt="Truth and prediction of 4 by 6 pixels: a balloon of four "
           "pixels and a car of four, two void pixels between them, and "
           "a few pixels predicted wrongly.")

# %% [markdown]
# **Predict first.** Take a pencil. Fill in the 3 × 3 matrix: how many pixels of each true class
# get each name? Leave the void pixels out. What must the nine numbers add up to?
#
# <details><summary>Answer</summary>
#
# Background: 13 right, 1 called car. Balloon: 3 right, 1 called background. Car: 3 right, 1 called
# balloon. Together 22: the 24 pixels without the two void ones.
#
# </details>
#
# In code, a pair (true, predicted) becomes one number, `C * true + predicted`, and `bincount`
# counts all numbers at once.

# %% tags=["inline", "inline:semiseg_lib.evaluation.metrics.confusion_matrix"]
def confusion_matrix(truth: np.ndarray, prediction: np.ndarray,
                     num_classes: int) -> np.ndarray:
    """Pixels by true class (row) and predicted class (column), void aside:
    int64 (C, C)."""
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction "
                         f"{prediction.shape} differ in shape.")
    labelled = truth != VOID
    truth = truth[labelled].astype(np.int64)
    prediction = prediction[labelled].astype(np.int64)
    for name, ids in (("truth", truth), ("prediction", prediction)):
        if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
            raise ValueError(f"the {name} holds ids {ids.min()} to "
                             f"{ids.max()}; with {num_classes} classes "
                             f"only 0 to {num_classes - 1} (and {VOID} for "
                             "void in the truth) are allowed.")
    counts = np.bincount(num_classes * truth + prediction,
                         minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)

# %% tags=["nbval-check-output"]
matrix = confusion_matrix(small_truth, small_prediction, len(SMALL))
librarys = evaluation.metrics.confusion_matrix(
    small_truth, small_prediction, len(SMALL)
)
assert (matrix == librarys).all()
print(matrix)
print("pixels counted:", matrix.sum(), "of", small_truth.size)

# %% [markdown]
# A ruler deserves a second opinion. If scikit-learn is installed, its own function must agree.

# %% tags=["nbval-ignore-output"]
if find_spec("sklearn"):
    from sklearn.metrics import confusion_matrix as counted_by_sklearn

    labelled = truth != VOID
    theirs = counted_by_sklearn(truth[labelled], filled[labelled],
                                labels=range(len(data.classes)))
    ours = confusion_matrix(truth, filled, len(data.classes))
    assert (ours == theirs).all(), "scikit-learn counts otherwise"
    print(f"scikit-learn agrees on all {ours.sum():,} test pixels")
else:
    print("scikit-learn is not installed; this check was left out")

# %% [markdown]
# ## From the matrix to mIoU
#
# For one class $c$ the diagonal holds the hits. The rest of its row was missed, the rest of its
# column was called $c$ wrongly. **Intersection over union** divides the hits by all pixels that are
# $c$ in the truth, in the prediction, or in both:
#
# $$\mathrm{IoU}_c = \frac{M_{cc}}{\sum_{c'} M_{cc'} + \sum_{c'} M_{c'c} - M_{cc}},
# \qquad \mathrm{mIoU} = \text{mean of } \mathrm{IoU}_c \text{ over the classes that occur}.$$
#
# The hits stand in the row and in the column, so they are subtracted once. Missing an object and
# inventing one both cost.
#
# | Symbol | In code | Shape | Meaning |
# |---|---|---|---|
# | $M$ | `Evaluation.confusion` | `(C, C)` | pixels by truth (row) and prediction (column) |
# | $M_{cc}$ | `np.diag(matrix)` | `(C,)` | hits |
# | $\sum_{c'} M_{cc'}$ | `matrix.sum(1)` | `(C,)` | pixels that are $c$ |
# | $\sum_{c'} M_{c'c}$ | `matrix.sum(0)` | `(C,)` | pixels called $c$ |
# | $\mathrm{IoU}_c$ | `Evaluation.iou` | `(C,)` | NaN where the class does not occur at all |
# | mIoU | `Evaluation.mean_iou` | one number | mean over the classes that occur |
#
# **Predict first.** From your matrix: what is the IoU of balloon? Of background?
#
# <details><summary>Answer</summary>
#
# Balloon: 3 hits, 4 true pixels, 4 called so: 3 / (4 + 4 − 3) = 3/5. Car: the same. Background:
# 13 hits, 14 true, 14 called so: 13/15.
#
# </details>

# %% tags=["nbval-check-output"]
def class_iou(matrix: np.ndarray) -> np.ndarray:
    """IoU of each class (C,) from a confusion matrix (C, C); NaN where a
    class does not occur."""
    hits = np.diag(matrix)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan),
                     where=union > 0)


for name, iou in zip(SMALL, class_iou(matrix), strict=True):
    print(f"{name:<11} {iou:.3f}")
print(f"{'mIoU':<11} {class_iou(matrix).mean():.3f}")
np.testing.assert_allclose(class_iou(matrix), Evaluation(matrix, SMALL).iou)

# %% [markdown]
# On the test pictures, the filled boxes score like this. Does every class suffer equally from being
# painted as a rectangle? Think of the shapes before you look.

# %%
figure = plots.class_bars({"filled boxes": scores["filled boxes"].iou},
                          data.classes)
plots.show(figure,
           alt="Bars: the IoU of each class when every box is filled with "
           "its class.")

# %% [markdown]
# It does not. In our runs background keeps 79 %, car and balloon about 67 %, fish and tree about 59
# %. The more of its box an object fills, the less background the rectangle adds: a car fills most
# of its box, while a tree has a thin trunk below a wide crown, and a fish a thin tail.

# %% [markdown]
# ## Void is not a class
#
# Our matrix leaves void pixels out. Two other treatments are easy to get by accident. One takes the
# void pixels for background. The other puts them into the last class: the public histograms of S4MC
# and U2PL do so when the void id equals the number of classes, as it does on CamVid.
#
# **Predict first.** In our small picture, both void pixels are called balloon. Will the two wrong
# treatments raise or lower the mIoU?
#
# <details><summary>Answer</summary>
#
# Both lower it, from 0.69 to about 0.6: two pixels that nobody can judge become two mistakes. Taken
# for background they cost two classes, balloon and background; taken for the last class they cost
# balloon and car, and car is so small that it loses more (0.598 against 0.575). On the rims of
# objects, where void lies, that punishes honest guesses most.
#
# </details>

# %% tags=["nbval-check-output"]
treatments = {
    "left out (ours)": small_truth,
    "taken for background": np.where(small_truth == VOID, 0, small_truth),
    "taken for the last class": np.where(small_truth == VOID, len(SMALL) - 1,
                                         small_truth),
}
for name, changed in treatments.items():
    matrix_so = confusion_matrix(changed, small_prediction, len(SMALL))
    print(f"void {name:<25} mIoU {class_iou(matrix_so).mean():.3f}")

# %% [markdown]
# ## Classes that are not there
#
# Add a class that occurs nowhere: not in the truth, not in the prediction. Its IoU is 0 / 0. What
# now? Public code for semi-supervised segmentation disagrees:
#
# - S4MC, U2PL and CAC count it as **0**;
# - CPS and TwoStageSegmentation **skip** it;
# - ELN and SwiftNet let it become **NaN**, and the mean with it.
#
# We skip a class that is absent from both. A class that is absent from the truth but *predicted*
# counts as 0: inventing it was a mistake.

# %% tags=["nbval-check-output"]
def three_conventions(matrix: np.ndarray) -> dict[str, float]:
    """mIoU when an absent class counts 0, is skipped, or stays NaN."""
    iou = class_iou(matrix)
    return {
        "counts 0": np.nan_to_num(iou, nan=0.0).mean(),
        "skipped (ours)": iou[~np.isnan(iou)].mean(),
        "NaN": iou.mean(),
    }


one_stray_pixel = small_prediction.copy()
one_stray_pixel[0, 0] = 3  # the fourth class, which the truth does not have
for title, prediction in {"absent": small_prediction,
                          "one stray pixel": one_stray_pixel}.items():
    values = three_conventions(confusion_matrix(small_truth, prediction, 4))
    print(f"{title:<16}",
          ", ".join(f"{name}: {value:.3f}" for name, value in values.items()))

# %% [markdown]
# Look at the second row. One stray pixel of a class that the truth lacks, and now all three agree,
# on the low number. So with our convention a *single pixel* can move the mIoU by a whole class's
# share. On a large test set every class occurs and the conventions agree. On small sets, single
# pictures, or few classes they do not: say which one you use.

# %% [markdown]
# ## One matrix, or one score per picture?
#
# There are two ways to score a dataset. **Dataset level**: add the confusion matrices of all
# pictures, then compute one mIoU. **Per picture**: compute a score for each picture, then take the
# mean.
#
# **Predict first.** A balloon covers 90 pixels of the first picture, 81 are found. In the second
# picture a tiny balloon covers 4 pixels, one is found. Nothing is invented. What is the IoU of
# balloon in each way?
#
# <details><summary>Answer</summary>
#
# Dataset level: (81 + 1) / (90 + 4), about 0.87. Per picture: the mean of 0.9 and 0.25, 0.575. Per
# picture, the tiny balloon counts as much as the large one.
#
# </details>

# %% tags=["nbval-check-output"]
found, covered = np.array([81, 1]), np.array([90, 4])
print(f"dataset level: {found.sum() / covered.sum():.3f}")
print(f"per picture:   {np.mean(found / covered):.3f}")

# %% [markdown]
# Neither is wrong, but they answer different questions: *what share of the pixels* against *how
# well on the average picture*. Published numbers are dataset level, so ours are too. A public
# [re-implementation](https://github.com/youcefgheffari3/semi-supervised_segmentation_approach)
# of self-correction averages each class over the pictures in which it occurs, and then over the
# classes. The same labels give three numbers:

# %%
matrices = np.stack([confusion_matrix(t, p, len(data.classes))
                     for t, p in zip(truth, filled, strict=True)])
# (N, C), NaN where a class is absent
per_picture = np.stack([class_iou(m) for m in matrices])
occurring = ~np.isnan(per_picture).all(axis=0)
tables.results_table([
    {"how the filled boxes are scored": "dataset level (ours)",
     "mIoU": [np.nanmean(class_iou(matrices.sum(axis=0)))]},
    {"how the filled boxes are scored": "the mean of the pictures' mIoU",
     "mIoU": [np.nanmean(per_picture, axis=1).mean()]},
    {"how the filled boxes are scored": "a class over its pictures, then all",
     "mIoU": [np.nanmean(per_picture[:, occurring], axis=0).mean()]},
])

# %% [markdown]
# ## Pixel accuracy flatters
#
# Back to the label without objects. Its IoU is 0 for every object class. For background, the union
# is *all* pixels and the hits are the background pixels. So if $\rho$ is the share of background,
# the pixel accuracy is $\rho$ and the mIoU is $\rho / C$. Both follow from one number that has
# nothing to do with skill.

# %%
empty = scores["all background"]
share = float((truth[truth != VOID] == 0).mean())
present = np.isin(np.arange(len(data.classes)), truth).sum()
assert abs(empty.pixel_accuracy
           - share) < 1e-9 and abs(empty.mean_iou - share / present) < 1e-9
print(f"share of background {share:.3f}, divided by {present} classes "
      f"{share / present:.3f}")
print(f"pixel accuracy      {empty.pixel_accuracy:.3f}, mIoU                "
      f" {empty.mean_iou:.3f}")

# %% [markdown]
# ## Resizing moves the score
#
# Networks often output labels at a fraction of the picture's size. It is tempting to shrink the
# truth to the same size and compare there. Let us take the *best possible* label on a grid that is
# coarser: in each cell of 2 × 2, 4 × 4 … pixels, the class that most of its pixels have. Enlarged
# again, it is compared with the truth.
#
# **Predict first.** What does this label score if the truth is shrunk in the same way, instead of
# the label being enlarged?
#
# <details><summary>Answer</summary>
#
# 100, however coarse the grid is: it is then compared with itself. Shrinking the truth removes
# exactly what the coarse grid cannot show. Compared at full size, cells of 8 × 8 cost 15 points.
#
# </details>

# %%
def coarse_majority(masks: np.ndarray, s: int,
                    num_classes: int) -> np.ndarray:
    """The most frequent class of each s x s cell, void aside: (N, H, W) to
    (N, H/s, W/s)."""
    n, height, width = masks.shape
    votes = np.stack([masks == c for c in range(num_classes)], axis=1)
    cells = (votes.reshape(n, num_classes, height // s, s, width // s, s)
             .sum(axis=(3, 5)))
    return cells.argmax(axis=1).astype(np.uint8)


def enlarged(masks: np.ndarray, s: int) -> np.ndarray:
    """Every pixel repeated s times in both directions."""
    return masks.repeat(s, axis=1).repeat(s, axis=2)


# %%
rows = []
for s in (1, 2, 4, 8, 16):
    best = coarse_majority(truth, s, len(data.classes))
    score = evaluate_labels(truth, enlarged(best, s), data.classes)
    rows.append({"cells of": f"{s} × {s}",
                 "label at": f"{best.shape[1]} × {best.shape[2]}",
                 "mIoU at full size": [score.mean_iou]})
assert rows[1]["mIoU at full size"][0] > 0.99, (
    "a grid of 2 × 2 now loses more than the rim hides"
)
tables.results_table(rows)

# %% [markdown]
# The row of 2 × 2 is the grid of this book's network, whose logits are half as large as the
# picture. Why does that grid cost next to nothing? Look at the void rim: it is as wide as a cell,
# and hides just the pixels that such a grid cannot show. Coarser grids are not so lucky.
#
# Two rules follow. Enlarge the *logits*, and compare at the truth's own size. And never compare two
# papers that measured at different sizes: the public [code of
# ELN](https://github.com/kinux98/SSL_ELN) squashes every picture of VOC and its mask to a square of
# 505 × 505 before measuring.
#
# If you must resize a mask, use the nearest neighbour. Anything else averages ids, and the mean of
# class 2 and class 4 is not a class between them.

# %% tags=["nbval-check-output"]
two_and_four = Image.fromarray(np.array([[2, 2, 4, 4]], np.uint8))
for how in (Image.Resampling.NEAREST, Image.Resampling.BILINEAR):
    print(f"{how.name:<9}",
          np.asarray(two_and_four.resize((8, 1), how))[0].tolist())

# %% [markdown]
# ## How many pictures are enough?
#
# The test pictures are a draw from all pictures there could be. Another draw gives another score.
# The **bootstrap** imitates it: draw a new test set from ours, with replacement, and score that;
# do it many times. The middle 95 % of the scores are the interval. Since matrices add up, no
# picture has to be scored twice.

# %%
def resampled_miou(matrices: np.ndarray, pictures: int, draws: int,
                   generator: np.random.Generator) -> np.ndarray:
    """mIoU of ``draws`` test sets of ``pictures`` pictures drawn with
    replacement: (draws,).

    ``matrices`` holds one confusion matrix per picture, (N, C, C).
    """
    times = generator.multinomial(
        pictures, np.full(len(matrices), 1 / len(matrices)), size=draws
    )
    totals = np.tensordot(times, matrices, axes=1)
    return np.array([np.nanmean(class_iou(total)) for total in totals])

# %% [markdown]
# **Predict first.** With four times as many pictures, how much narrower does the interval become?
#
# <details><summary>Answer</summary>
#
# About half as wide: a mean over $N$ independent pictures scatters like $1 / \sqrt{N}$. mIoU is no
# plain mean, but close enough: in our runs ± 1.1 points with 149 pictures and ± 0.6 with 500.
#
# </details>

# %%
generator = np.random.default_rng(seed)
counts = np.unique(np.geomspace(4, len(truth), 9).astype(int))
lines = {"97.5 %": [], "median": [], "2.5 %": []}
for pictures in counts:
    low, middle, high = np.quantile(
        resampled_miou(matrices, pictures, 1000, generator),
        (0.025, 0.5, 0.975)
    )
    for name, value in zip(lines, (high, middle, low), strict=True):
        lines[name].append((int(pictures), 100 * value))

figure = plots.curves(lines, "test pictures", "mIoU of the filled boxes (%)")
plots.show(figure,
           alt="The bootstrap interval of the mIoU against the number of "
           "test pictures: a funnel that is wide for a few pictures and "
           "narrows as they become more.")
half_width = (lines["97.5 %"][-1][1] - lines["2.5 %"][-1][1]) / 2
print(f"with {len(truth)} pictures: ± {half_width:.1f} points; to halve "
      f"that, one would need about {4 * len(truth):,}")

# %% [markdown]
# This interval says what *other test pictures* would change. It says nothing about other seeds,
# that is, other labelled pictures and other first weights. The two are different sources of doubt,
# and chapter 03 meets the second. When two models are scored on the *same* pictures, much of this
# doubt may cancel; exercise 2.3 shows how much.

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: Dice
#
# Papers on medical pictures often report Dice, twice the intersection over
# the *sum* of the two sizes: $2 M_{cc} / (\sum_{c'} M_{cc'} + \sum_{c'} M_{c'c})$. Express it by
# the IoU alone. (Which of the two is larger?)
#
# [A solution](solutions/02_measuring_segmentation.ipynb)

# %% tags=["exercise"]
def dice_from_iou(iou: np.ndarray) -> np.ndarray:
    """Dice of each class from its IoU, both in [0, 1]."""
    raise NotImplementedError("your turn")

# %% tags=["check", "nbval-check-output"]
by_definition = 2 * np.diag(matrix) / (
    matrix.sum(axis=0) + matrix.sum(axis=1)
)
with checks.exercise("2.1"):
    checks.same(dice_from_iou(class_iou(matrix)), by_definition,
                "the small example")
    print("Dice", np.round(by_definition, 3).tolist())

# %% [markdown]
# ### 2. Implement: frequency-weighted IoU
#
# Weigh each class by its share of the *true* pixels
# instead of equally. Leave out classes that do not occur. Then predict: on which of our two
# predictions does the weighting change the score more?
#
# <details><summary>Answer to the prediction</summary>
#
# On the label without objects: in our runs from 14 to 49 %, for background is the one class that it
# has right, and background now counts for 70 % of the score. Filled boxes rise from 66 to 75 %.
#
# </details>
#
# [A solution](solutions/02_measuring_segmentation.ipynb)

# %% tags=["exercise"]
def weighted_iou(matrix: np.ndarray) -> float:
    """IoU averaged over classes with the classes' shares of the true pixels
    as weights."""
    raise NotImplementedError("your turn")

# %% tags=["check"]
with checks.exercise("2.2"):
    checks.same(weighted_iou(matrix), 0.769697, "the small example")
    more_cars = matrix * np.array([[1], [1], [5]])
    checks.same(weighted_iou(more_cars), 0.730326, "five times the true cars")
    absent = np.pad(matrix, (0, 1))  # one more class, which occurs nowhere
    checks.same(weighted_iou(absent), 0.769697, "a class that is absent")
    for name, score in scores.items():
        print(f"{name:<15} mIoU {score.mean_iou:.3f}, weighted "
              f"{weighted_iou(score.confusion):.3f}")

# %% [markdown]
# ### 3. Investigate: the same pictures for both
#
# Let the *largest* box win where boxes overlap. Is
# that better or worse than the smallest? Score both on the *same* resampled test sets, and look at
# the difference. The check also lets each have its own test set, as if two groups had measured
# independently. Predict: which interval is wider?
#
# [A solution](solutions/02_measuring_segmentation.ipynb)

# %% tags=["exercise"]
def resampled_difference(
    first: np.ndarray, second: np.ndarray, draws: int, seed: int
) -> np.ndarray:
    """mIoU of the first minus the second on the same resampled test sets:
    (draws,).

    ``first`` and ``second`` hold one confusion matrix per picture,
    (N, C, C), in the same order.
    """
    raise NotImplementedError("your turn")

# %%
areas = maps.sum(axis=(2, 3), keepdims=True, dtype=np.int64)
largest = (maps * areas).argmax(axis=1)
of_largest, of_nothing = (
    np.stack([confusion_matrix(t, p, len(data.classes))
              for t, p in zip(truth, labels, strict=True)])
    for labels in (largest, np.zeros_like(truth))
)

# %% tags=["check"]
with checks.exercise("2.3"):
    assert np.all(resampled_difference(matrices, matrices, 20, seed) == 0), (
        "a predictor minus itself must be 0 in every draw: draw the same "
        "pictures for both"
    )
    assert np.all(resampled_difference(matrices, of_nothing, 20, seed) > 0), (
        "filled boxes minus background everywhere must be above 0"
    )
    all_right = np.stack([np.eye(2)] * 2)  # two pictures of two classes
    all_wrong = all_right[:, ::-1]
    half_right = np.stack([all_right[0], all_wrong[1]])
    checks.same(np.unique(resampled_difference(half_right, all_wrong, 200,
                                               seed)),
                (0, 1 / 3, 1), "the values that occur, one picture right")
    paired = resampled_difference(matrices, of_largest, 1000, seed)
    ours, theirs = (
        resampled_miou(m, len(m), 1000, np.random.default_rng(seed + number))
        for number, m in enumerate((matrices, of_largest))
    )
    print("Smallest minus largest, 95 % of the draws:")
    for name, values in {"same test pictures": paired,
                         "each its own": ours - theirs}.items():
        low, high = 100 * np.quantile(values, (0.025, 0.975))
        print(f"  {name:<18} {low:5.1f} to {high:5.1f} points, width "
              f"{high - low:.1f}")

# %% [markdown]
# The smallest box is the better choice, and the paired interval is the narrower one: in our runs
# 1.3 points wide against 2.0. To the extent that the same pictures are hard for both, the shared
# luck cancels in the paired difference. This is why the book compares methods on the same pictures,
# and seed by seed.

# %% [markdown]
# ## Quiz
#
# **1.** A model's pixel accuracy rises and its mIoU falls. How is that possible?
#
# <details><summary>Answer</summary>
#
# It gave up a rare class. Pixels of background that were called by the rare class are right now,
# and they are many; the rare class's IoU drops, and it counts as much as background's.
#
# </details>
#
# **2.** A paper reports the mean of per-picture mIoUs, you report the dataset's. Yours is higher.
# Is your model better?
#
# <details><summary>Answer</summary>
#
# You cannot tell. The two rulers differ on the same labels, as the table above shows.
#
# </details>
#
# **3.** On 16 test pictures your mIoU is NaN. What happened, and what do you do?
#
# <details><summary>Answer</summary>
#
# A class occurs neither in the truth nor in the prediction, and the code takes the mean over all
# classes. Skip such classes and say so; better still, use more pictures.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - One confusion matrix for the whole test set; every score is read off it.
# - IoU punishes what was missed and what was invented; mIoU counts rare classes like frequent ones.
# - Ours: void left out, classes absent from both skipped, dataset level, at the truth's full size.
# - A score on finitely many pictures has an interval; paired comparisons are the sharpest.
#
# ## What can go wrong
#
# - **Void joins a class** because its id equals the number of classes, or because a mask was
#   resized with interpolation.
# - **Two rulers in one table.** The conventions above move one and the same prediction. Score all
#   methods with one function.
# - **A flattering size.** The truth was shrunk, squashed or cropped before measuring.
# - **Choosing on the test pictures.** Each look at them tunes a little. Choose on val; report on
#   test.
#
# **Next:** chapter 03 trains the first model, on a handful of masks, and meets the spread over
# seeds.
#
# ## References
#
# - [Everingham et al. (2015)](references.md#everingham2015voc) describe the score of the VOC
#   challenge: intersection over union for each class, over all test pixels, and the mean over
#   classes.
# - The conventions of public code were found by running it on one and the same prediction:
#   [S4MC](https://github.com/s4mcontext/s4mc), [U2PL](https://github.com/Haochen-Wang409/U2PL),
#   [CAC](https://github.com/JIA-Lab-research/Context-Aware-Consistency),
#   [CPS](https://github.com/charlesCXK/TorchSemiSeg),
#   [TwoStageSegmentation](https://github.com/OneMagicKey/TwoStageSegmentation),
#   [ELN](https://github.com/kinux98/SSL_ELN) and [SwiftNet](https://github.com/orsic/swiftnet).
