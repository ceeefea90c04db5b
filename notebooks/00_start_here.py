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
# # Start here
#
# *Does everything run here, and what will this book show me?*
#
# After this chapter you
#
# - have run the whole story of the book once, from drawn pictures to a scored model;
# - can say what semi-supervised segmentation is, and what each of the four stages does;
# - know how the book reports numbers, and why one run is not yet a result;
# - know where everything lies on disk, and what to do when something fails.
#
# **You need** PyTorch basics, and an idea of what a convolutional network is. You need no graphics
# card, no download and no account.
#
# **Minutes**: about 50 to read and do; the code takes 2 in `laptop`, 0.2 in `smoke`, and less where
# the runs are on disk already. The [glossary](glossary.md) has the words of this chapter.

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
import numpy as np
from torch import nn

from semiseg_lib import (
    chapter, checks, enlarge, linear_correction, plots, predict,
    predict_logits, recipes, resolve, self_correction as story, studies,
    tables,
)

profile = chapter.begin("00_start_here", profile, device)

# %% [markdown]
# ## What would you do with an afternoon?
#
# You have a thousand pictures and an afternoon. To outline every object of a picture, its *mask*,
# takes minutes; to draw a *box* around each object takes seconds. The paper behind this book's main
# story puts a mask at eight boxes. So the same afternoon buys the masks of 124 pictures, or the
# masks of 24 and boxes on 800 more. Or you draw 24 masks, go home, and let a method learn from the
# pictures that nobody touched. What is best?
#
# **Predict first.** Order four of the rows below before you look: *24 masks*, *24 masks and boxes*,
# *24 masks and bare pictures*, *124 masks*.

# %%
laptop = recipes.load("laptop")
ways = studies.current("ways", laptop)
figure = plots.dots_with_intervals(
    {text: ways.scores(arm) for arm, text in studies.SAME_HOURS.items()},
    "mIoU on the test pictures (%)",
)
plots.show(
    figure,
    alt="Sixteen rows of dots, one a training run, with mean and interval: "
    "the test mIoU of ways to spend annotation hours, from 24 masks over 24 "
    "masks with boxes or bare images and 124 masks to all 824 masks.",
)
print("seeds:", ways.seeds("linear"), "-", ways.made_with)

