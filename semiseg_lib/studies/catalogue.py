"""Every study of the book: its arms by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from semiseg_lib.datasets.minivoc import BoxStyle
from semiseg_lib.datasets.mixing import THREE_BOXES
from semiseg_lib.datasets.strong import StrongConfig
from semiseg_lib.methods import ConvPrimaryConfig, PrimaryConfig
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.studies.arms import Arm, PhotoArm
from semiseg_lib.studies.scores import NONE


def linear(end: float = 0.5, start: float = 30.0, until: float = 0.3) -> PrimaryConfig:
    """Linear correction with a schedule."""
    return PrimaryConfig(correction="linear", alpha=AlphaSchedule(start, end, until))


LOOSE = BoxStyle(loose=(0.15, 0.45), jitter=0.05)
TIGHT = BoxStyle()
MISSED = BoxStyle(missed=0.3)

CONV = ConvPrimaryConfig()
SMALL = ConvPrimaryConfig(width=32)


def photo_arms(labelled: int) -> dict[str, PhotoArm]:
    """Every model of the storyline on real photographs, with so many masks."""
    stages = {
        "supervised": PhotoArm("masks alone", "supervised", labelled),
        "ancillary": PhotoArm("ancillary (sees boxes)", "ancillary", labelled),
        "none": PhotoArm("primary, no correction", "primary", labelled, NONE),
        "linear": PhotoArm("primary, linear, α 30 → 0.5", "primary", labelled, linear()),
        "conv": PhotoArm("primary, convolutional", "primary", labelled, CONV),
        "all masks": PhotoArm("all images labelled", "all masks", labelled),
    }
    return {f"{labelled} {name}": arm for name, arm in stages.items()}


def conv_arms(labelled: int) -> dict[str, Arm]:
    """Convolutional correction beside its controls on drawn images, with so many masks."""
    arms = {
        "none": Arm("no correction", "primary", NONE),
        "warm linear": Arm("linear, started on the masks", "warm primary", linear()),
        "conv": Arm("convolutional", "primary", SMALL),
    }
    return {f"{labelled} {name}": replace(arm, labelled=labelled) for name, arm in arms.items()}


UNCHANGED = StrongConfig(jitter=0.0, grey=0.0, blur=0.0)
EQUAL_COST = 124
"""Masks that take as long to draw as 24 masks and the boxes of 800 unlabelled images.

