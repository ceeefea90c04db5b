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
# # The comparison
#
# *Which method should I take, and what will it cost me?*
#
# After this chapter you can
#
# - read a table of methods by its controls: what was equal, and what was not;
# - say what many comparisons at once do to a single "better";
# - weigh masks against boxes by the hours that they take;
# - compare the cost of a step in time, arithmetic and memory;
# - take published tables for what they are, and see what the encoder does in them.
#
# **You need** [chapter 08](08_evaluation.ipynb) for paired intervals. The methods are those of
# chapters 06 to 16; one line of reminder each is given below.
#
# **Minutes**: less than half of one in every profile. Nothing is trained here.

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
seed = 11  # not used: the records of all seeds are read
device = None  # "cpu" to stay on the CPU; None takes the best device there is

# %% tags=["nbval-ignore-output"]
from itertools import combinations

import numpy as np
from scipy import stats  # noqa: F401 (for your answer to exercise 3)

from semiseg_lib import (
    chapter, checks, plots, published, recipes, studies, tables,
)
from semiseg_lib.studies import comparison

profile = chapter.begin("17_comparison", profile, device)

# %% [markdown]
# ## The result first
#
# Every method of this book, and its controls: one network, one loop, the same few masks for
# everybody with the same seed. The scores are **records** of the laptop profile, read from several
# studies. One command prints them all, and chapter, command and results page read the same files.
#
# ```bash
# semiseg compare                                   # this chapter's table, drawn pictures
# semiseg compare --dataset voc --out table.csv     # photographs; every digit in a file
# ```

# %%
laptop = recipes.load("laptop")
found = comparison.read("minivoc", laptop)
rows = found.rows
text = {name: row.text for name, row in rows.items()}
equal = {name: row for name, row in found.of_role("control", "method").items()
         if row.masks == laptop.data.labelled}
methods = [name for name, row in equal.items() if row.entry.role == "method"]
print(f"profile {laptop.name}, {laptop.data.labelled} masks, seeds",
      *found.seeds)
for one in found.missing.values():
    print("no records yet, left out:", one.text)
print(found.mark)

# %%
figure = plots.dots_with_intervals(
    {text[name]: row.values for name, row in equal.items()},
    "mIoU on the test pictures (%)"
)
plots.show(
    figure,
    alt="One row of dots for each control and each method, one dot a seed, "
    "with mean and interval of the test mIoU: first the controls that see "
    "the masks alone, then the methods that learn from unlabelled "
    "pictures, at last those that also have boxes of the unlabelled "
    "pictures.",
)

# %% [markdown]
# **What to notice.** First the spread *within* a row: dots of one method, with other labelled
# pictures and other first weights. Then the distances *between* rows. Many are smaller than the
# spread. And two rows of controls, *longer* and *strong views*, have seen no further picture at
# all. Whoever leaves them out hands their gain to the method.

# %% [markdown]
# ## What was equal, and what was not
#
# Equal: the network and its size, the labelled pictures of a seed, the pictures in a step, the
# moving average that is deployed, the test pictures, the protocol. The table shows what was not.
# Its last rows are methods with one piece taken out; they serve as controls further down.

# %%
shown = ("trained with", "extra supervision", "networks", "steps",
         "mIoU on test (%)", "seeds")
tables.results_table(
    [{title: line[title] for title in shown} for line in found.table()
     if line["masks"] == str(laptop.data.labelled)],
    plain=shown,
)

# %% [markdown]
# **Extra supervision.** *Unlabelled images* cost no annotator a minute. *Boxes* do; their cost
# has a section of its own.
#
# **Steps.** Most methods go on from the supervised run: that is the first number. Three rows do not
# fit this pattern. Pseudo-labelling takes only *labels* from that run. Its students start afresh
# and share its steps between them, as published. The two rows with boxes start afresh too, from
# an ancillary that was trained for fewer steps. And CPS needs two supervised runs to start from.
# Equal *steps* is one budget among others; equal *time* would be another, and it would favour
# methods with cheap steps.
#
# **Settings.** Each method has the options of its own chapter, chosen on other seeds and on the
# validation pictures, with little effort for each. None was tuned as its authors would have.