# %% [markdown]
# The rows come from stored records, made by `semiseg study ways`; every run has the same network.
# Students that learn another model's labels, or GrabCut's, learn 1000 steps from fresh weights. The
# others label the pictures themselves, or have masks alone. They start from a model that has learnt
# the 24 masks (124 in the rows of 124), and learn 1000 steps more. The 124 masks are of 100 pictures
# more, beside the same 800 without. Bare pictures teach their sure pixels, boxes with strong views
# every pixel; chapter 08 has both alike. What the rows say about the four, seed by seed:
#
# <details><summary>Answer</summary>
#
# Masks alone come last, then boxes in weak views, then bare pictures in two strong views, then
# masks for the same hours. The views make the difference between the two in the middle: with one
# strong view of bare pictures these seeds cannot tell, and with the same two views boxes are ahead
# (below).
#
# - <!-- finding: boxes-over-masks -->
#   With boxes as input, uncorrected, test mIoU is 13.6 points higher than with the masks alone
#   (95 % interval +11.4 to +15.9, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: unimatch-over-linear -->
#   With two strong views and no box, test mIoU is 5.6 points higher than with 800 images with boxes
#   and linear correction (95 % interval +3.8 to +7.4, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: fixmatch-over-linear -->
#   We cannot tell whether test mIoU is higher with one strong view and no box or with 800 images
#   with boxes and linear correction (difference +1.3, 95 % interval -1.0 to +3.6, 10 seeds, paired;
#   1 point would matter).
#   <!-- end -->
# - <!-- finding: masks-over-unimatch -->
#   With 124 masks, test mIoU is 5.3 points higher than with 24 masks and two strong views of
#   unlabelled images (95 % interval +3.6 to +7.0, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: masks-over-boxes -->
#   With 124 masks, test mIoU is 10.9 points higher than with 24 masks and 800 images with boxes and
#   linear correction (95 % interval +9.5 to +12.3, 10 seeds, paired).
#   <!-- end -->
#
# </details>
#
# And the others? Correction adds a little to the boxes, and so does what a box forbids. Strong views
# add more, where the student labels the pictures itself. Its masks stay in weak views; held against
# masks alone in weak views and in strong ones, bare pictures in two strong views are far ahead.
# Within the boxes, strong views add to weak ones, and what a box forbids adds to strong views:
#
# - <!-- finding: linear-over-none -->
#   With linear correction, test mIoU is 2.5 points higher than with the ancillary's labels as they
#   are (95 % interval +1.9 to +3.1, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: both-over-linear -->
#   With boxes as input and constraint, test mIoU is 2.1 points higher than with boxes as input,
#   both with linear correction (95 % interval +1.7 to +2.6, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: unimatch-over-longer -->
#   With two strong views of unlabelled images, test mIoU is 21.7 points higher than with weak views
#   of the masks alone (95 % interval +19.5 to +24.0, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: unimatch-over-strong -->
#   With two strong views of unlabelled images, test mIoU is 15.0 points higher than with strong
#   views of the masks alone (95 % interval +13.5 to +16.6, 10 seeds, paired).
#   <!-- end -->
# - <!-- finding: unimatch-in-boxes-over-own-hard -->
#   With two strong views, mixed, and dropped features, test mIoU is 6.0 points higher than with
#   weak views, both with hard labels kept inside the boxes (95 % interval +4.3 to +7.7, 10 seeds,
#   paired).
#   <!-- end -->
# - <!-- finding: unimatch-in-boxes-over-every-pixel -->
#   With boxes as constraint and two strong views, test mIoU is 6.5 points higher than with two
#   strong views, both learning every pixel (95 % interval +3.6 to +9.4, 5 seeds, paired).
#   <!-- end -->
#
# Does the start make the difference? For linear correction it does not. The student of its own hard
# labels in weak views cannot do without (chapter 08):
#
# - <!-- finding: start-of-own-hard -->
#   With hard labels of one's own within boxes, started from masks alone, test mIoU is 34.3 points
#   higher than with the same, started from noise (95 % interval +25.5 to +43.1, 5 seeds, paired).
#   <!-- end -->
# - <!-- finding: start-of-linear -->
#   With linear correction that starts from the model of masks alone and with linear correction that
#   starts from nothing, test mIoU is the same to within 1 point (difference +0.2, 95 % interval
#   -0.2 to +0.6, 5 seeds, paired).
#   <!-- end -->
#
# So boxes are worth a lot, and self-correction is worth something. It is not what to do first. The
# paper says that it comes to similar accuracy with seven times less annotation effort than masks
# alone; on these pictures, at equal effort, masks are ahead. Why that is so, and at what price of
# a box it might turn round, is the story of chapters 03 to 08: a hunt for the kinds of mistake that decide it. Most of
# them are *wrong names* and *wrong outlines*. What else boxes have been used for, in the
# paper's time and since, up to Segment Anything, is on the page
# [Boxes and noisy labels](boxes_and_noise.md).
#
# One thing you have to know before you believe any of this. The pictures are drawn, and their boxes
# were made loose **on purpose**, with pictures that are easier than they could be: in this world
# the effect of correction can be seen. Chapter 08 repeats it with tight, missing and shifted boxes,
# and with harder pictures and tight boxes, and there it seems to cost points, as far as five
# seeds can say. How fast $\alpha$ falls was chosen here as well; over the whole training, as we read
# the paper, chapter 07 cannot tell whether correction helps. Of the harder world, for one:
#
# - <!-- finding: linear-over-none-harder-world -->
#   With linear correction (the harder world, all boxes tight), test mIoU is 4.2 points lower than
#   with the ancillary's labels as they are (95 % interval -5.3 to -3.0, 5 seeds, paired).
#   <!-- end -->

# %% [markdown]
# ## The whole story in four lines
#
# The pictures are drawn on your machine. A few of them get masks; many more get only boxes, drawn
# in a hurry. In each line below, `story` names a training run, or the logits that one gave, as a
# *value*: every option that decides it, and what it builds on. `resolve` finds on disk what a value
# stands for, or makes it, and first whatever it builds on. Bars show the progress. You may
# interrupt: the next run continues where this one left off.

# %% tags=["nbval-ignore-output"]
# learns from the few masks alone
supervised = resolve(story.supervised(profile, seed), device)
# learns from the same masks, and is also shown the boxes
ancillary = resolve(story.ancillary(profile, seed), device)
# what the ancillary says about the boxed pictures
stored = resolve(story.logits(profile, seed), device)
# learns from the masks and from those labels, correcting them
primary = resolve(story.primary(profile, seed), device)

