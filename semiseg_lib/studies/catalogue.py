"""The studies of the book, each with its arms by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from semiseg_lib import methods
from semiseg_lib.batches.options import THREE_BOXES
from semiseg_lib.experiments import (
    self_correction,
    semi_supervised,
)
from semiseg_lib.experiments.self_correction import UNCORRECTED
from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.main_story import (
    CHOSEN,
    CONDITIONS,
    EQUAL_COST,
    FIVE,
    MAIN_STORY,
    UNCHANGED,
)
from semiseg_lib.studies.makers import linear, method, primary, pseudo, strong_views
from semiseg_lib.studies.scores import rounds, with_labels

CONV = ConvPrimaryConfig()
SMALL = ConvPrimaryConfig(width=32)


def photo_arms(labelled: int) -> dict[str, Arm]:
    """Return an arm per model of self-correction on real images with ``labelled`` masks."""
    stages = {
        "supervised": Arm("masks alone", self_correction.supervised),
        "ancillary": Arm("ancillary (sees boxes)", self_correction.ancillary, with_labels),
        "none": Arm("primary, no correction", primary(UNCORRECTED), with_labels),
        "linear": Arm("primary, linear, α 30 → 0.5", primary(linear()), with_labels),
        "conv": Arm("primary, convolutional", primary(CONV), with_labels),
        "all masks": Arm("all images labelled", self_correction.all_masks),
    }
    return {
        f"{labelled} {name}": replace(arm, dataset="voc", labelled=labelled)
        for name, arm in stages.items()
    }


def conv_arms(labelled: int, condition: str = "tight, loose") -> dict[str, Arm]:
    """Return convolutional correction and its controls on mini-VOC with ``labelled`` masks.

    Args:
        labelled: number of masks.
        condition: how boxes are drawn, a key of ``CONDITIONS``; arms are named after it where it
            is not that of the main story.
    """
    options = CONDITIONS[condition]
    said = f", {condition}" if options else ""
    arms = {
        "none": Arm("no correction", primary(UNCORRECTED), with_labels),
        "warm none": Arm(
            "no correction, started on the masks",
            primary(UNCORRECTED, self_correction.warm_primary),
            with_labels,
        ),
        "warm linear": Arm(
            "linear, started on the masks",
            primary(linear(), self_correction.warm_primary),
            with_labels,
        ),
        "conv": Arm("convolutional", primary(SMALL), with_labels),
    }
    return {
        f"{labelled} {name}{said}": replace(
            arm, text=f"{arm.text}{said}", labelled=labelled, data_options=options
        )
        for name, arm in arms.items()
    }


ALL, SURE, BALANCED = Selection(), Selection("confident"), Selection("balanced")


def unlabelled_photo_arms(dataset: str, labelled: int) -> dict[str, Arm]:
    """Return an arm per method without boxes on real images with ``labelled`` masks."""
    arms = {
        "supervised": Arm("masks alone", self_correction.supervised),
        "longer": Arm("masks alone, as many more steps", semi_supervised.supervised_longer),
        "pseudo": Arm("pseudo-labels", pseudo(ALL), rounds),
        "fixmatch": Arm("FixMatch", method("fixmatch")),
        "cps": Arm("CPS", method("cps")),
        "cutmix-cps": Arm("CutMix-CPS", method("cutmix-cps")),
        "cac": Arm("CAC", method("cac")),
        "eln": Arm("ELN", method("eln")),
        "s4mc": Arm("S4MC on FixMatch", method("s4mc")),
    }
    return {
        f"{labelled} {name}": replace(arm, dataset=dataset, labelled=labelled)
        for name, arm in arms.items()
    }


STUDIES: Mapping[str, Mapping[str, Arm]] = {
    "convolutional": {
        **conv_arms(24),
        "24 linear": Arm("linear", primary(linear()), with_labels, labelled=24),
        "24 isolated": Arm(
            "convolutional, isolated",
            primary(replace(SMALL, through=False)),
            with_labels,
            labelled=24,
        ),
        **conv_arms(96),
        **conv_arms(24, "loose, loose"),
    },
    "unlabelled": {
        "supervised": Arm("masks alone", self_correction.supervised),
        "longer": Arm("masks alone, as many more steps", semi_supervised.supervised_longer),
        "strong": Arm("masks alone, strong views", strong_views),
        "pseudo": Arm("pseudo-labels, every pixel", pseudo(ALL), rounds),
        "pseudo sure": Arm("pseudo-labels, confidence 0.9", pseudo(SURE), rounds),
        "pseudo balanced": Arm("pseudo-labels, half of each class", pseudo(BALANCED), rounds),
        "fixmatch": Arm("FixMatch", method("fixmatch")),
        "fixmatch plain": Arm("FixMatch, no CutMix", method("fixmatch", cutmix=None)),
        "fixmatch all": Arm("FixMatch, no threshold", method("fixmatch", threshold=0.0)),
        "unimatch": Arm(
            "two strong views, dropped features",
            method("fixmatch", views=2, feature_dropout=0.5),
        ),
        "boxes alone": Arm(
            "one network, three boxes",
            method("fixmatch", threshold=0.0, strong=UNCHANGED, cutmix=THREE_BOXES),
        ),
        "cps": Arm("CPS", method("cps")),
        "cutmix-cps": Arm("CutMix-CPS", method("cutmix-cps")),
        "cutmix-cps clean": Arm(
            "CutMix-CPS, labels in eval mode", method("cutmix-cps", label_passes="eval")
        ),
    },
    "context": {
        "cac": Arm("CAC", method("cac")),
        "cac both ways": Arm("CAC, both cells move", method("cac", directional=False)),
        "cac unfiltered": Arm("CAC, negatives not filtered", method("cac", filtered=False)),
        "crops alone": Arm("masks alone, CAC's crops", method("cac", weight=0.0)),
        "eln": Arm("ELN", method("eln")),
        "eln all pixels": Arm("ELN, every pixel trusted", method("eln", threshold=0.0)),
        "eln unheld": Arm(
            "ELN, auxiliary decoders not held back", method("eln", ratios=(0.0, 0.0))
        ),
        "s4mc": Arm("S4MC on FixMatch", method("s4mc")),
        "s4mc unrefined": Arm("S4MC, neighbours have no say", method("s4mc", beta=0.0)),
        "s4mc all pixels": Arm("S4MC, nothing dropped", method("s4mc", beta=0.0, drop=0.0)),
        "cutmix-s4mc": Arm("S4MC on CutMix-Seg", method("cutmix-s4mc")),
        "mean-teacher": Arm("Mean Teacher", method("mean-teacher")),
    },
    **MAIN_STORY,
    "annotation": {
        "longer": Arm("masks alone", semi_supervised.supervised_longer, labelled=EQUAL_COST),
        "fixmatch": Arm("FixMatch", method("fixmatch"), labelled=EQUAL_COST),
    },
    # Of every room that declares such a method, without a further line here.
    "methods": {
        "supervised": Arm("masks alone", self_correction.supervised),
        "longer": Arm("masks alone, as many more steps", semi_supervised.supervised_longer),
        **{name: Arm(name, method(name)) for name in methods.named_options(unlabelled=True)},
    },
    "voc unlabelled": unlabelled_photo_arms("voc", 100),
    "camvid unlabelled": {
        key: arm
        for labelled in (23, 46, 92)
        for key, arm in unlabelled_photo_arms("camvid", labelled).items()
    },
    "photographs": {k: arm for n in (50, 100, 200, 437) for k, arm in photo_arms(n).items()},
    "hurried": {
        "supervised": Arm("masks alone", self_correction.supervised),
        "ancillary": Arm("ancillary (sees boxes)", self_correction.ancillary, with_labels),
        "none": Arm("primary, no correction", primary(UNCORRECTED), with_labels),
        "linear": Arm("primary, linear, α 30 → 0.5", primary(linear()), with_labels),
        "all masks": Arm("all images labelled", self_correction.all_masks),
    },
    "schedules": {
        "none": Arm("no correction", primary(UNCORRECTED), with_labels),
        "linear": Arm("30 → 0.5 by 30 %", primary(linear()), with_labels),
        "slow": Arm("30 → 0.5 by 100 %", primary(linear(until=1.0)), with_labels),
        "constant": Arm("0.5 throughout", primary(linear(until=0)), with_labels),
        "self": Arm("0 throughout: own labels", primary(linear(end=0, until=0)), with_labels),
        "trusting": Arm("30 throughout", primary(linear(end=30, until=0)), with_labels),
    },
    "controls": {
        "none": Arm("no correction", primary(UNCORRECTED), with_labels),
        "linear": Arm("linear correction", primary(linear()), with_labels),
        "temperature": Arm(
            "ancillary with a temperature",
            primary(replace(UNCORRECTED, temperature=CHOSEN["temperature"])),
            with_labels,
            seeds=FIVE,
        ),
        "smoothing": Arm(
            "smoothed labels",
            primary(replace(UNCORRECTED, smoothing=CHOSEN["smoothing"])),
            with_labels,
            seeds=FIVE,
        ),
        "bootstrap": Arm(
            "soft bootstrapping",
            primary(linear(CHOSEN["bootstrap"], correction="bootstrap")),
            with_labels,
            seeds=FIVE,
        ),
        "published bootstrap": Arm(
            "soft bootstrapping, 95 % of the given label",
            primary(linear(19, until=0, correction="bootstrap")),
            with_labels,
            seeds=FIVE,
        ),
        "ensemble": Arm(
            "retrained on ensemble of none and ancillary",
            primary(UNCORRECTED, self_correction.second_round),
            with_labels,
        ),
        "second round": Arm(
            "linear, then retrained on its labels",
            primary(linear(), self_correction.second_round),
            with_labels,
        ),
    },
}
"""The arms of each study by their names in its records, by the name of the study."""
