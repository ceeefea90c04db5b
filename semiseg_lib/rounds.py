"""Iterated pseudo-labelling, round by round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import PartialState

from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluate import Evaluation, confusion_matrix, predict_probabilities
from semiseg_lib.inference import Protocol
from semiseg_lib.launch import RunConfig, Trained
from semiseg_lib.methods import PseudoLabelConfig
from semiseg_lib.methods.pseudo_label import Selection, select
from semiseg_lib.paths import work_root
from semiseg_lib.profiles.profile import RoundsConfig
from semiseg_lib.runs import fingerprint
from semiseg_lib.stages import Pipeline, incomplete
from semiseg_lib.stores.pseudo_labels import PseudoLabelStore


@dataclass(frozen=True)
class Round:
    """One round of iterated pseudo-labelling.

    Attributes:
        number: counted from 1.
        teacher: whose labels the student learns.
        labels: these labels.
        pretrained: the student after it has learnt them.
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
        """Who teaches next, and what is deployed if this is the last round."""
        return self.student if self.replaced else self.teacher

    def __str__(self) -> str:
        verdict = "teaches next" if self.replaced else "does not replace its teacher"
        if self.replaced and self.student_score < self.teacher_score:
            verdict = "is worse, and teaches next all the same, as published"
        return (
            f"round {self.number}: the teacher has {self.teacher_score:.1f} % mIoU on val, the "
            f"student {self.student_score:.1f} %: it {verdict}."
        )


class Rounds:
    """Iterated pseudo-labelling: a teacher labels, a fresh student learns and becomes the teacher.

    Every round is stored as it goes, so an interrupted one continues.

    Args:
        pipeline: the stages.
        plan: None takes the profile's.
    """

    def __init__(self, pipeline: Pipeline, plan: RoundsConfig | None = None) -> None:
        self.pipeline, self.plan = pipeline, plan or pipeline.profile.rounds
        self._scores: dict[str, float] = {}

    def run(self, count: int | None = None) -> list[Round]:
        """The first ``count`` rounds; None for all that are planned."""
        return list(self.rounds(self.plan.count if count is None else count))

    def rounds(self, count: int) -> Iterator[Round]:
        """One round after the other."""
        if not len(self.pipeline.data.unlabelled):
            raise ValueError(
                "pseudo-labels need images without masks, but there are none: add some, or label "
                "fewer (data.labelled)."
            )
        teacher = self.pipeline.chosen(self.pipeline.supervised())
        for number in range(1, count + 1):
            one = self._round(number, teacher)
            PartialState().print(one)
            teacher = one.best
            yield one

    def evaluate_labels(self, labels: PseudoLabelStore) -> Evaluation:
        """Score pseudo-labels, where there are any, on the hidden masks: to measure, not to learn.

        A pixel without a label counts neither as right nor as wrong.
        """
        classes = self.pipeline.data.classes
        total = np.zeros((len(classes), len(classes)), dtype=np.int64)
        for number, truth in enumerate(self.pipeline.data.unlabelled_truth):
            label = labels[number]
            known = np.where(label == VOID, VOID, truth)
            total += confusion_matrix(known, np.where(label == VOID, 0, label), len(classes))
        return Evaluation(total, classes)

    def _round(self, number: int, teacher: Trained) -> Round:
        labels = self._labels(number, teacher)
        pretrained, student = self._student(number, labels)
        scores = [self._score(one) for one in (teacher, student)]
        replaced = not self.plan.keep_better or scores[1] >= scores[0]
        return Round(number, teacher, labels, pretrained, student, *scores, replaced)

    def _labels(self, number: int, teacher: Trained) -> PseudoLabelStore:
        """The teacher's labels of all unlabelled images, written where they are missing."""
        pipeline, plan = self.pipeline, self.plan
        images = pipeline.data.unlabelled
        first = pipeline.config(pipeline.profile.supervised, pipeline.profile.train_supervised)
        family = _Family(first, replace(plan, count=1), pipeline.profile.protocol)
        store = PseudoLabelStore(
            work_root() / "pseudo_labels" / fingerprint(family) / f"train_pseudoIt{number}",
            fingerprint(_Source(teacher.config, plan.selection, family.protocol)), images.names,
            len(pipeline.data.classes),
        )
        if incomplete(store):
            with PartialState().main_process_first():
                if not store.complete:  # the main process writes, the others find it written
                    self._write(store, teacher, images)
        return store

    def _write(self, store: PseudoLabelStore, teacher: Trained, images: ImageSet) -> None:
        everything = self._probabilities(teacher, images)
        thresholds = self.plan.selection.thresholds(everything, store.num_classes)
        store.write(
            lambda numbers: (
                select(one, thresholds)
                for one in self._probabilities(teacher, images.take(numbers))
            ),
            title=f"pseudo-labels for {len(images)} images",
        )

    def _probabilities(self, teacher: Trained, images: ImageSet) -> Iterator[torch.Tensor]:
        return predict_probabilities(teacher.method, images, self.pipeline.profile.protocol)

    def _student(self, number: int, labels: PseudoLabelStore) -> tuple[Trained, Trained]:
        """A fresh network, pretrained on the labels, and then fine-tuned on the masks."""
        pipeline, plan = self.pipeline, self.plan
        learnt = PseudoLabelConfig("pseudo-label", "pretrain", number, plan.ema_decay)
        pretrain = replace(pipeline.config(learnt, plan.pretrain, labels.source), draw=number)
        relabelled = pipeline.data.unlabelled.with_masks(labels.in_memory())
        pretrained = pipeline.train(pretrain, labelled=relabelled)
        tuned = replace(learnt, stage="fine-tune")
        finetune = pipeline.config(tuned, plan.finetune, starts_from=fingerprint(pretrain))
        student = pipeline.train(replace(finetune, draw=number), start=[pretrained])
        return pretrained, pipeline.chosen(student)

    def _score(self, trained: Trained) -> float:
        """mIoU in percent on the validation images."""
        key = fingerprint(trained.config)
        if key not in self._scores:
            self._scores[key] = self.pipeline.validation_score(trained.method)
        return self._scores[key]


@dataclass(frozen=True)
class _Family:
    """What all rounds of one plan share, and with it the folder of their labels."""

    first: RunConfig
    plan: RoundsConfig
    protocol: Protocol


@dataclass(frozen=True)
class _Source:
    """All that decides one round's labels."""

    teacher: RunConfig
    selection: Selection
    protocol: Protocol