# %% [markdown]
# ## Look at the labels
#
# Two of these models are made for the real world: they read a picture and nothing else. Here they
# are on test pictures that neither has seen. These are the four pictures on which the two models
# differ most, so they are not typical. They show where the ancillary's labels changed something.

# %%
data = primary.data
test = data.test
masks_only = predict(supervised.method, test)
self_correcting = predict(primary.method, test)
differing = (masks_only != self_correcting).mean(axis=(1, 2))
chosen = np.argsort(-differing, kind="stable")[:4]

figure = plots.gallery(
    {
        "picture": test.images[chosen].numpy(),
        "truth": test.masks[chosen].numpy(),
        "masks only": masks_only[chosen],
        "self-correcting": self_correcting[chosen],
    },
    data.classes,
)
plots.show(figure,
           alt="Four test pictures, one a row: the picture, its true mask, "
           "the label of the model that learnt from masks only, and the "
           "label of the self-correcting primary.")

# %% [markdown]
# Compare each label with the truth. Look for two kinds of mistake: an object that is called by the
# wrong name, and an outline that is too fat, too thin or torn. Off-white pixels in the truth are
# *void*: nobody says what they are, and they are not scored.
#
# **Predict first.** The ancillary reads the boxes too. On the test pictures those boxes are neat.
# Where will it stand in the table below: first, last or in between? And is that a fair race?
#
# <details><summary>Answer</summary>
#
# First, and by far: about 90 %. The race is not fair: a box says which class is where, and nobody
# draws boxes on the pictures of your users. The ancillary is a tool for labelling, and it is never
# deployed.
#
# </details>

# %%
contestants = {
    "supervised": (supervised, "picture", "masks"),
    "primary, self-correcting": (
        primary, "picture", "masks, boxes of the unlabelled pictures"
    ),
    "(ancillary)": (ancillary, "picture and boxes", "masks, their boxes"),
}
tables.results_table([
    {"model": name, "sees at test time": sees, "learnt from": labels,
     "test mIoU": [trained.evaluate().mean_iou]}
    for name, (trained, sees, labels) in contestants.items()
])

# %% [markdown]
# **mIoU** is the mean overlap of label and truth over the classes, in percent; chapter 02 builds it
# from scratch. One seed makes an anecdote, not a result, and the gap between the first two rows is
# not what correction is worth: most of it comes from the boxes, whoever corrects. Take the effects
# from the sentences above.

# %% [markdown]
# ## What semi-supervised segmentation is
#
# To *segment* a picture is to name the class of every pixel. A network learns it from *masks*:
# pictures in which somebody has outlined every object. That is slow. A mask costs minutes, a box
# around each object costs seconds, and a bare picture costs nothing. So collections tend to look
# the same: few masks, many boxes or bare pictures.
#
# *Semi-supervised* learning uses both. It trains on the masks, and it makes up labels for the
# rest. The trouble is easy to see: made-up labels have mistakes in them, and a network learns
# mistakes as eagerly as anything else. Most methods in this field are answers to one question:
# *which of my own labels can I trust, and what do I do about the others?*
#
# Our main story is that of Self-Correcting Networks
# [(Ibrahim et al., 2020)](references.md#ibrahim2020selfcorrecting). There the cheap labels are
# boxes, and the answer is: let two models that see different things correct each other.

# %% [markdown]
# ## Four stages
#
# ![The few pictures with masks train an ancillary model that sees boxes. It labels the many
# pictures that have only boxes. A correction mixes these labels with what the primary model
# believes, and the primary model learns from the mixture. In the end only the primary model is
# used, on pictures alone.](_static/story.svg)
#
# | | Stage | What it reads | Command | Chapter |
# |---|---|---|---|---|
# | 1 | train the **ancillary** | few pictures, masks, boxes | `semiseg train ancillary` | 04 |
# | 2 | store its **logits** | many unlabelled pictures, their boxes | `semiseg logits` | 05 |
# | 3 | train the **primary** | masks; unlabelled pictures, logits | `semiseg train primary` | 06, 07 |
# | 4 | **evaluate** it | test pictures, no boxes | `semiseg evaluate` | 08 |
#
# The supervised model of chapter 03 stands beside them: it is the bar. The correction of stage 3
# mixes the ancillary's logits with those of the primary itself. The next cell follows one
# unlabelled picture through it. The picture was picked because the correction changes its label
# more than any other's.

