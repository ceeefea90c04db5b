"""What each arm of a study trains and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from semiseg_lib.evaluate import Evaluation
from semiseg_lib.launch import Machine, Trained
from semiseg_lib.methods import (
    ConvPrimaryConfig,
    FixMatchConfig,
    PrimaryConfig,
    UnlabelledConfig,
)
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.profiles import Profile
from semiseg_lib.rounds import Rounds
from semiseg_lib.runs import fingerprint
from semiseg_lib.stages import Pipeline
from semiseg_lib.studies.arms import Arm, Options
from semiseg_lib.unlabelled import learn, supervised_longer

Scores = dict[str, float]
NONE = PrimaryConfig(correction="none")


def percent(evaluation: Evaluation) -> float:
    """mIoU in percent."""
    return 100 * evaluation.mean_iou


def scored(pipeline: Pipeline, trained: Trained) -> Scores:
    """Return the test score of a run, what it cost, and its best weights' score if there is one."""
    scores = {"test": percent(pipeline.evaluate(trained)), **cost(trained)}
    if "best" in trained.record and pipeline.judges_fairly("test"):
        best = pipeline.open(trained.folder, trained.config, "best")
        scores["best"] = percent(pipeline.evaluate(best))
    return scores


def corrected(pipeline: Pipeline, trained: Trained) -> Scores:
    """The test score of a primary, and that of the labels it and the ancillary end up with."""
    unlabelled = pipeline.evaluate_unlabelled(
        pipeline.corrected_logits(trained), pipeline.data.boxed
    )
    return {**scored(pipeline, trained), "labels": percent(unlabelled)}


def cost(*runs: Trained) -> Scores:
    """Minutes of training (validation on the way included), images a second, and memory."""
    seconds = sum(one.record["seconds"] for one in runs)
    images = sum(one.config.train.steps * one.config.train.images for one in runs)
    return {
        "minutes": seconds / 60, "images a second": images / seconds,
        "memory GB": max(one.record["memory_gb"] for one in runs),
    }


def supervised(pipeline: Pipeline, options: None = None) -> Scores:
    """Masks alone."""
    return scored(pipeline, pipeline.supervised())


def ancillary(pipeline: Pipeline, options: None = None) -> Scores:
    """The ancillary, which sees boxes: on the test images' boxes and on the unlabelled images'."""
    unlabelled = pipeline.evaluate_unlabelled(pipeline.logits(), pipeline.data.boxed)
    return {**scored(pipeline, pipeline.ancillary()), "labels": percent(unlabelled)}


def primary(pipeline: Pipeline, options: PrimaryConfig | ConvPrimaryConfig) -> Scores:
    """The primary; also the labels that it and the ancillary end up agreeing on."""
    return corrected(pipeline, pipeline.primary(options))


def warm_primary(pipeline: Pipeline, options: PrimaryConfig) -> Scores:
    """A primary that starts, like a convolutional one, with steps on the masks alone."""
    profile, labels = pipeline.profile, pipeline.logits()
    first = pipeline.train(pipeline.config(profile.supervised, profile.train_start))
    config = pipeline.config(
        options, profile.train_primary, labels.source, fingerprint(first.config)
    )
    return corrected(pipeline, pipeline.train(config, {"unlabelled": labels}, start=[first]))


def second_round(pipeline: Pipeline, options: PrimaryConfig) -> Scores:
    """A fresh primary learns, uncorrected, what the first one and the ancillary agree on."""
    labels = pipeline.mixed_logits(pipeline.primary(options), alpha=0.5)
    return {
        "test": percent(pipeline.evaluate(pipeline.primary(NONE, labels))),
        "labels": percent(pipeline.evaluate_unlabelled(labels, pipeline.data.boxed)),
    }


def all_masks(pipeline: Pipeline, options: None = None) -> Scores:
    """What the hidden masks would be worth: every image labelled, as many steps as a primary."""
    profile, train = pipeline.profile, pipeline.profile.train_primary
    images = train.batch_labelled + train.batch_unlabelled
    train = replace(train, batch_labelled=images, batch_unlabelled=0)
    config = pipeline.config(profile.supervised, train, labels_from="hidden masks")
    return scored(pipeline, pipeline.train(config, labelled=pipeline.data.everything))


def without_boxes(pipeline: Pipeline, options: UnlabelledConfig) -> Scores:
    """A method that learns from unlabelled images."""
    return scored(pipeline, learn(pipeline, options))


def longer(pipeline: Pipeline, options: None = None) -> Scores:
    """Masks alone, for as many more steps as a method without boxes learns."""
    return scored(pipeline, supervised_longer(pipeline))


def longer_strong(pipeline: Pipeline, options: FixMatchConfig) -> Scores:
    """The same, on strong views as FixMatch has them."""
    supervised = replace(
        pipeline.profile.supervised, strong=options.strong, cutmix=options.cutmix
    )
    return scored(pipeline, supervised_longer(pipeline, supervised))


def rounds(pipeline: Pipeline, selection: Selection) -> Scores:
    """Iterated pseudo-labelling: every student, and the labels that it learnt from.

    Where no other images than the reported ones could say who is better, every student teaches,
    as published: a choice made there would be rewarded there.
    """
    plan = replace(pipeline.profile.rounds, selection=selection)
    if not pipeline.judges_fairly("test"):
        plan = replace(plan, keep_better=False)
    runner = Rounds(pipeline, plan)
    scores, done = {}, runner.run()
    for one in done:
        labels = runner.evaluate_labels(one.labels)
        scores |= {
            f"student {one.number}": percent(pipeline.evaluate(one.student)),
            f"labels {one.number}": percent(labels), f"kept {one.number}": 100 * one.labels.kept,
        }
    last = done[-1].best
    scores |= scored(pipeline, pipeline.open(last.folder, last.config))
    return scores | cost(*(run for one in done for run in (one.pretrained, one.student)))


SCORES: Mapping[str, Callable[[Pipeline, Options], Scores]] = {
    "supervised": supervised,
    "ancillary": ancillary,
    "primary": primary,
    "warm primary": warm_primary,
    "second round": second_round,
    "all masks": all_masks,
    "unlabelled": without_boxes,
    "longer": longer,
    "longer, strong views": longer_strong,
    "rounds": rounds,
}


def run_arm(
    arm: Arm, profile: Profile, seed: int, machine: Machine | str | None = None
) -> Scores:
    """Run one arm with one seed; runs that are on disk are loaded."""
    pipeline = Pipeline(arm.profile(profile), seed, machine)
    return SCORES[arm.stage](pipeline, arm.options_in(profile))