# %% [markdown]
# ## Two controls, and a word on many questions
#
# For each method, two questions. Is it ahead of *masks alone, longer*? That says whether to use it
# at all. Is it ahead of *masks, strong views*? That says whether unlabelled pictures were needed,
# or only harder views of the labelled ones. Both take differences $d_i$ between runs of the same
# seed $i = 1 \dots n$:
#
# $$
# \bar d \pm t_{n-1} \frac{s_d}{\sqrt n}.
# $$
#
# | here | in code | |
# |-|-|-|
# | $d_i$ | `a.scores[s] - b.scores[s]` | points of mIoU, for each seed `s` of both |
# | $\bar d$ and interval | `difference(a, b).interval` | mean, low, high, verdict |
# | $p$ | `difference(a, b).p` | how often chance alone does as much |
# | Holm's $p$ | `comparison.holm([...])` | the same, for all questions of a table at once |

# %%
def by_seed(one: comparison.Row, other: comparison.Row) -> list[float]:
    """Differences in points, one for each seed that both rows have."""
    seeds = comparison.difference(one, other).seeds
    return [one.scores[s] - other.scores[s] for s in seeds]


controls = [name for name in ("longer", "strong") if name in rows]
gains = {control: found.differences(control, methods) for control in controls}
told = {text[name]: by_seed(rows[name], rows["longer"])
        for name, gain in gains["longer"].items() if gain.interval}
plots.show(
    plots.paired_differences(
        told, "test mIoU: method minus masks alone, longer (points)",
        smallest=0,
    ),
    alt="One row for each method: differences in test mIoU to as many more "
    "steps on the masks alone, a mark a seed, about a zero line, with "
    "interval and verdict.",
)

# %% [markdown]
# **Predict first.** Suppose that *no* method did anything at all. You ask as many questions as the
# next table has lines, each with a 95 % interval. How many lines will say "better" or "worse"?
#
# <details><summary>Answer</summary>
#
# One in twenty, on average, whatever the methods are. Ask twenty questions, and you should *expect*
# a false verdict. The remedy of Bonferroni divides the 5 % by the number of questions. Holm's does
# the same for the smallest $p$, divides by one less for the next, and so on. It is never stricter,
# and keeps the promise: 5 % for *any* false verdict in the whole table.
#
# </details>

# %%
asked = [(name, control) for control in controls
         for name, gain in gains[control].items() if gain.interval]
p_values = [gains[control][name].p for name, control in asked]
lines = []
for (name, control), p, adjusted in zip(
    asked, p_values, comparison.holm(p_values), strict=True
):
    gain = gains[control][name]
    lines.append({
        "method": text[name],
        "against": text[control], "seeds": str(len(gain.seeds)),
        "difference": str(gain), "alone": gain.verdict, "p": f"{p:.3f}",
        "Bonferroni": f"{min(1, len(asked) * p):.3f}",
        "Holm": f"{adjusted:.3f}",
        "together": gain.verdict if adjusted <= 0.05 else "cannot tell",
    })
print(f"{len(asked)} intervals; with no effect anywhere, about "
      f"{0.05 * len(asked):.1f} of them would miss zero")
tables.results_table(lines)

# %%
strong = by_seed(rows["mean-teacher"], rows["strong"])
checks.recorded("mean-teacher-beats-strong-views", strong)
for key in ("alone", "together"):
    verdicts = [line[key] for line in lines]
    counted = ", ".join(f"{verdicts.count(kind)} {kind}"
                        for kind in ("better", "worse", "cannot tell"))
    print(f"each question {key}:".ljust(25), counted)

# %% [markdown]
# Where the two last lines differ, neither is wrong. They answer two questions. *Alone* is for a
# reader who came with **one** method in mind and looks at one line. *Together* is for the one who
# looks down the table for a winner. Most readers are of the second kind.
#
# Few seeds make this hard. The factor $t_{n-1}$ is large then, and a real difference can stay
# hidden. "Cannot tell" does not say that two methods are equal. It says that *these runs*
# do not tell them apart.

# %% [markdown]
# ## Where each wins, and where one cannot tell
#
# Now every method against every other one. The column counts and names what is shown, after
# Holm's correction for all pairs.

# %%
pairs = {
    pair: comparison.difference(rows[pair[0]], rows[pair[1]])
    for pair in combinations(methods, 2)
}
pairs = {pair: gap for pair, gap in pairs.items() if gap.interval}
adjusted = dict(zip(pairs, comparison.holm([gap.p for gap in pairs.values()]),
                    strict=True))
OTHER_WAY = {"better": "worse", "worse": "better",
             "cannot tell": "cannot tell"}


