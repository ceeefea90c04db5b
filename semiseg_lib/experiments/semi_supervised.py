"""The runs that learn from images without any label, and their controls, each as a value."""

from __future__ import annotations

from dataclasses import replace

from semiseg_lib import methods
from semiseg_lib.experiments.self_correction import supervised
from semiseg_lib.experiments.values import Run
from semiseg_lib.methods import MethodConfig, SupervisedConfig
from semiseg_lib.recipes import Profile

__all__ = ["learn", "supervised", "supervised_longer", "warm_starts"]


def learn(profile: Profile, seed: int, options: MethodConfig) -> Run:
    """Return the run of a method that learns from labelled and unlabelled images together.

    If the profile says so, it starts from the supervised run; a method with two networks starts
    from two of them with different initial weights. With options with which it reads masks alone,
    such as ``weight`` = 0, all images of a step are labelled: a control.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        options: the options of the method.

    Raises:
        ValueError: ``options`` are not the configuration of a registered method.
    """
    method, train = methods.method_class(options), profile.train_unlabelled
    if "unlabelled" not in method.learns_from(options):
        images = train.batch_labelled + train.batch_unlabelled
        train = replace(train, batch_labelled=images, batch_unlabelled=0)
    return Run.of(profile, seed, options, train, start=warm_starts(profile, seed, method.networks))


def supervised_longer(
    profile: Profile, seed: int, options: SupervisedConfig | None = None
) -> Run:
    """Return the control of :func:`learn`: as many more steps and images, all labelled.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        options: None takes the profile's.
    """
    return learn(profile, seed, options or profile.supervised)


def warm_starts(profile: Profile, seed: int, networks: int) -> tuple[Run, ...]:
    """Return the supervised runs that methods start from; () if the profile uses fresh weights.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        networks: the number of runs, which differ in their initial weights.
    """
    draws = range(networks) if profile.warm else ()
    return tuple(supervised(profile, seed, draw) for draw in draws)