This takes an image's boxes for an eighth of the work of its mask.
"""
ALL, SURE, BALANCED = Selection(), Selection("confident"), Selection("balanced")


def unlabelled_photo_arms(dataset: str, labelled: int) -> dict[str, PhotoArm]:
    """Every method without boxes on real photographs, with so many masks."""
    arms = {
        "supervised": PhotoArm("masks alone", "supervised", labelled),
        "longer": PhotoArm("masks alone, as many more steps", "longer", labelled),
        "pseudo": PhotoArm("pseudo-labels", "rounds", labelled, ALL),
        "fixmatch": PhotoArm("FixMatch", "unlabelled", labelled, method="fixmatch"),
        "cps": PhotoArm("CPS", "unlabelled", labelled, method="cps"),
        "cutmix-cps": PhotoArm("CutMix-CPS", "unlabelled", labelled, method="cutmix-cps"),
        "cac": PhotoArm("CAC", "unlabelled", labelled, method="cac"),
        "eln": PhotoArm("ELN", "unlabelled", labelled, method="eln"),
        "s4mc": PhotoArm("S4MC on FixMatch", "unlabelled", labelled, method="s4mc"),
    }
    return {f"{labelled} {name}": replace(arm, dataset=dataset) for name, arm in arms.items()}


STUDIES: Mapping[str, Mapping[str, Arm | PhotoArm]] = {
    "convolutional": {
        **conv_arms(24),
        "24 linear": Arm("linear", "primary", linear(), labelled=24),
        "24 isolated": Arm(
            "convolutional, isolated", "primary", replace(SMALL, through=False), labelled=24
        ),
        **conv_arms(96),
    },
    "unlabelled": {
        "supervised": Arm("masks alone", "supervised"),
        "longer": Arm("masks alone, as many more steps", "longer"),
        "strong": Arm(
            "masks alone, strong views", "longer, strong views", method="fixmatch"
        ),
        "pseudo": Arm("pseudo-labels, every pixel", "rounds", ALL),
        "pseudo sure": Arm("pseudo-labels, confidence 0.9", "rounds", SURE),
        "pseudo balanced": Arm("pseudo-labels, half of each class", "rounds", BALANCED),
        "fixmatch": Arm("FixMatch", "unlabelled", method="fixmatch"),
        "fixmatch plain": Arm(
            "FixMatch, no CutMix", "unlabelled", method="fixmatch", changed={"cutmix": None}
        ),
        "fixmatch all": Arm(
            "FixMatch, no threshold", "unlabelled", method="fixmatch", changed={"threshold": 0.0}
        ),
        "unimatch": Arm(
            "two strong views, dropped features", "unlabelled", method="fixmatch",
            changed={"views": 2, "feature_dropout": 0.5},
        ),
        "boxes alone": Arm(
            "one network, three boxes", "unlabelled", method="fixmatch",
            changed={"threshold": 0.0, "strong": UNCHANGED, "cutmix": THREE_BOXES},
        ),
        "cps": Arm("CPS", "unlabelled", method="cps"),
        "cutmix-cps": Arm("CutMix-CPS", "unlabelled", method="cutmix-cps"),
        "cutmix-cps clean": Arm(
            "CutMix-CPS, labels in eval mode", "unlabelled", method="cutmix-cps",
            changed={"label_passes": "eval"},
        ),
    },
    "context": {
        "cac": Arm("CAC", "unlabelled", method="cac"),
        "cac both ways": Arm(
            "CAC, both cells move", "unlabelled", method="cac", changed={"directional": False}
        ),
        "cac unfiltered": Arm(
            "CAC, negatives not filtered", "unlabelled", method="cac",
            changed={"filtered": False},
        ),
        "crops alone": Arm(
            "masks alone, CAC's crops", "unlabelled", method="cac", changed={"weight": 0.0}
        ),
        "eln": Arm("ELN", "unlabelled", method="eln"),
        "eln all pixels": Arm(
            "ELN, every pixel trusted", "unlabelled", method="eln", changed={"threshold": 0.0}
        ),
        "eln unheld": Arm(
            "ELN, auxiliary decoders not held back", "unlabelled", method="eln",
            changed={"ratios": (0.0, 0.0)},
        ),
        "s4mc": Arm("S4MC on FixMatch", "unlabelled", method="s4mc"),
        "s4mc unrefined": Arm(
            "S4MC, neighbours have no say", "unlabelled", method="s4mc", changed={"beta": 0.0}
        ),
        "s4mc all pixels": Arm(
            "S4MC, nothing dropped", "unlabelled", method="s4mc",
            changed={"beta": 0.0, "drop": 0.0},
        ),
        "cutmix-s4mc": Arm("S4MC on CutMix-Seg", "unlabelled", method="cutmix-s4mc"),
        "mean-teacher": Arm("Mean Teacher", "unlabelled", method="mean-teacher"),
    },
    "annotation": {
        "longer": Arm("masks alone", "longer", labelled=EQUAL_COST),
        "fixmatch": Arm("FixMatch", "unlabelled", method="fixmatch", labelled=EQUAL_COST),
    },
    "voc unlabelled": unlabelled_photo_arms("voc", 100),
    "camvid unlabelled": {
        key: arm for labelled in (23, 46, 92)
        for key, arm in unlabelled_photo_arms("camvid", labelled).items()
    },
    "photographs": {k: arm for n in (50, 100, 200, 437) for k, arm in photo_arms(n).items()},
    "tight": {
        "supervised": Arm("masks alone", "supervised", world="tight"),
        "ancillary": Arm("ancillary (sees boxes)", "ancillary", world="tight"),
        "none": Arm("primary, no correction", "primary", NONE, world="tight"),
        "linear": Arm("primary, linear, α 30 → 0.5", "primary", linear(), world="tight"),
        "constant": Arm("primary, linear, α = 0.5", "primary", linear(until=0), world="tight"),
        "all masks": Arm("all images labelled", "all masks", world="tight"),
    },
    "hurried": {
        "supervised": Arm("masks alone", "supervised"),
        "ancillary": Arm("ancillary (sees boxes)", "ancillary"),
        "none": Arm("primary, no correction", "primary", NONE),
        "linear": Arm("primary, linear, α 30 → 0.5", "primary", linear()),
        "all masks": Arm("all images labelled", "all masks"),
    },
    "schedules": {
        "none": Arm("no correction", "primary", NONE),
        "linear": Arm("30 → 0.5 by 30 %", "primary", linear()),
        "slow": Arm("30 → 0.5 by 100 %", "primary", linear(until=1.0)),
        "constant": Arm("0.5 throughout", "primary", linear(until=0)),
        "self": Arm("0 throughout: own labels", "primary", linear(end=0, until=0)),
        "trusting": Arm("30 throughout", "primary", linear(end=30, until=0)),
    },
    "controls": {
        "none": Arm("no correction", "primary", NONE),
        "linear": Arm("linear correction", "primary", linear()),
        "ensemble": Arm("retrained on ensemble of none and ancillary", "second round", NONE),
        "second round": Arm("linear, then retrained on its labels", "second round", linear()),
    },
    "label errors": {
        "loose none": Arm("unlabelled boxes loose, no correction", "primary", NONE),
        "loose linear": Arm("unlabelled boxes loose, linear", "primary", linear()),
        "tight none": Arm("all boxes tight, no correction", "primary", NONE, unlabelled_boxes=TIGHT),
        "tight linear": Arm("all boxes tight, linear", "primary", linear(), unlabelled_boxes=TIGHT),
        "equal none": Arm(
            "all boxes loose, no correction", "primary", NONE, labelled_boxes=LOOSE
        ),
        "equal linear": Arm("all boxes loose, linear", "primary", linear(), labelled_boxes=LOOSE),
        "missed none": Arm("unlabelled boxes missing, no correction", "primary", NONE, unlabelled_boxes=MISSED),
        "missed linear": Arm("unlabelled boxes missing, linear", "primary", linear(), unlabelled_boxes=MISSED),
    },
}