def versus(name: str, kind: str, level: float = 0.05) -> list[str]:
    """The methods that this one is better or worse than, with Holm's p up to
    ``level``."""
    names = []
    for (one, other), gap in pairs.items():
        told = level >= 1 or adjusted[one, other] <= level
        verdict = gap.verdict if told else "cannot tell"
        if one == name and verdict == kind:
            names.append(text[other])
        if other == name and OTHER_WAY[verdict] == kind:
            names.append(text[one])
    return names


# %%
lines = []
for name in methods:
    line = {"method": text[name]}
    for kind in ("better", "worse"):
        line[f"shown to be {kind} than"] = (
            "; ".join(versus(name, kind)) or "–"
        )
    line["cannot tell from"] = f"{len(versus(name, 'cannot tell'))} others"
    line["each pair alone"] = f"{len(versus(name, 'better', 1))} better, " \
                              f"{len(versus(name, 'worse', 1))} worse"
    lines.append(line)
told = sum(p <= 0.05 for p in adjusted.values())
alone = sum(gap.verdict != "cannot tell" for gap in pairs.values())
print(f"{len(pairs)} pairs; {told} told apart together, "
      f"{alone} if each is taken alone")
tables.results_table(lines)

# %% [markdown]
# A leader board sorts by the mean and gives each row a rank. This table is what such ranks are
# worth: if two methods cannot be told apart, their order is a matter of seeds.

# %% [markdown]
# ## What each promises, and what its control explains
#
# Every method comes with an idea. For some, this book ran a **control**: all of the method but the
# idea. *Gain* is the method's difference to masks alone, longer. *Of this the control has* is the
# control's. What remains is owed to the idea, and has an interval of its own. Where no such control
# was run, *masks alone, longer* stands in its place, and the idea cannot be told from the rest.

# %%
PROMISES = {
    "pseudo": "a model's own labels teach its successor",
    "mean-teacher": "an average of students is a steadier teacher",
    "fixmatch": "a sure label of the plain view teaches the strong one",
    "cps": "two networks teach each other what one alone gets wrong",
    "cutmix-cps": "the same, on collages",
    "cac": "a pixel means the same in every surrounding",
    "eln": "a network can see where labels are wrong",
    "s4mc": "neighbours vouch for a pixel",
    "cutmix-s4mc": "the same, without strong colours",
    "none": "boxes are cheap, and a model makes masks of them",
    "linear": "two models that disagree make a better label",
}

# %%
lines = []
for name in methods:
    control = rows[name].entry.control
    if control not in rows:
        continue
    three = [rows[one].scores for one in (name, control, "longer")]
    shared = sorted(set.intersection(*map(set, three)))
    if len(shared) > 1:
        whole, part, base = (np.mean([scores[s] for s in shared])
                             for scores in three)
        rest = comparison.difference(rows[name], rows[control])
        lines.append({
            "method": text[name], "promise": PROMISES.get(name, "–"),
            "control": text[control],
            "seeds": str(len(shared)), "gain": f"{whole - base:+.1f}",
            "of this the control has": f"{part - base:+.1f}",
            "idea: method − control": str(rest), "verdict": rest.verdict,
        })
tables.results_table(lines)

# %% [markdown]
# Read the last two columns. Where the verdict is "cannot tell" or "worse", the method may be well
# worth using, and its *explanation* has not been borne out here: its control would have done. The
# verdicts are for each line alone. And a control is only as good as its fit. *Masks alone, longer*
# is the weakest of them, for everything in a method differs from it.

# %% [markdown]
# ## What do the labels cost?
#
# Boxes are quicker to draw than masks, **eight times** as quick in the introduction of
# [Ibrahim et al. (2020)](references.md#ibrahim2020selfcorrecting), object by object. Time your own
# annotators, and change the number below. Then the work behind a training is, in
# units of one mask,
#
# $$
# \text{work} = \text{masks} + \text{pictures with boxes} / 8 .
# $$
#
# Small grey dots in the figure are the other methods without boxes.
#
# (Boxes around masks that are there can be computed, so they are free.) The fair question to the boxes is then: what would the
# same hours have bought as **masks**? So two rows more, with as many masks as that: masks alone,
# and FixMatch.
#
# **Predict first.** Which will be ahead at equal work: few masks and many loose boxes, or masks
# only?

# %%
ratio = comparison.MASK_OVER_BOXES
named = [name for name in ("longer", "fixmatch", "none", "linear",
                           "more masks", "more masks, fixmatch", "all masks")
         if name in rows]
points = {text[name]: {row.cost(ratio): row.values}
          for name, row in rows.items() if name in named or name in methods}
