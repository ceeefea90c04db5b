"""The studies of the book, each with its arms by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from semiseg_lib import methods, recipes
from semiseg_lib.batches.options import THREE_BOXES, StrongConfig
from semiseg_lib.datasets.minivoc import BoxStyle
from semiseg_lib.experiments import Run, self_correction, semi_supervised
from semiseg_lib.experiments.self_correction import UNCORRECTED
from semiseg_lib.methods import ConvPrimaryConfig, MethodConfig, PrimaryConfig
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.recipes import Profile
from semiseg_lib.studies.arms import Arm, MakeValue
from semiseg_lib.studies.scores import Rounds, rounds, with_labels


def linear(end: float = 0.5, start: float = 30.0, until: float = 0.3) -> PrimaryConfig:
    """Return the options of a primary with linear correction and a schedule of alpha.

    Args:
        end: the last alpha, >= 0.
        start: the first alpha.
        until: the share of the training after which alpha is ``end``; 0 for all of it.
    """
    return PrimaryConfig(correction="linear", alpha=AlphaSchedule(start, end, until))


def primary(
    options: PrimaryConfig | ConvPrimaryConfig,
    story: Callable[..., Run] = self_correction.primary,
) -> MakeValue:
    """Return the recipe of a primary with the profile's ``ema_decay``.

    Args:
        options: the correction.
        story: the function that returns the run, such as ``self_correction.warm_primary``.
    """

    def recipe(profile: Profile, seed: int) -> Run:
        own = replace(options, ema_decay=profile.primary.ema_decay)
        return story(profile, seed, own)

    return recipe


def method(name: str, **changed: Any) -> MakeValue:
    """Return the recipe of a method that learns from unlabelled images, with changed options.

    Every arm has the network and the budget of the study's profile. The options are the profile's;
    if it has none for the method, those of the method's own recipe in that profile. A method that
    is registered but not shipped has its default options.

    Args:
        name: its name in commands and recipes, such as ``cutmix-cps``.
        changed: the options that differ.

    Raises:
        ValueError: ``name`` is a stage of a storyline, which has a function of its own. The recipe
            raises it if the profile has no options for a shipped method.
        UnknownMethod: the recipe raises it if there is no such method.
    """
    if name in recipes.STAGES:
        raise ValueError(
            f"{name!r} is a stage of a storyline. Take the function of semiseg_lib.experiments "
            "that returns its run, such as self_correction.primary."
        )

    def recipe(profile: Profile, seed: int) -> Run:
        options = profile.unlabelled.get(name) or _own_options(profile, name)
        return semi_supervised.learn(profile, seed, replace(options, **changed))

    return recipe


def _own_options(profile: Profile, name: str) -> MethodConfig:
    """Return the options of a method that a profile names none for; see :func:`method`."""
    if name not in methods.named_options(unlabelled=True):
        return methods.defaults(name)
    dataset = profile.data.dataset
    if not recipes.find(profile.name, dataset).serves(name):
        raise ValueError(
            f"the profile {profile.name!r} has a recipe per system for {dataset!r}, with a network "
            f"and a budget of its own, so a study cannot compare {name} with others there."
        )
    return recipes.load(profile.name, dataset, name).unlabelled[name]


def strong_views(profile: Profile, seed: int) -> Run:
    """Return the run on masks alone, longer, with the strong views of FixMatch."""
    fixmatch = profile.unlabelled["fixmatch"]
    options = replace(profile.supervised, strong=fixmatch.strong, cutmix=fixmatch.cutmix)
    return semi_supervised.supervised_longer(profile, seed, options)


def pseudo(selection: Selection) -> MakeValue:
    """Return the recipe of iterated pseudo-labelling with one selection of pixels."""
    return lambda profile, seed: Rounds.of(profile, seed, selection)


LOOSE = BoxStyle(loose=(0.15, 0.45), jitter=0.05)
"""Boxes as hurried annotators draw them, too large."""
TIGHT = BoxStyle()
"""Boxes without error."""
MISSED = BoxStyle(missed=0.3)
"""Boxes without error, of 70 % of the objects."""
TIGHT_WORLD = {"world": "tight"}
ALL_TIGHT, ALL_LOOSE = {"unlabelled_boxes": TIGHT}, {"labelled_boxes": LOOSE}
SOME_MISSED = {"unlabelled_boxes": MISSED}

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


def conv_arms(labelled: int) -> dict[str, Arm]:
    """Return convolutional correction and its controls on mini-VOC with ``labelled`` masks."""
    arms = {
        "none": Arm("no correction", primary(UNCORRECTED), with_labels),
        "warm linear": Arm(
            "linear, started on the masks",
            primary(linear(), self_correction.warm_primary),
            with_labels,
        ),
        "conv": Arm("convolutional", primary(SMALL), with_labels),
    }
    return {f"{labelled} {name}": replace(arm, labelled=labelled) for name, arm in arms.items()}


UNCHANGED = StrongConfig(jitter=0.0, grey=0.0, blur=0.0)
EQUAL_COST = 124
"""Masks that take as long to annotate as 24 masks and the boxes of 800 unlabelled images.

This assumes that an image's boxes take an eighth of the time of its mask.
"""
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
    "tight": {
        "supervised": Arm("masks alone", self_correction.supervised, data_options=TIGHT_WORLD),
        "ancillary": Arm(
            "ancillary (sees boxes)",
            self_correction.ancillary,
            with_labels,
            data_options=TIGHT_WORLD,
        ),
        "none": Arm(
            "primary, no correction", primary(UNCORRECTED), with_labels, data_options=TIGHT_WORLD
        ),
        "linear": Arm(
            "primary, linear, α 30 → 0.5", primary(linear()), with_labels, data_options=TIGHT_WORLD
        ),
        "constant": Arm(
            "primary, linear, α = 0.5",
            primary(linear(until=0)),
            with_labels,
            data_options=TIGHT_WORLD,
        ),
        "all masks": Arm(
            "all images labelled", self_correction.all_masks, data_options=TIGHT_WORLD
        ),
    },
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
    "label errors": {
        "loose none": Arm("loose on unlabelled, no correction", primary(UNCORRECTED), with_labels),
        "loose linear": Arm("loose on unlabelled, linear", primary(linear()), with_labels),
        "tight none": Arm(
            "all boxes tight, no correction",
            primary(UNCORRECTED),
            with_labels,
            data_options=ALL_TIGHT,
        ),
        "tight linear": Arm(
            "all boxes tight, linear", primary(linear()), with_labels, data_options=ALL_TIGHT
        ),
        "equal none": Arm(
            "all boxes loose, no correction",
            primary(UNCORRECTED),
            with_labels,
            data_options=ALL_LOOSE,
        ),
        "equal linear": Arm(
            "all boxes loose, linear", primary(linear()), with_labels, data_options=ALL_LOOSE
        ),
        "missed none": Arm(
            "missing on unlabelled, no correction",
            primary(UNCORRECTED),
            with_labels,
            data_options=SOME_MISSED,
        ),
        "missed linear": Arm(
            "missing on unlabelled, linear",
            primary(linear()),
            with_labels,
            data_options=SOME_MISSED,
        ),
    },
}
"""The arms of each study by their names in its records, by the name of the study."""