# %%
unlabelled = data.unlabelled
labels_ancillary = stored.read().float()
# how much the ancillary still counts when training ends
alpha = profile.primary.alpha.end
labels_primary = predict_logits(primary.method, unlabelled)
corrected = linear_correction(labels_primary, labels_ancillary, alpha)
changed = ((corrected.argmax(1) != labels_ancillary.argmax(1)).float()
           .mean(dim=(1, 2)))
one = int(changed.argmax())

def label_of(logits):
    """The label map of the one picture, at full size."""
    size = unlabelled.images.shape[-2:]
    return enlarge(logits[one:one + 1], size).argmax(1)[0].numpy()


# %%
figure = plots.gallery(
    {
        "picture, boxes": [unlabelled.images[one].numpy()],
        "ancillary": [label_of(labels_ancillary)],
        "corrected": [label_of(corrected)],
        "hidden truth": [data.unlabelled_truth[one]],
    },
    data.classes, boxes=[unlabelled.sample(one).boxes],
)
plots.show(figure,
           alt="One unlabelled picture with its loosely drawn boxes, the "
           "ancillary's label, the corrected label, and the true mask that "
           "no model was shown.")

# %% [markdown]
# Compare the two labels in the middle with the hidden truth. Which of the two kinds of mistake do
# you see in the ancillary's label, a wrong name or a wrong outline, and which did the correction
# mend?
#
# <details><summary>Answer</summary>
#
# Both, and correction mends some of each. The ancillary calls the tree a fish, a wrong name, and
# fills the fish's box with it, a wrong outline. The corrected label gives the tree its name and
# drops most of what is grass. Chapters 05 and 06 measure both on all unlabelled pictures.
#
# </details>

# %% [markdown]
# ## The map
#
# Each chapter asks one question and stands on its own: whatever an earlier chapter would have left
# on disk, it makes if it is missing. Read in order the first time. In the HTML book use the list
# at the left; in JupyterLab open the files one by one.

# %% tags=["nbval-check-output"]
tables.results_table([{"chapter": entry["file"][:2], "title": entry["title"],
                       "question": entry["question"]}
                      for entry in chapter.contents()])

# %% [markdown]
# ## Profiles: the same code, other numbers
#
# A profile is a set of numbers: how many pictures, how wide the network, how many steps. The code
# never asks which profile it runs in. Choose one with the environment variable `SEMISEG_PROFILE`,
# or in the second cell of a chapter. The outputs printed in this book come from `laptop`. The
# `smoke` profile only shows that everything runs; its scores mean nothing.

# %% tags=["nbval-check-output"]
tables.results_table([
    {"profile": name, "labelled": entry.data.labelled,
     "unlabelled": entry.data.options.sizes.unlabelled,
     "test": entry.data.options.sizes.test,
     "steps of the primary": entry.train_primary.steps,
     "seeds": ", ".join(str(number) for number in entry.seeds)}
    for name, entry in recipes.for_dataset("minivoc").items()
])

# %% [markdown]
# ## How numbers are reported
#
# Train the same network twice with another seed, and the score moves. That movement can be as
# large as the difference between two published methods. So this book has three rules.
#
# - **Several seeds.** A seed draws the labelled pictures, the first weights and the batches. Tables
#   show the mean ± the standard deviation over seeds.
# - **Intervals.** Two methods are compared seed by seed. If the 95 % interval of the difference
#   holds zero, we write *cannot tell*.
# - **Verdicts.** What the book concludes from its records is a sentence that is made from them,
#   with its sign, its interval and the difference that would matter. A test compares the sentence
#   with what the book claims: an effect has to keep more than half of its size, "no relevant
#   difference" has to stay within the smallest difference of interest, and "cannot tell" may not
#   start to tell.
# - **Claims on this run.** Where a chapter trains, a cell checks a looser claim on *your* runs, and
#   says so. The smoke profile prints such claims without judging them.

# %% [markdown]
# ## Where things land
#
# Everything the book makes lies under `data/` (or where the environment variable `SEMISEG_WORK`
# points): `data/minivoc` holds the pictures, `data/logits` the ancillary's labels, and `data/runs`
# one folder for each training run.
#
# The name of a folder ends in two fingerprints. The first is that of all settings. The second, the
# run's *identity*, is also made from the bytes of every picture, mask and box that the run learnt
# from, and from the runs that it builds on. Change a setting or repaint a mask, and you get another
# run in another folder; where pictures differ, a line says which. Delete a folder and the run is
# made again. The last file to be written is a *manifest* with the SHA-256 of all others: a folder
# without one is not finished, and a file that no longer fits is never used.

