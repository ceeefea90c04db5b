"""Learning from images without any label: the stages of a pipeline that need no boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from semiseg_lib import methods
from semiseg_lib.launch import Trained
from semiseg_lib.methods import SupervisedConfig, UnlabelledConfig
from semiseg_lib.runs import fingerprint
from semiseg_lib.stages import Pipeline


def learn(pipeline: Pipeline, options: UnlabelledConfig) -> Trained:
    """A method that learns from labelled and unlabelled images together.

    Where the profile says so it goes on from the supervised run; a method with two networks from
    two of them, which differ in the weights that they started with. One whose option ``weight`` is
    0 reads masks alone, so all images of a step are labelled: a control.
    """
    start = warm_starts(pipeline, methods.kind(options).networks)
    return _go_on(pipeline, options, start)


def supervised_longer(pipeline: Pipeline, options: SupervisedConfig | None = None) -> Trained:
    """The control of :func:`learn`: as many more steps with as many images, all of them labelled.

    Args:
        pipeline: the stages.
        options: None takes the profile's.
    """
    return _go_on(pipeline, options or pipeline.profile.supervised, warm_starts(pipeline, 1))


def warm_starts(pipeline: Pipeline, networks: int) -> list[Trained]:
    """The supervised runs that methods start with; none where the profile starts them afresh."""
    draws = range(networks) if pipeline.profile.warm else ()
    return [pipeline.supervised(draw) for draw in draws]


def _go_on(
    pipeline: Pipeline, options: SupervisedConfig | UnlabelledConfig,
    start: Sequence[Trained],
) -> Trained:
    train = pipeline.profile.train_unlabelled
    if isinstance(options, SupervisedConfig) or getattr(options, "weight", 1) == 0:
        images = train.batch_labelled + train.batch_unlabelled
        train = replace(train, batch_labelled=images, batch_unlabelled=0)
    starts_from = "+".join(fingerprint(one.config) for one in start)
    config = pipeline.config(options, train, starts_from=starts_from)
    return pipeline.train(config, start=start)