plots.show(
    plots.score_against_cost(
        points, f"work, in masks ({ratio:g} pictures with boxes = 1 mask)",
        "mIoU on the test pictures (%)", [text[name] for name in named],
    ),
    alt="Test mIoU against the work of annotating on a logarithmic axis. At "
    "the left the methods with few masks, in the middle those with boxes "
    "and those with more masks for the same work, at the right the model "
    "that had all masks. Bars are intervals of the mean.",
)

# %%
asked = [pair for pair in (
             ("none", "more masks"), ("linear", "more masks"),
             ("linear", "more masks, fixmatch"), ("linear", "fixmatch"),
             ("more masks", "fixmatch"), ("more masks, fixmatch", "fixmatch"),
         ) if pair[0] in rows and pair[1] in rows]
lines = []
for one, other in asked:
    gap = comparison.difference(rows[one], rows[other])
    lines.append({
        "one": text[one], "the other": text[other],
        "work": f"{rows[one].cost(ratio):.0f} against "
        f"{rows[other].cost(ratio):.0f}",
        "difference in mIoU": str(gap), "seeds": str(len(gap.seeds)),
        "verdict": gap.verdict,
    })
masks_over_boxes = by_seed(rows["more masks"], rows["linear"])
checks.recorded("masks-beat-loose-boxes", masks_over_boxes)
tables.results_table(lines)

# %% [markdown]
# The upper lines are at equal work, the lower ones say what more work buys beside a method that
# needs no further label. Three remarks.
#
# - These boxes were drawn *loosely*, which is part of why they were quick; chapter 08 has tight
#   ones.
# - A picture world in which few masks show everything there is, is kind to masks. Where classes are
#   rare, many pictures with boxes see more of them.
# - *All masks* was meant as an upper bound. But it learns for fewer steps than the rows with *more
#   masks*, so nothing forbids them to come as high.
#
# How does it depend on the ratio? The same boxes, for other annotators:

# %%
boxed = next((row for row in rows.values() if row.boxes), None)
tables.results_table([
    {"a mask takes as long as the boxes of": f"{one:g} pictures",
     "the unlabelled pictures' boxes cost": f"{boxed.boxes / one:.0f} masks",
     "equal work, masks only": f"{boxed.cost(one):.0f} masks"}
    for one in (2, 4, 8, 16, 32)
]) if boxed else None

# %% [markdown]
# ## What does a step cost?
#
# Time depends on the machine, so it was measured in one sitting: all methods take turns in every
# block, and each is compared with the supervised step of the same block. *Operations* are counted,
# not timed: multiplications and additions of convolutions and matrix products, forward and
# backward. *Kept* is what a step must hold at once, counted from shapes
# (`semiseg_lib.training.memory`). This record is of an earlier version of the library too.
#
# **Predict first.** FixMatch passes unlabelled pictures twice, once without a gradient. A backward
# pass costs about two forward passes. How much dearer is its step? And that of CutMix-CPS?

# %%
try:
    cost = studies.read_costs(studies.record_path("cost", "laptop"))
    spent = cost["rows"]
    print(f"{cost['images']} pictures of {cost['side']} x {cost['side']} "
          f"pixels, median of {cost['blocks']} blocks of {cost['steps']} "
          "steps")
    print("made with:", cost["made with"])
except FileNotFoundError:
    spent = {}
    print("no record yet: python benchmarks/methods.py makes it")
SAME_STEP = {"longer": "supervised"}
steps = {name: spent[SAME_STEP.get(name, name)]
         for name in rows if name not in ("supervised",
         ) and SAME_STEP.get(name, name) in spent}
base = spent.get("supervised")
tables.results_table([
    {"a step of": text[name], "time": f"{one['ratio']:.2f}",
     "half of the blocks": f"{one['ratio low']:.2f} to "
     f"{one['ratio high']:.2f}",
     "operations": f"{one['operations'] / base['operations']:.2f}",
     "kept (MB)": f"{one['estimated bytes'] / 1e6:.0f}",
     "kept": f"{one['estimated bytes'] / base['estimated bytes']:.2f}",
     "networks": str(rows[name].networks)}
    for name, one in steps.items()
]) if steps else None

