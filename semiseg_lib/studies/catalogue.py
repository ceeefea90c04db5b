"""Every study of the book: its arms by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from semiseg_lib.batches.cutmix import THREE_BOXES
from semiseg_lib.batches.strong_view import StrongConfig
from semiseg_lib.datasets.minivoc import BoxStyle
from semiseg_lib.methods import ConvPrimaryConfig, PrimaryConfig
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.scores import NONE


def linear(end: float = 0.5, start: float = 30.0, until: float = 0.3) -> PrimaryConfig:
    """Linear correction with a schedule."""
    return PrimaryConfig(correction="linear", alpha=AlphaSchedule(start, end, until))


LOOSE = BoxStyle(loose=(0.15, 0.45), jitter=0.05)
TIGHT = BoxStyle()
MISSED = BoxStyle(missed=0.3)
TIGHT_WORLD = {"world": "tight"}
ALL_TIGHT, ALL_LOOSE = {"unlabelled_boxes": TIGHT}, {"labelled_boxes": LOOSE}
SOME_MISSED = {"unlabelled_boxes": MISSED}

CONV = ConvPrimaryConfig()
SMALL = ConvPrimaryConfig(width=32)


def photo_arms(labelled: int) -> dict[str, Arm]:
    """Every model of the storyline on real photographs, with so many masks."""
    stages = {
        "supervised": Arm("masks alone", "supervised"),
        "ancillary": Arm("ancillary (sees boxes)", "ancillary"),
        "none": Arm("primary, no correction", "primary", NONE),
        "linear": Arm("primary, linear, α 30 → 0.5", "primary", linear()),
        "conv": Arm("primary, convolutional", "primary", CONV),
        "all masks": Arm("all images labelled", "all masks"),
    }
    return {
        f"{labelled} {name}": replace(arm, dataset="voc", labelled=labelled)
        for name, arm in stages.items()
    }


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


def unlabelled_photo_arms(dataset: str, labelled: int) -> dict[str, Arm]:
    """Every method without boxes on real photographs, with so many masks."""
    arms = {
        "supervised": Arm("masks alone", "supervised"),
        "longer": Arm("masks alone, as many more steps", "longer"),
        "pseudo": Arm("pseudo-labels", "rounds", ALL),
        "fixmatch": Arm("FixMatch", "unlabelled", method="fixmatch"),
        "cps": Arm("CPS", "unlabelled", method="cps"),
        "cutmix-cps": Arm("CutMix-CPS", "unlabelled", method="cutmix-cps"),
        "cac": Arm("CAC", "unlabelled", method="cac"),
        "eln": Arm("ELN", "unlabelled", method="eln"),
        "s4mc": Arm("S4MC on FixMatch", "unlabelled", method="s4mc"),
    }
    return {
        f"{labelled} {name}": replace(arm, dataset=dataset, labelled=labelled)
        for name, arm in arms.items()
    }


STUDIES: Mapping[str, Mapping[str, Arm]] = {
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
        "supervised": Arm("masks alone", "supervised", data_options=TIGHT_WORLD),
        "ancillary": Arm("ancillary (sees boxes)", "ancillary", data_options=TIGHT_WORLD),
        "none": Arm("primary, no correction", "primary", NONE, data_options=TIGHT_WORLD),
        "linear": Arm("primary, linear, α 30 → 0.5", "primary", linear(), data_options=TIGHT_WORLD),
        "constant": Arm(
            "primary, linear, α = 0.5", "primary", linear(until=0), data_options=TIGHT_WORLD
        ),
        "all masks": Arm("all images labelled", "all masks", data_options=TIGHT_WORLD),
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
        "loose none": Arm("loose on unlabelled, no correction", "primary", NONE),
        "loose linear": Arm("loose on unlabelled, linear", "primary", linear()),
        "tight none": Arm(
            "all boxes tight, no correction", "primary", NONE, data_options=ALL_TIGHT
        ),
        "tight linear": Arm("all boxes tight, linear", "primary", linear(), data_options=ALL_TIGHT),
        "equal none": Arm(
            "all boxes loose, no correction", "primary", NONE, data_options=ALL_LOOSE
        ),
        "equal linear": Arm("all boxes loose, linear", "primary", linear(), data_options=ALL_LOOSE),
        "missed none": Arm(
            "missing on unlabelled, no correction", "primary", NONE, data_options=SOME_MISSED
        ),
        "missed linear": Arm(
            "missing on unlabelled, linear", "primary", linear(), data_options=SOME_MISSED
        ),
    },
}
