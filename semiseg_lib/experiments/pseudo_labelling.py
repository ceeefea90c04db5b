"""Iterated pseudo-labelling, round by round: a teacher labels, a fresh student learns and teaches.

Every round is a handful of values; the next teacher depends on the scores, so the rounds are
resolved one after the other. An interrupted round continues.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from accelerate.utils import broadcast_object_list

from semiseg_lib.batches.data import Data
from semiseg_lib.core.terminal import say_once
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.metrics import Evaluation
from semiseg_lib.experiments.machine import AnyMachine, Machine
from semiseg_lib.experiments.refusals import refuse_labels_of_others
from semiseg_lib.experiments.resolving import resolve
from semiseg_lib.experiments.self_correction import supervised
from semiseg_lib.experiments.trained import Trained
from semiseg_lib.experiments.values import PseudoLabels, Run
from semiseg_lib.methods import PseudoLabelConfig
from semiseg_lib.recipes import Profile
from semiseg_lib.recipes.profile import RoundsConfig
from semiseg_lib.stores.pseudo_labels import PseudoLabelStore


@dataclass(frozen=True)
class Round:
    """One round of iterated pseudo-labelling.

    Attributes:
        number: counted from 1.
        teacher: the model that makes the labels.
        labels: the pseudo-labels.
        pretrained: the student after training on them.
        student: the same, fine-tuned on the masks.
        teacher_score, student_score: mIoU in percent on the validation images.
        replaced: whether the student is the next teacher.
    """

    number: int
    teacher: Trained
    labels: PseudoLabelStore
    pretrained: Trained
    student: Trained
    teacher_score: float
    student_score: float
    replaced: bool

    @property
    def best(self) -> Trained:
        """Return the next teacher, which is deployed if this is the last round."""
        return self.student if self.replaced else self.teacher

    def __str__(self) -> str:
        verdict = "teaches next" if self.replaced else "does not replace its teacher"
        if self.replaced and self.student_score < self.teacher_score:
            verdict = "is worse, and teaches next all the same, as published"
        return (
            f"round {self.number}: the teacher has {self.teacher_score:.1f} % mIoU on val, the "
            f"student {self.student_score:.1f} %: it {verdict}."
        )


def pseudo_labels(profile: Profile, plan: RoundsConfig, teacher: Run, number: int) -> PseudoLabels:
    """Return a teacher's pseudo-labels of the unlabelled images in a round, as a value.

    Args:
        profile: the numbers; its protocol predicts.
        plan: its rule selects the pixels that get a label.
        teacher: the run that labels.
        number: the round, counted from 1.
    """
    return PseudoLabels(teacher, plan.selection, number, profile.protocol)


def student(
    profile: Profile, seed: int, plan: RoundsConfig, labels: PseudoLabels
) -> tuple[Run, Run]:
    """Return a fresh student: its run on the pseudo-labels, and its fine-tuning run on the masks.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        plan: the trainings of both runs, and the decay of their moving average.
        labels: the pseudo-labels; other weights are drawn in each round.
    """
    number = labels.number
    learnt = PseudoLabelConfig("pseudo-label", "pretrain", number, plan.ema_decay)
    pretrained = Run.of(profile, seed, learnt, plan.pretrain, masks=labels, draw=number)
    tuned = replace(learnt, stage="fine-tune")
    return pretrained, Run.of(
        profile, seed, tuned, plan.finetune, start=(pretrained,), draw=number
    )


def rounds(
    profile: Profile, seed: int, plan: RoundsConfig | None = None,
    machine: AnyMachine = None, anew: bool = False,
) -> Iterator[Round]:
    """Yield one round after the other.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        plan: None takes the profile's.
        machine: what to compute on.
        anew: train the students again even where they are there.

    Raises:
        ValueError: there are no unlabelled images.
    """
    plan = plan or profile.rounds
    if not len(Data(profile.data, seed, Machine.of(machine).root).unlabelled):
        raise ValueError(
            "pseudo-labels need images without masks, but there are none: add some, or label "
            "fewer (data.labelled)."
        )
    teacher = resolve(supervised(profile, seed), machine).chosen()
    scores: dict[Run, float] = {}

    def score(trained: Trained) -> float:
        if trained.run not in scores:
            scores[trained.run] = 100 * trained.evaluate("val", profile.protocol).mean_iou
        return scores[trained.run]

    for number in range(1, plan.count + 1):
        labels = pseudo_labels(profile, plan, teacher.run, number)
        first, second = student(profile, seed, plan, labels)
        store = resolve(labels, machine)
        pretrained = resolve(first, machine, anew)
        tuned = resolve(second, machine, anew).chosen()
        # All processes use the main one's scores: the next teacher must not depend on rounding.
        old, new = broadcast_object_list([score(teacher), score(tuned)])
        replaced = not plan.keep_better or new >= old
        one = Round(number, teacher, store, pretrained, tuned, old, new, replaced)
        say_once(one)
        yield one
        teacher = one.best


def evaluate_labels(labels: PseudoLabelStore, trained: Trained) -> Evaluation:
    """Score pseudo-labels on the hidden masks, for measurement only.

    Pixels without a label are not counted.

    Args:
        labels: of the unlabelled images, in their order.
        trained: a run on the same data.

    Raises:
        ValueError: the labels are those of other images.
    """
    refuse_labels_of_others(labels, trained.data, trained.data.unlabelled)
    pairs = zip(trained.data.unlabelled_truth, labels, strict=True)
    return Evaluation.of(
        ((np.where(label == VOID, VOID, truth), label) for truth, label in pairs), trained.classes
    )
