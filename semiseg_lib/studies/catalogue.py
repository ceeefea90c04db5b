"""The studies of the book, each with its arms by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from semiseg_lib import methods, recipes
from semiseg_lib.batches.options import THREE_BOXES, StrongConfig
from semiseg_lib.datasets.minivoc import BoxStyle
from semiseg_lib.experiments import (
    BoxLabels,
    Logits,
    MixedLogits,
    Run,
    self_correction,
    semi_supervised,
)
from semiseg_lib.experiments.self_correction import UNCORRECTED
from semiseg_lib.methods import ConvPrimaryConfig, MethodConfig, PrimaryConfig
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.recipes import Profile
from semiseg_lib.studies.arms import Arm, MakeValue
from semiseg_lib.studies.scores import Rounds, on_few_masks, rounds, with_labels, with_sources


def linear(
    end: float = 0.5, start: float = 30.0, until: float = 0.3, **options: Any
) -> PrimaryConfig:
    """Return the options of a primary with linear correction and a schedule of alpha.

    Args:
        end: the last alpha, >= 0.
        start: the first alpha.
        until: the share of the training after which alpha is ``end``; 0 for all of it.
        options: further options of the primary.
    """
    return PrimaryConfig(alpha=AlphaSchedule(start, end, until), **options)


def primary(
    options: PrimaryConfig | ConvPrimaryConfig,
    story: Callable[..., Run] = self_correction.primary,
    labels: Callable[[Profile, int], Logits | MixedLogits | BoxLabels] | None = None,
) -> MakeValue:
    """Return the recipe of a primary with the profile's ``ema_decay``.

    Args:
        options: the correction.
        story: the function that returns the run, such as ``self_correction.warm_primary``.
        labels: the function that returns the stored logits to learn from; None for the ancillary's.
    """

    def recipe(profile: Profile, seed: int) -> Run:
        own = replace(options, ema_decay=profile.primary.ema_decay)
        return story(profile, seed, own, **({"labels": labels(profile, seed)} if labels else {}))

    return recipe


def colours(profile: Profile) -> StrongConfig:
    """Return the strong colours of a profile, those of FixMatch."""
    return profile.unlabelled["fixmatch"].strong


def coloured(
    options: PrimaryConfig, labelled: bool = False, unlabelled: bool = False
) -> MakeValue:
    """Return the recipe of a primary that sees strong colours.

    Args:
        options: the correction.
        labelled, unlabelled: the images that get strong colours.
    """

    def recipe(profile: Profile, seed: int) -> Run:
        strong = colours(profile)
        seen = replace(options, strong=strong if unlabelled else None,
                       strong_labelled=strong if labelled else None)
        return primary(seen)(profile, seed)

    return recipe


def coloured_masks(profile: Profile, seed: int) -> Run:
    """Return the run on masks alone with strong colours, and the steps of a primary."""
    options = replace(profile.supervised, strong=colours(profile))
    return self_correction.equal_steps(profile, seed, options)


def warm(profile: Profile, seed: int, options: PrimaryConfig) -> Run:
    """Return a primary that starts from the supervised run, as the methods without boxes do."""
    run = self_correction.primary(profile, seed, options)
    return replace(run, start=(self_correction.supervised(profile, seed),))


def on_its_way(options: PrimaryConfig, share: float) -> MakeValue:
    """Return the recipe of a primary that ends after a share of its steps, rounded to logged ones.

    Args:
        options: the correction.
        share: of the steps, in (0, 1].
    """

    def recipe(profile: Profile, seed: int) -> Run:
        run = primary(options)(profile, seed)
        steps = round(share * run.train.steps / run.train.log_every) * run.train.log_every
        return replace(run, stop=max(steps, run.train.log_every))

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
    unimatch_in_boxes = method(
        "fixmatch", constrain=True, threshold=CHOSEN["threshold"], **UNIMATCH
    )
    central = {
        "supervised": Arm("masks alone", self_correction.supervised, with_sources),
        "equal": Arm("masks alone, steps of a primary", self_correction.equal_steps),
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
            "own labels within boxes",
            primary(linear(end=0, until=0, constrain=True)),
            with_labels,
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
        "fixmatch": Arm("FixMatch, no boxes", method("fixmatch")),
        "fixmatch in boxes": Arm(
            "FixMatch, boxes as constraint",
            method("fixmatch", constrain=True, threshold=CHOSEN["threshold"]),
        ),
    }
    return {
        **{name: replace(arm, seeds=TEN) for name, arm in central.items()},
        **{name: replace(arm, seeds=FIVE) for name, arm in further.items()},
    }


SAME_HOURS: Mapping[str, str] = {
    "longer": "24 masks",
    "strong": "24 masks, strong views",
    "unimatch": "24 + bare images, strong views",
    "none": "24 + boxes, uncorrected",
    "linear": "24 + boxes, self-correcting",
    "constraint": "24 + boxes as constraint",
    "both": "24 + boxes as both",
    "unimatch in boxes": "24 + boxes, strong views",
    "124 longer": "124 masks",
    "124 strong": "124 masks, strong views",
    "124 unimatch": "124 + bare images, strong views",
    "all masks": "all 824 masks",
}
"""Arms of the study ``ways`` in words: first the work of 24 masks, then that of 124, then of 824.

