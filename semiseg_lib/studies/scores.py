"""Scores of the arms of a study, mIoU in percent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from semiseg_lib import methods
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.core.paths import shown
from semiseg_lib.evaluation.metrics import Evaluation, evaluate
from semiseg_lib.experiments import (
    Inputs,
    Run,
    Trained,
    corrected_logits,
    evaluate_unlabelled,
    resolve,
    runs_behind,
)
from semiseg_lib.experiments import pseudo_labelling as story
from semiseg_lib.experiments.machine import Machine
from semiseg_lib.experiments.places import place
from semiseg_lib.experiments.self_correction import supervised
from semiseg_lib.experiments.values import Logits
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.recipes import Profile
from semiseg_lib.recipes.profile import RoundsConfig
from semiseg_lib.studies.label_scores import label_scores
from semiseg_lib.training.run_folder import RunFolder

MOST_TO_CHOOSE_WITH = 48
"""The largest number of validation masks that a choice is made on."""
Scores = dict[str, Any]
"""Measured values by name, and in ``made with`` the states of machine and code behind them."""


@dataclass(frozen=True)
class Rounds(Configuration):
    """All rounds of pseudo-labelling, as a value.

    Attributes:
        first: the fine-tuned student of the first round.
        plan: the number of rounds, and the rule for the next teacher.
    """

    first: Run
    plan: RoundsConfig

    @staticmethod
    def of(profile: Profile, seed: int, selection: Selection) -> Rounds:
        """Return the rounds of a profile with one selection of pixels.

        Args:
            profile: the numbers.
            seed: draws the labelled images, the initial weights and the batches.
            selection: the rule that selects the pixels that get a label.
        """
        plan = replace(profile.rounds, selection=selection)
        labels = story.pseudo_labels(profile, plan, supervised(profile, seed), 1)
        return Rounds(story.student(profile, seed, plan, labels)[1], plan)

    def runs(self) -> tuple[Run, ...]:
        """Return the supervised run, and the runs of one student per round."""
        teacher, *student = runs_behind(self.first)
        return (teacher, *student * self.plan.count)


def percent(evaluation: Evaluation) -> float:
    """Return the mIoU in percent.

    Args:
        evaluation: the scores, whose mIoU is in [0, 1].
    """
    return 100 * evaluation.mean_iou


def scored(value: Run, profile: Profile, machine: Machine) -> Scores:
    """Return a run's test score and cost, and the score of its best weights if there are any.

    Args:
        value: the run.
        profile: with the protocol of the evaluation.
        machine: what computes.
    """
    return _scored(resolve(value, machine), profile)


def with_labels(value: Run, profile: Profile, machine: Machine) -> Scores:
    """Return :func:`scored` and the score of the labels of the unlabelled images with boxes.

    For a primary these are the labels that it learnt from, corrected as at the end of its training;
    for any other run its predictions.

    Args:
        value, profile, machine: as for :func:`scored`.
    """
    trained = resolve(value, machine)
    if value.unlabelled_logits is not None:
        labels = corrected_logits(trained)
    else:
        labels = resolve(Logits(value, "unlabelled", profile.logits_bits), machine)
    data = trained.data
    score = percent(evaluate_unlabelled(data, labels, data.boxed))
    return {**_scored(trained, profile), "labels": score}


def with_sources(value: Run, profile: Profile, machine: Machine) -> Scores:
    """Return :func:`with_labels` and, under ``sources``, the scores of every source of labels.

    Args:
        value, profile, machine: as for :func:`scored`.
    """
    sources = label_scores(resolve(value, machine))
    return {**with_labels(value, profile, machine), "sources": sources}


def on_few_masks(value: Run, profile: Profile, machine: Machine) -> Scores:
    """Return the mIoU on as many validation masks as the run had labelled images, at most 48.

    This is what a choice may be made on: whoever has few masks to train with has no more to
    choose with. The masks are the first ones of the validation list.

    Args:
        value, profile, machine: as for :func:`scored`.
    """
    trained = resolve(value, machine)
    images = few_of_val(trained.data)
    score = evaluate(trained.method, images, trained.data.classes, profile.protocol)
    return {"val": percent(score), **cost(trained), "made with": made_with([value], machine)}


def few_of_val(data: Data) -> ImageSet:
    """Return the first validation images, as many as have masks in training, at most 48.

    Args:
        data: the images of a run.
    """
    images = data.val.without_boxes()
    return images.take(range(min(len(data.labelled), len(images), MOST_TO_CHOOSE_WITH)))


def rounds(value: Rounds, profile: Profile, machine: Machine) -> Scores:
    """Return the scores of every student, and of the labels that it learnt from.

    If the validation images overlap the test images, every student teaches, as published: selecting
    teachers on test images would bias the score.

    Args:
        value: the rounds.
        profile, machine: as for :func:`scored`.
    """
    plan, seed = value.plan, value.first.seed
    if not scores_fairly(Data(profile.data, seed, machine.root), "test"):
        plan = replace(plan, keep_better=False)
    scores, done = {}, list(story.rounds(profile, seed, plan, machine))
    for one in done:
        labels = story.evaluate_labels(one.labels, one.student)
        student = one.student.evaluate("test", profile.protocol)
        scores |= {
            f"student {one.number}": percent(student), f"labels {one.number}": percent(labels),
            f"kept {one.number}": 100 * one.labels.kept,
        }
    scores |= _scored(done[-1].best.holding("last"), profile)
    scores |= cost(*(run for one in done for run in (one.pretrained, one.student)))
    return scores | {"made with": made_with((one.student.run for one in done), machine)}


def cost(*runs: Trained) -> Scores:
    """Return minutes of training (with validation), images per second, and memory in GB.

    Args:
        runs: finished ones, whose times are added.
    """
    seconds = sum(one.record["seconds"] for one in runs)
    images = sum(one.run.steps * one.run.train.images for one in runs)
    return {
        "minutes": seconds / 60, "images a second": images / seconds,
        "memory GB": max(one.record["memory_gb"] for one in runs),
    }


def made_with(runs: Iterable[Run], machine: Machine) -> list[dict[str, Any]]:
    """Return the states of machine and code that made runs and their parents, each once.

    These are the states of the trainings, not of the reading process.

    Raises:
        FileNotFoundError: a run that another one builds on is gone.
    """
    inputs, found = Inputs(machine.root), []
    for run in dict.fromkeys(one for last in runs for one in runs_behind(last)):
        path = place(inputs.identity(run))
        try:
            record = RunFolder.open(path).read_record()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{shown(path)} is gone or not finished, so it is unknown what the runs that "
                "build on it were made with. Remove those too, or make the rows in a folder of "
                "their own (--anew)."
            ) from error
        found += [one for one in record["made with"] if one not in found]
    return found


def scores_fairly(data: Data, split: str) -> bool:
    """Return whether models selected on the validation images can be scored on a split.

    Args:
        data: the images.
        split: ``val`` or ``test``.
    """
    return split != "val" and not set(data.names[split]) & set(data.names["val"])


IMAGES: Mapping[str, Callable[[Data], ImageSet]] = {
    "test": lambda data: data.test.without_boxes(),
    "val": lambda data: data.val.without_boxes(),
    "few of val": few_of_val,
    "boxes of unlabelled": lambda data: data.boxed,
    "hidden masks": lambda data: data.unlabelled_truth.images,
    "hidden masks of boxed": lambda data: data.truth_of(data.boxed).images,
}
"""The images that a score may read, by the key of their digest in a row."""


@dataclass(frozen=True)
class Reads:
    """Inputs of a score beside the run.

    Attributes:
        images: names in ``IMAGES``.
        options: names of the profile's options.
        split: the images that the main score is on, and its key in a row.
    """

    images: tuple[str, ...] = ("test",)
    options: tuple[str, ...] = ()
    split: Literal["test", "val"] = "test"


READS: Mapping[Callable[..., Scores], Reads] = {
    scored: Reads(),
    with_labels: Reads(
        ("test", "boxes of unlabelled", "hidden masks of boxed"), ("logits_bits",)
    ),
    with_sources: Reads(
        ("test", "boxes of unlabelled", "hidden masks of boxed"), ("logits_bits",)
    ),
    # Test images are not scored; their digest says which rows belong together.
    on_few_masks: Reads(("test", "few of val"), split="val"),
    rounds: Reads(("test", "val", "hidden masks")),
}
"""The inputs of each score. A score of your own needs an entry."""


def reads(score: Callable[..., Scores]) -> Reads:
    """Return the inputs of a score.

    Raises:
        ValueError: the score is not in ``READS``.
    """
    if score not in READS:
        raise ValueError(
            f"the inputs of the score {score.__name__!r} are not declared, so changed images would "
            "go unnoticed: add it to READS in semiseg_lib/studies/scores.py."
        )
    return READS[score]


def images_read(
    score: Callable[..., Scores], value: Run | Rounds, data: Data
) -> dict[str, str]:
    """Return the digests of the images that a score reads, by name.

    Args:
        score: a key of :data:`READS`.
        value: what it scores.
        data: the images of the run.
    """
    names = set(reads(score).images)
    if isinstance(value, Rounds) and not value.plan.keep_better:
        names.discard("val")  # every student teaches, so nothing is selected there
    found = {name: IMAGES[name](data).digest for name in sorted(names)}
    if isinstance(value, Run) and methods.method_class(value.method).uses_boxes:
        found["test with boxes"] = data.test.digest
    return found


def _scored(trained: Trained, profile: Profile) -> Scores:
    test = percent(trained.evaluate("test", profile.protocol))
    made = made_with([trained.run], trained.machine)
    scores = {"test": test, **cost(trained), "made with": made}
    if "best" in trained.record and scores_fairly(trained.data, "test"):
        best = trained.holding("best").evaluate("test", profile.protocol)
        scores["best"] = percent(best)
    return scores
