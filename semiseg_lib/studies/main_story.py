"""The studies of the main story: ways to use a box, what the same hours buy, and their conditions.

Every choice that was made for them is the best trial of the study ``search``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.datasets.minivoc import BoxStyle
from semiseg_lib.experiments import self_correction, semi_supervised
from semiseg_lib.experiments.self_correction import UNCORRECTED
from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.makers import (
    all_masks_longer,
    coloured,
    coloured_masks,
    from_noise,
    linear,
    method,
    on_its_way,
    primary,
    strong_views,
    warm,
)
from semiseg_lib.studies.scores import on_few_masks, with_labels, with_sources

TEN, FIVE = tuple(range(11, 21)), tuple(range(11, 16))
"""Seeds of the arms that a conclusion rests on, and of the others."""
NEVER_REPORTED = (1, 2)
"""Seeds that choices are made on."""
LOOSE = BoxStyle(loose=(0.15, 0.45), jitter=0.05)
"""Boxes as hurried annotators draw them, too large."""
TIGHT = BoxStyle()
"""Boxes without error."""
MISSED = BoxStyle(missed=0.3)
"""Boxes without error, of 70 % of the objects."""
SHIFTED = BoxStyle(shifted=0.2)
"""Boxes of the right size, moved by a fifth of their sides (standard deviation)."""
HARDER = {"world": "harder"}
UNCHANGED = StrongConfig(jitter=0.0, grey=0.0, blur=0.0)
EQUAL_COST = 124
"""Masks that take as long to annotate as 24 masks and the boxes of 800 unlabelled images.

This assumes that an image's boxes take an eighth of the time of its mask.
"""
EQUAL_COST_AT_16 = 74
"""The same where an image's boxes take a sixteenth of the time of its mask."""
CONSTRAINED = replace(UNCORRECTED, constrain=True)
"""Options of a primary that learns labels as they are, within what the boxes allow."""
UNIMATCH = {"views": 2, "feature_dropout": 0.5}
"""Options that make FixMatch UniMatch."""