# %% [markdown]
# *Networks* counts all that are trained in the end. *Time*, *operations* and the second *kept* are
# in units of the supervised step. Where time runs ahead of the operations, the rest goes into what
# is no convolution: drawing strong views, sorting, comparing pixels with pixels. Small networks on
# a CPU show this more than large ones on a graphics card would, so take the *operations* along to
# your machine rather than the *time*. Pseudo-labelling takes supervised steps, and labels all
# pictures between them. The networks that come *before* such a step (an ancillary, a second
# supervised run) are not in it.

# %%
if steps:
    known = {name: {one["ratio"]: rows[name].values}
             for name, one in steps.items() if name in equal}
    wanted = ("longer", "mean-teacher", "fixmatch", "cutmix-cps", "cac",
              "eln", "s4mc")
    front = [name for name in wanted
             if name in known]
    figure = plots.score_against_cost(
        {text[name]: point for name, point in known.items()},
        "time of a step, supervised = 1", "mIoU on the test pictures (%)",
        [text[name] for name in front], ticks=(1, 1.5, 2, 3, 4, 6),
    )
    plots.show(
        figure,
        alt="Test mIoU against the time of a training step in units of the "
        "supervised step, on a logarithmic axis: masks alone, strong "
        "views and the methods without boxes. Bars are intervals of the "
        "mean.",
    )

# %% [markdown]
# Further right must mean further up, or the time is spent badly. None of these costs arises when
# the model is *used*: one network is deployed in every row.

# %% [markdown]
# ## Real pictures
#
# The same methods, the same loop, on photographs of PASCAL VOC and on CamVid's streets. These are
# **reduced runs**: one seed, small crops, few steps after the supervised ones. Read *minutes* and
# *memory*. Do not read a ranking. Rows marked † were made by an earlier version of the library.

# %% tags=["nbval-ignore-output"]
real = {
    name: comparison.read(
        name, recipes.load("laptop", name)
    ).with_todays_settings()
    for name in ("voc", "camvid")
}
for name, one in real.items():
    start = (one.rows["supervised"].values[0] if "supervised" in one.rows
             else np.nan)
    below = [row.entry.text for row in one.of_role("method").values()
             if row.values[0] < start]
    print(f"{name}: seeds {one.seeds}, {one.profile.train_unlabelled.steps} "
          f"further steps; {len(below)} of {len(one.of_role('method'))} "
          f"methods end below masks alone ({start:.1f} %)")
    print(" ", one.mark)
    for missing in one.missing.values():
        print(f"  no records yet, left out: {missing.text}")


# %%
def costs_of(dataset: str) -> tables.Table:
    """The table of one dataset: what was given, what it cost, what came
    out."""
    lines = real[dataset].table()
    left_out = ("extra supervision", "steps", "work, in masks")
    lines = [
        {key: value for key, value in line.items() if key not in left_out}
        for line in lines
    ]
    return tables.results_table(lines,
                                plain=[key for line in lines for key in line])


costs_of("voc")

# %%
costs_of("camvid")

# %% [markdown]
# With one seed there is no interval, and so no verdict. And the training is very short. Where a
# method ends *below* the masks it started from, think of that first: the learning rate starts
# again, and labels of a poor teacher come with it. What the tables do show is that every method
# runs on real data from one command, and roughly what it asks of a machine. Minutes count a row's
# last stage only, and some rows were made while the machine was busy with others; what a step
# costs, the section before says better. For scores on real data, look at what others published.

# %% [markdown]
# ## The field's tables
#
# Here are the rows that we could find a source for, on VOC with masks from its own 1,464 pictures,
# mIoU in percent. **Nothing of this was measured here.**

# %%
tables.results_table(published.unlabelled_rows("voc classic"))

# %% [markdown]
# Before you compare two rows, ask four things.
#
# **Which lists?** Lists that carry the same name need not hold the same pictures. Below, the same
# method stands in a pair of rows, and only the labelled pictures changed. In *better masks first*
# the labelled ones come from VOC's carefully drawn masks as far as those reach.

# %%
wanted = ("U2PL", "U2PL, own lists", "PS-MT", "PS-MT, better masks first")
blended = published.unlabelled_rows("voc blended", wanted)
tables.results_table(blended)

# %% [markdown]
# **Which crop, which batch, how long?** The notes name crops where a source does. Half the batch at
# the same learning rate has cost users several points.
#
# **Which protocol?** Pictures whole, squashed to a square, or in sliding windows; and weights of
# the *last* step or of the *best epoch on the reported pictures*. The second is a choice made on
# the test.
#
# **Who ran it?** One method, one dataset, two groups:

# %%
tables.results_table(published.unlabelled_rows(
    "cityscapes", ("CutMix-CPS", "CutMix-CPS, run by others")
))

# %%
def gap(lines: list[dict[str, str]]) -> str:
    """By how much two published rows differ, column by column."""
    one, other = lines
    pairs = [(one[key], other[key]) for key in one if key.endswith(" masks")]
    return ", ".join(f"{float(b) - float(a):+.1f}" for a, b in pairs
                     if "–" not in (a, b))


for first, second in zip(wanted[::2], wanted[1::2], strict=True):
    two = [
        next(row for row in blended if row["published"] == name)
        for name in (first, second)
    ]
    print(f"{second} − {first}: {gap(two)} points")
cityscapes = published.unlabelled_rows(
    "cityscapes", ("CutMix-CPS", "CutMix-CPS, run by others")
)
two = [row for row in cityscapes if row["encoder"] == "ResNet-101"]
if len(two) == 2:
    first, second = (row["published"] for row in two)
    print(f"{second} − {first}: {gap(two)} points")

# %% [markdown]
# Hold these gaps beside those between neighbouring rows of the first table. They are the reason why
# this book trains everything in one loop.

# %% [markdown]
# ### The encoder's share, and the method's
#
# One thing differs more than all of these: what the network had learnt *before*. Encoders here were
# pretrained on pictures that no column counts.
#
# **Predict first.** With 92 masks: what is worth more, the best method on a ResNet-101, or a better
# encoder with masks alone?

# %%
classic = published.read()["results_unlabelled"]["voc classic"]


def line(method: str, encoder: str) -> dict[int, float]:
    """Published mIoU in percent by the number of masks; of several rows, the
    last."""
    scores = [row["scores"] for row in classic["rows"]
              if (row["method"], row["encoder"]) == (method, encoder)][-1]
    return {count: score
            for count, score in zip(classic["labelled"], scores, strict=True)
            if score is not None}


LINES = {
    "ResNet-101": ("masks alone", "ResNet-101"),
    "R101 + UniMatch 1": ("UniMatch 1", "ResNet-101"),
    "DINOv2-S": ("masks alone", "DINOv2-S"),
    "S + UniMatch 2": ("UniMatch 2", "DINOv2-S"),
    "DINOv2-B": ("masks alone", "DINOv2-B"),
    "B + UniMatch 2": ("UniMatch 2", "DINOv2-B"),
}
known = {name: line(*which) for name, which in LINES.items()}

# %%
figure = plots.curves(
    {name: list(scores.items()) for name, scores in known.items()},
    "pictures with masks (logarithmic)", "published mIoU on VOC val (%)",
)
axes = figure.axes[0]
axes.set_xscale("log")
axes.set_xticks(classic["labelled"],
                [str(count) for count in classic["labelled"]])
axes.minorticks_off()
plots.show(
    figure,
    alt="Published mIoU on VOC against the number of labelled pictures, for "
    "three encoders, each with masks alone and with a semi-supervised "
    "method. The lines of the strongest encoder lie above those of the "
    "weakest one.",
)

# %%
plain, best = known["ResNet-101"], known["DINOv2-B"]
resnets = [
    row for row in classic["rows"] if row["encoder"].startswith("ResNet")
]
table = []
for place, count in enumerate(classic["labelled"]):
    top = max(row["scores"][place] for row in resnets
              if row["scores"][place] is not None)
    table.append({
        "masks": str(count),
        "encoder: DINOv2-B − ResNet-101":
            f"{best[count] - plain[count]:+.1f}",
        "method on ResNet-101":
            f"{known['R101 + UniMatch 1'][count] - plain[count]:+.1f}",
        "method on DINOv2-B":
            f"{known['B + UniMatch 2'][count] - best[count]:+.1f}",
        "best of all ResNet rows": f"{top:.1f}",
        "DINOv2-B, masks alone": f"{best[count]:.1f}",
        "ahead": "the encoder" if best[count] > top else "the methods",
    })
tables.results_table(table)

# %% [markdown]
# Methods and encoders are not rivals: a method adds to each encoder, and most where masks are
# few. But who compares a new method on a new encoder with an old method on an old one has compared
# encoders. Two grains of salt: rows of DINOv2 *with masks alone* are best epochs from logs, and
# UniMatch 1 and 2 are not the same method.

# %% [markdown]
# ## Which one to take
#
# The next cell writes the advice from the verdicts above. It holds for drawn pictures, this
# network and this budget. What carries over is the *order of the questions*.