# %% tags=["nbval-ignore-output"]
for trained in (supervised, ancillary, primary):
    folder = trained.folder.path
    print(folder.name)
    print("    ", ", ".join(sorted(file.name for file in folder.iterdir())))

# %% [markdown]
# > **Tip.** Something fails? Run `semiseg doctor` in a terminal. It prints one line for each thing
# > that the book needs, `[OK]` or `[FAIL]`, and below a `[FAIL]` what to do about it. Then look at
# > the page *Troubleshooting*. If neither helps, report the problem together with what
# > `semiseg doctor` said.

# %% [markdown]
# ## A first exercise
#
# Exercises come with a check that tells you what it expected. **Warm-up:** how large is the model
# that is deployed? Write a function that counts the trainable numbers in a module. A parameter `p`
# has `p.numel()` of them, and only those with `p.requires_grad` are trained.
#
# [A solution](solutions/00_start_here.ipynb)

# %% tags=["exercise"]
def count_parameters(module: nn.Module) -> int:
    """The number of trainable parameters of a module."""
    raise NotImplementedError("your turn")

# %% tags=["check", "nbval-check-output"]
# 3·4·3·3 weights and 4 biases, inside of another module
example = nn.Sequential(nn.Conv2d(3, 4, kernel_size=3), nn.ReLU())
with checks.exercise("0.1"):
    assert count_parameters(example) == 112, ("expected 112, got "
                                              f"{count_parameters(example)}")
    example[0].bias.requires_grad_(False)
    assert count_parameters(example) == 108, (
        "parameters that are not trained do not count"
    )

# %% [markdown]
# Now count the network inside `primary.method`, and its sibling that reads the boxes as well. How
# many of the extra weights does the ancillary spend on reading boxes?

# %% tags=["check"]
with checks.after("0.1"):
    for name, trained in {"primary": primary, "ancillary": ancillary}.items():
        print(f"{name:<9} {count_parameters(trained.method.network):>8,} "
              "parameters")

# %% [markdown]
# ## Quiz
#
# **1.** Which of the models may be scored on pictures that come without boxes?
#
# <details><summary>Answer</summary>
#
# The supervised one and the primary. The ancillary cannot run without boxes.
#
# </details>
#
# **2.** A friend runs this chapter with seed 3 and gets another mIoU. Is something broken?
#
# <details><summary>Answer</summary>
#
# No. The seed draws other labelled pictures, other first weights and other batches. How much scores
# vary from seed to seed is itself a result, and the chapters report it.
#
# </details>
#
# **3.** You change the number of steps and run the chapter again. Is the old run overwritten?
#
# <details><summary>Answer</summary>
#
# No. Other settings are another value, which has another folder. Both runs stay. It would be the
# same with the same settings and another picture among those that the run learns from.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - Masks are expensive, boxes are cheap. Semi-supervised methods learn from both.
# - Before a method, ask what the same hours buy. Here, more masks buy more than boxes with
#   self-correction, and two strong views of bare pictures, which cost none, do so too:
#
#   <!-- finding: unimatch-over-linear -->
#   With two strong views and no box, test mIoU is 5.6 points higher than with 800 images with boxes
#   and linear correction (95 % interval +3.8 to +7.4, 10 seeds, paired).
#   <!-- end -->
#
#   <!-- finding: masks-over-boxes -->
#   With 124 masks, test mIoU is 10.9 points higher than with 24 masks and 800 images with boxes and
#   linear correction (95 % interval +9.5 to +12.3, 10 seeds, paired).
#   <!-- end -->
# - The ancillary sees boxes and labels the unlabelled pictures. The primary sees pictures only,
#   learns from those labels, and helps to correct them.
# - One run is an anecdote. Several seeds, an interval and a control make a result.
# - A run is a value, and `resolve` finds it or makes it; so chapters can be run in any order.
#
# ## What can go wrong
#
# - **Comparing the ancillary with the primary** as if they were rivals. One of them is told part of
#   the answer.
# - **Reading the smoke profile's scores.** Its networks are trained for a few steps only.
# - **Judging from a gallery.** The pictures above were picked for their differences.
# - **Too many threads.** On a busy machine a small network can run many times slower with several
#   threads than with one. Set `OMP_NUM_THREADS=1` if a bar hardly moves.
#
# **Next:** chapter 01 opens the folder of pictures and shows who gets which labels.
#
# ## References
#
# - [Ibrahim et al. (2020)](references.md#ibrahim2020selfcorrecting) is the paper that the main
#   story follows.