The boxes of 800 images count as 100 masks (``EQUAL_COST``).
"""


def conditions() -> dict[str, Arm]:
    """Return an arm per condition of the boxes and way to use them; see ``CONDITIONS``."""
    ways_there = {
        "none": ("uncorrected", primary(UNCORRECTED)),
        "linear": ("linear correction", primary(linear())),
        "both": ("linear correction within boxes", primary(linear(constrain=True))),
    }
    with_boxes = {
        f"{condition}, {way}": Arm(
            f"{condition}, {text}", make, with_labels, data_options=options, seeds=FIVE
        )
        for condition, options in CONDITIONS.items()
        for way, (text, make) in ways_there.items()
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
}
"""Options of mini-VOC by the condition: boxes of the labelled, boxes of the unlabelled images."""


CHOSEN = {"alpha": 0.25, "temperature": 2.0, "smoothing": 0.1, "bootstrap": 1.0, "threshold": 0.0}
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
           for end in (0.25, 0.5, 1.0)},
        **{f"threshold, {value:g}": method(
            "fixmatch", constrain=True, threshold=value, **UNIMATCH)
           for value in (0.0, 0.8, 0.95)},
    }
    return {name: Arm(name, make, on_few_masks, seeds=NEVER_REPORTED)
            for name, make in trials.items()}


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
    "ways": ways(),
    "conditions": conditions(),
    "search": search(),
    "training": {
        f"{name} {share:.0%}": Arm(
            f"{name}, after {share:.0%} of the steps",
            on_its_way(options, share),
            with_sources,
            seeds=FIVE,
        )
        for name, options in (("none", UNCORRECTED), ("linear", linear()))
        for share in (0.1, 0.3, 0.6)
    },
    "curve": {
        f"{labelled} {name}": Arm(
            f"{labelled} masks{said}", make, labelled=labelled, seeds=FIVE
        )
        for labelled in (12, 24, 48, 74, 96, 124, 224)
        for name, make, said in (("longer", semi_supervised.supervised_longer, ""),
                                 ("strong", strong_views, ", strong views"))
    },
    "colours": {
        name: replace(arm, seeds=FIVE)
        for name, arm in {
            "masks": Arm("masks alone", self_correction.equal_steps),
            "masks coloured": Arm("masks alone, strong colours", coloured_masks),
            **{
                f"{name}{said}": Arm(
                    f"{name}{said or ', weak views'}", coloured(options, *on), with_labels
                )
                for name, options in (("none", UNCORRECTED), ("linear", linear()))
                for said, on in (("", (False, False)),
                                 (", labelled coloured", (True, False)),
                                 (", unlabelled coloured", (False, True)),
                                 (", both coloured", (True, True)))
            },
        }.items()
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
    "harder": {
        "supervised": Arm("masks alone", self_correction.supervised, data_options=HARDER),
        "ancillary": Arm(
            "ancillary (sees boxes)",
            self_correction.ancillary,
            with_labels,
            data_options=HARDER,
        ),
        "none": Arm(
            "primary, no correction", primary(UNCORRECTED), with_labels, data_options=HARDER
        ),
        "linear": Arm(
            "primary, linear, α 30 → 0.5", primary(linear()), with_labels, data_options=HARDER
        ),
        "constant": Arm(
            "primary, linear, α = 0.5",
            primary(linear(until=0)),
            with_labels,
            data_options=HARDER,
        ),
        "all masks": Arm(
            "all images labelled", self_correction.all_masks, data_options=HARDER
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