def ways() -> dict[str, Arm]:
    """Return the arms of the main comparison: ways to use boxes, masks and unlabelled images."""
    own, fixed = self_correction.own_logits, self_correction.second_opinion
    longer = semi_supervised.supervised_longer
    bound = self_correction.all_masks
    unimatch = method("fixmatch", **UNIMATCH)
    every_pixel = method("fixmatch", threshold=0.0, **UNIMATCH)
    unimatch_in_boxes = method(
        "fixmatch", constrain=True, threshold=CHOSEN["threshold"], **UNIMATCH
    )
    own_hard = method("fixmatch", constrain=True, threshold=0.0, strong=UNCHANGED, cutmix=None)
    central = {
        "supervised": Arm("masks alone", self_correction.supervised, with_sources),
        "equal": Arm("masks alone, steps of a primary", self_correction.equal_steps, with_sources),
        "longer": Arm("masks alone, as many more steps", longer),
        "strong": Arm("masks alone, strong views", strong_views),
        "ancillary": Arm("ancillary (sees boxes)", self_correction.ancillary, with_sources),
        "none": Arm("boxes as input, uncorrected", primary(UNCORRECTED), with_sources),
        "linear": Arm("boxes as input, linear correction", primary(linear()), with_sources),
        "chosen alpha": Arm(
            "boxes as input, α as chosen", primary(linear(CHOSEN["alpha"])), with_labels
        ),
        "constraint": Arm(
            "boxes as constraint", primary(CONSTRAINED, labels=own), with_labels
        ),
        "both": Arm(
            "boxes as both, linear correction", primary(linear(constrain=True)), with_labels
        ),
        "unimatch": Arm("two strong views, no boxes", unimatch),
        "unimatch in boxes": Arm("two strong views, boxes as constraint", unimatch_in_boxes),
        "124 longer": Arm("124 masks", longer, labelled=EQUAL_COST),
        "124 strong": Arm("124 masks, strong views", strong_views, labelled=EQUAL_COST),
        "124 unimatch": Arm("124 masks, two strong views", unimatch, labelled=EQUAL_COST),
        "all masks": Arm("all images labelled", bound),
    }
    further = {
        "warm linear": Arm(
            "linear correction, started from masks alone", primary(linear(), warm), with_labels
        ),
        "both none": Arm("boxes as both, uncorrected", primary(CONSTRAINED), with_labels),
        "constraint own": Arm(
            "own soft labels within boxes",
            primary(linear(end=0, until=0, constrain=True)),
            with_labels,
        ),
        "own soft warm": Arm(
            "own soft labels within boxes, started from masks alone",
            primary(linear(end=0, until=0, constrain=True), warm),
            with_labels,
        ),
        "own hard cold": Arm(
            "own hard labels within boxes, started from noise", from_noise(own_hard)
        ),
        "constraint linear": Arm(
            "boxes as constraint, linear correction",
            primary(linear(constrain=True), labels=own),
            with_labels,
        ),
        "mixture": Arm(
            "fixed mixture with masks alone", primary(UNCORRECTED, labels=fixed), with_labels
        ),
        "mixture in boxes": Arm(
            "fixed mixture within boxes", primary(CONSTRAINED, labels=fixed), with_labels
        ),
        "grabcut": Arm(
            "GrabCut labels", primary(UNCORRECTED, labels=self_correction.drawn_labels),
            with_sources,
        ),
        "grabcut linear": Arm(
            "GrabCut labels, linear correction",
            primary(linear(), labels=self_correction.drawn_labels),
            with_labels,
        ),
        "own hard": Arm("own hard labels within boxes", own_hard),
        "unimatch all": Arm("two strong views, every pixel, no boxes", every_pixel),
        "124 unimatch all": Arm(
            "124 masks, two strong views, every pixel", every_pixel, labelled=EQUAL_COST
        ),
        "74 unimatch all": Arm(
            "74 masks, two strong views, every pixel", every_pixel, labelled=EQUAL_COST_AT_16
        ),
        "all masks longer": Arm("all images labelled, as many more steps", all_masks_longer),
        "fixmatch": Arm("FixMatch, no boxes", method("fixmatch")),
        "fixmatch in boxes": Arm(
            "FixMatch, boxes as constraint",
            method("fixmatch", constrain=True, threshold=CHOSEN["threshold"]),
        ),
    }
    return {
        name: replace(arm, seeds=TEN if name in central or name in SAME_HOURS else FIVE)
        for name, arm in (central | further).items()
    }


SAME_HOURS: Mapping[str, str] = {
    "longer": "24 masks",
    "strong": "24 masks, strong views",
    "fixmatch": "24 + bare images, a strong view",
    "unimatch": "24 + bare images, two strong views",
    "none": "24 + boxes as input, uncorrected",
    "linear": "24 + boxes as input, self-correcting",
    "constraint": "24 + boxes as constraint",
    "both": "24 + boxes as both, self-correcting",
    "grabcut": "24 + boxes, GrabCut",
    "own hard": "24 + boxes, own hard labels",
    "fixmatch in boxes": "24 + boxes, a strong view",
    "unimatch in boxes": "24 + boxes, two strong views",
    "124 longer": "124 masks",
    "124 strong": "124 masks, strong views",
    "124 unimatch": "124 + bare images, two strong views",
    "all masks longer": "all 824 masks",
}
"""Arms of the study ``ways`` in words, in the order of their work, 24, 124 and 824 masks.

The boxes of 800 images count as 100 masks (``EQUAL_COST``).
"""


def conditions() -> dict[str, Arm]:
    """Return an arm per condition of the boxes and way to use them; see ``CONDITIONS``."""
    ways_there = {
        "none": ("uncorrected", primary(UNCORRECTED), with_sources),
        "linear": ("linear correction", primary(linear()), with_labels),
        "both": ("linear correction within boxes", primary(linear(constrain=True)), with_labels),
    }
    with_boxes = {
        f"{condition}, {way}": Arm(
            f"{condition}, {text}", make, score, data_options=options, seeds=FIVE
        )
        for condition, options in CONDITIONS.items()
        for way, (text, make, score) in ways_there.items()
    }
    return with_boxes | {
        "harder world, equal": Arm(
            "harder world, masks alone",
            self_correction.equal_steps,
            data_options=HARDER,
            seeds=FIVE,
        ),
    }


CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "tight, loose": {},
    "tight, tight": {"unlabelled_boxes": TIGHT},
    "loose, loose": {"labelled_boxes": LOOSE},
    "tight, some missing": {"unlabelled_boxes": MISSED},
    "tight, shifted": {"unlabelled_boxes": SHIFTED},
    "harder world": HARDER,
    "harder world, loose": {**HARDER, "unlabelled_boxes": LOOSE},
}
"""Options of mini-VOC by the condition: boxes of the labelled, boxes of the unlabelled images."""


CHOSEN = {"alpha": 0.25, "temperature": 2.0, "smoothing": 0.1, "bootstrap": 2.0, "threshold": 0.0}
"""The values with the best mean in the study ``search``."""


def search() -> dict[str, Arm]:
    """Return the trials behind every choice that was made for these studies.

    The name of an arm is ``choice, value``. Seeds and validation masks are never reported.
    """
    trials = {
        **{f"alpha, {end:g}": primary(linear(end=end)) for end in (0.1, 0.25, 0.5, 1.0)},
        **{f"temperature, {value:g}": primary(replace(UNCORRECTED, temperature=value))
           for value in (2.0, 4.0)},
        **{f"smoothing, {value:g}": primary(replace(UNCORRECTED, smoothing=value))
           for value in (0.1, 0.3)},
        **{f"bootstrap, {end:g}": primary(linear(end=end, correction="bootstrap"))
           for end in (0.25, 0.5, 1.0, 2.0, 5.0)},
        **{f"threshold, {value:g}": method(
            "fixmatch", constrain=True, threshold=value, **UNIMATCH)
           for value in (0.0, 0.8, 0.95)},
    }
    return {name: Arm(name, make, on_few_masks, seeds=NEVER_REPORTED)
            for name, make in trials.items()}


def on_the_way() -> dict[str, Arm]:
    """Return primaries that end after a share of their steps, for their labels on the way."""
    return {
        f"{name} {share:.0%}": Arm(
            f"{name}, after {share:.0%} of the steps",
            on_its_way(options, share),
            with_sources,
            seeds=FIVE,
        )
        for name, options in (("none", UNCORRECTED), ("linear", linear()))
        for share in (0.1, 0.3, 0.6)
    }


def curve() -> dict[str, Arm]:
    """Return masks alone at several numbers of masks, with weak and with strong views."""
    return {
        f"{labelled} {name}": Arm(
            f"{labelled} masks{said}", make, labelled=labelled, seeds=FIVE
        )
        for labelled in (12, 24, 48, 74, 96, 124, 224)
        for name, make, said in (("longer", semi_supervised.supervised_longer, ""),
                                 ("strong", strong_views, ", strong views"))
    }


def strong_colours() -> dict[str, Arm]:
    """Return primaries with strong colours on either part, and masks alone with the same views."""
    controls = {
        "masks": Arm("masks alone", self_correction.equal_steps, seeds=FIVE),
        "masks coloured": Arm("masks alone, strong colours", coloured_masks, seeds=FIVE),
    }
    views = {"": (False, False), ", labelled coloured": (True, False),
             ", unlabelled coloured": (False, True), ", both coloured": (True, True)}
    return controls | {
        f"{name}{said}": Arm(
            f"{name}{said or ', weak views'}", coloured(options, *on), with_labels, seeds=FIVE
        )
        for name, options in (("none", UNCORRECTED), ("linear", linear()))
        for said, on in views.items()
    }


MAIN_STORY: Mapping[str, Mapping[str, Arm]] = {
    "ways": ways(), "conditions": conditions(), "search": search(), "training": on_the_way(),
    "curve": curve(), "colours": strong_colours(),
}
"""The arms of each study by their names in its records, by the name of the study."""