# %%
def best_of(names: list[str]) -> tuple[str, list[str]]:
    """The highest mean, and those that the paired interval does not tell
    apart from it."""
    top = max(names, key=lambda name: rows[name].interval.mean)
    verdicts = {
        name: comparison.difference(rows[name], rows[top]).verdict
        for name in names if name != top
    }
    return top, [name for name in verdicts if verdicts[name] == "cannot tell"]


def says(one: str, other: str) -> str:
    """A verdict in words, or what is missing."""
    if one not in rows or other not in rows:
        return "no records yet"
    gap = comparison.difference(rows[one], rows[other])
    return f"{text[one]} against {text[other]}: {gap} points, {gap.verdict}"


free = [name for name in methods if not rows[name].boxes]
top, alike = best_of(free)
front = [top, *alike]
cheap = min((name for name in front if name in steps), default=None,
            key=lambda name: steps[name]["ratio"])

# %%
print("1. Before any method: more steps, then strong views.")
print("  ", says("longer", "supervised"))
print("  ", says("strong", "longer"))
print("2. Unlabelled pictures, no boxes. Highest mean:", text[top])
print("   not told apart from it:",
      "; ".join(text[name] for name in alike) or "none")
if cheap:
    print(f"   cheapest step among these: {text[cheap]}, "
          f"{steps[cheap]['ratio']:.1f} times the supervised one")
print("3. Boxes are there already.")
print("  ", says("linear", "none"))
print("  ", says("linear", top))
print("4. Somebody still has to draw: boxes or masks, for the same work?")
print("  ", says("linear", "more masks"))
print("  ", says("linear", "more masks, fixmatch"))
print("5. More masks, and a method as well?")
print("  ", says("more masks, fixmatch", "more masks"))

# %% [markdown]
# As a guide for your own pictures:
#
# 1. **A stronger encoder first**, if one may be had. The published tables leave little doubt.
# 2. **Then the controls.** Train longer; use strong views. It costs an afternoon, and every method
#    must beat it.
# 3. **Then the simplest method of the leading group**, with the cheapest step. If the intervals do
#    not separate two methods, take the one with fewer parts that can break.
# 4. **Boxes** if you have them, or if your annotators are so much quicker with them that the line
#    under 4 turns. Draw a few of the labelled pictures' boxes in the same hurried style.
# 5. **Keep some labelled pictures apart** to choose on, and run three seeds before you tell
#    anybody.

# %% [markdown]
# ## Exercises
#
# ### 1. Warm-up: at which ratio do boxes break even?
#
# There are `masks` masks and `boxes` pictures with boxes. The same hours would have given `other`
# masks. How many times as long as a picture's boxes did a mask take?
#
# [A solution](solutions/17_comparison.ipynb)

