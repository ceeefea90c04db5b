"""Functions that return the run of an arm from a profile and a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from semiseg_lib import methods, recipes
from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.experiments import (
    BoxLabels,
    Logits,
    MixedLogits,
    Run,
    self_correction,
    semi_supervised,
)
from semiseg_lib.methods import ConvPrimaryConfig, MethodConfig, PrimaryConfig
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.recipes import Profile
from semiseg_lib.studies.arms import MakeValue
from semiseg_lib.studies.scores import Rounds


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


def from_noise(make: MakeValue) -> MakeValue:
    """Return the recipe of the same run that starts from fresh weights, not from another run."""
    return lambda profile, seed: replace(make(profile, seed), start=())


def all_masks_longer(profile: Profile, seed: int) -> Run:
    """Return the run on the masks of all images with the steps of a method without boxes."""
    return replace(semi_supervised.supervised_longer(profile, seed), masks="all")


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