# %% tags=["exercise"]
def break_even(masks: int, boxes: int, other: int) -> float:
    """The time of a mask over that of a picture's boxes at which the work is
    equal."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("17.1"):
    for masks, boxes, other, expected in (
        (24, 800, 124, 8.0), (24, 800, 224, 4.0), (10, 90, 40, 3.0)
    ):
        checks.same(break_even(masks, boxes, other), expected)

# %% [markdown]
# ### 2. Implement: Holm's correction
#
# Sort the $m$ p-values. Multiply the smallest by $m$, the next by $m - 1$, and so on. No adjusted
# value may be smaller than the one before it, and none larger than 1. Return them in the order in
# which they came.
#
# [A solution](solutions/17_comparison.ipynb)

# %% tags=["exercise"]
def adjust(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("17.2"):
    for some in ([0.04, 0.01, 0.03], [0.5], [0.9, 0.8, 0.001],
                 [0.02, 0.02, 0.02, 0.6]):
        checks.same(adjust(some), comparison.holm(some))

# %% [markdown]
# ### 3. Investigate: how many seeds would have told them apart?
#
# Paired differences have a standard deviation `sd`. How many seeds does it take until the interval
# of a mean difference of `points` leaves zero out? (The smallest $n \ge 2$ with
# $t_{n-1}\, \mathrm{sd} / \sqrt n <$ `points`; `stats.t.ppf(0.975, n - 1)` is $t_{n-1}$.)
#
# [A solution](solutions/17_comparison.ipynb)

# %% tags=["exercise"]
def seeds_needed(sd: float, points: float) -> int:
    """The smallest number of seeds whose 95 % interval leaves out zero."""
    raise NotImplementedError("your turn")


# %% tags=["check"]
with checks.exercise("17.3"):
    for sd, difference_, expected in ((2.0, 1.0, 18), (1.0, 1.0, 7),
                                      (2.0, 5.0, 3), (0.1, 2.0, 2)):
        checks.same(seeds_needed(sd, difference_), expected)
    for name in alike:
        apart = np.array(by_seed(rows[top], rows[name]))
        mean, sd = abs(apart.mean()), apart.std(ddof=1)
        if mean > 0.05 * sd:
            print(f"{text[top]} and {text[name]}: {mean:.1f} points, sd "
                  f"{sd:.1f}: {seeds_needed(sd, mean)} seeds, here "
                  f"{len(apart)}")

# %% [markdown]
# If the means stayed as they are, which they will not: a mean difference of few seeds is itself
# uncertain, and of several candidates the top one is likely to have been lucky.
#
# ### 4. Open: your budget
#
# Put your own hours into the figure. Which ratio do *your* annotators have? What would the next
# ten hours buy: masks, boxes, or another week of a graphics card? Change `ratio`, and write down
# which line of the advice turns first.

# %% [markdown]
# ## Quiz
#
# **1.** A paper compares a new method with the supervised baseline of its first stage. The method
# trains on from there. What is missing?
#
# <details><summary>Answer</summary>
#
# The baseline with as many more steps, and the baseline with the same strong views. Part of the
# gain is theirs.
#
# </details>
#
# **2.** Of thirty pairs, two are "better" at 95 %. Your colleague writes: "two significant
# improvements". And you?
#
# <details><summary>Answer</summary>
#
# One or two false ones were to be expected if nothing differed. After Bonferroni or Holm they may
# remain or not; say how many questions were asked.
#
# </details>
#
# **3.** Suppose that one of boxes and masks were ahead in our table, at equal work. Would it be
# ahead on your pictures?
#
# <details><summary>Answer</summary>
#
# Nobody knows. It depends on the ratio, on how boxes are drawn, and on whether a few more masks
# show anything new. Ask it at equal hours, with your annotators.
#
# </details>
#
# **4.** Method A on a new encoder beats method B on an old one by five points. Which method is
# better?
#
# <details><summary>Answer</summary>
#
# This cannot be told. In the published tables such a step between encoders is larger than five
# points with no method at all.
#
# </details>

# %% [markdown]
# ## Key takeaways
#
# - A gain has a reference. *Longer* and *strong views* are the two that every method must beat.
# - Many questions at once produce false verdicts; say how many were asked, and correct for it.
# - "Cannot tell" is a result, and with few seeds a frequent one.
# - What a method's own control has as well is not owed to the method's idea.
# - Count labels in hours. Compare boxes with the masks that the same hours would have bought.
# - The cost of a step is a property of the method; report it beside the score.
# - Published tables mix lists, crops, protocols and best epochs, and the encoder outweighs the
#   method.
#
# ## What can go wrong
#
# - **Rows with other seeds.** Means over different seeds are no comparison; only pairs are.
# - **Records of other options.** A row is known by the fingerprint of the runs that it names. Rows
#   of another fingerprint are left out, and the command that makes them is printed.
# - **Timing on a busy machine.** Let the methods take turns, and take ratios within a turn.
# - **Picking the winner and the setting on the reported pictures.**
# - **One seed with a good story.** The tables of real pictures above are this: no ranking.
#
# ## Next
#
# [Your own method](18_your_own_method.ipynb): write it in a page, run the tests that every method
# here has passed, and add its row to this table.
#
# ## References
#
# Methods: [Ibrahim et al. (2020)](references.md#ibrahim2020selfcorrecting),
# [Lee (2013)](references.md#lee2013pseudolabel),
# [Tarvainen and Valpola (2017)](references.md#tarvainen2017meanteacher),
# [Sohn et al. (2020)](references.md#sohn2020fixmatch),
# [Yang et al. (2023)](references.md#yang2023unimatch),
# [Yang et al. (2025)](references.md#yang2025unimatchv2),
# [Chen et al. (2021)](references.md#chen2021cps); CAC, ELN and S4MC stand in their chapters.
# Several questions at once: [Holm (1979)](references.md#holm1979). That semi-supervised methods
# should be compared in one code, with tuned baselines and equal budgets:
# [Oliver et al. (2018)](references.md#oliver2018realistic). The factor of eight between masks and
# boxes: [Ibrahim et al. (2020)](references.md#ibrahim2020selfcorrecting).
