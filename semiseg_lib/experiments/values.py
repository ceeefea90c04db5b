"""Frozen values that describe results: a run, stored logits, stored pseudo-labels.

A value names everything that decides a result except the bytes of its images, which are added when
it is resolved (:mod:`semiseg_lib.experiments.identity`). What a value builds on is a value too, so
nothing has to be passed beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from semiseg_lib import methods
from semiseg_lib.batches.options import DataConfig, Rule, ViewConfig
from semiseg_lib.core.fingerprint import Configuration, Schema
from semiseg_lib.core.seeds import check_seed
from semiseg_lib.evaluation.options import WHOLE_IMAGE, Protocol
from semiseg_lib.methods import MethodConfig
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.models import ModelConfig
from semiseg_lib.recipes import Profile
from semiseg_lib.training.options import TrainConfig


class _Value(Configuration):
    """Base class of the values."""

    def parents(self) -> dict[str, Value]:
        """Return the values that this one builds on, by a stable name."""
        return {name.replace("_", " "): one for name, one in vars(self).items()
                if isinstance(one, Value)}


@dataclass(frozen=True)
class Run(_Value):
    """One training run.

    Attributes:
        method, train, model, views, data: the options of each part.
        seed: draws the labelled images, the initial weights and the batches.
        draw: selects other initial weights; 0 for those of the seed.
        masks: the masks to learn from: of the ``labelled`` images, of their ``first half``, of
            ``all`` images, hidden ones included, or pseudo-labels of the unlabelled images.
        labelled_logits, unlabelled_logits: stored logits that the method reads with these images.
        start: the runs whose last weights initialize this one, one per network; () for fresh
            weights.
        validation: the protocol of validation; None if ``train.validate_every`` is 0.
        stop: the steps after which it ends, a look at a training on its way: all schedules are
            still those of ``train.steps``. 0 for all steps.

    Raises:
        ValueError: validation is set without ``train.validate_every``, or missing with it;
            ``stop`` is not among the logged steps; or the seed is out of range.
    """

    SCHEMA = Schema(before={"stop": 0})

    method: MethodConfig
    train: TrainConfig
    model: ModelConfig
    views: ViewConfig
    data: DataConfig
    seed: int
    draw: int = 0
    masks: Literal["labelled", "first half", "all"] | PseudoLabels = "labelled"
    labelled_logits: Logits | None = None
    unlabelled_logits: Logits | MixedLogits | BoxLabels | None = None
    start: tuple[Run, ...] = ()
    validation: Protocol | None = None
    stop: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if (self.validation is not None) != (self.train.validate_every > 0):
            raise ValueError(
                "a run needs a protocol for its validation exactly if train.validate_every is "
                f"set; train.validate_every is {self.train.validate_every}, validation is "
                f"{self.validation}."
            )
        logged = range(self.train.log_every, self.train.steps + 1, self.train.log_every)
        if self.stop and self.stop not in logged:
            raise ValueError(
                f"stop of a run is {self.stop}; it must be a multiple of train.log_every, "
                f"{self.train.log_every}, and at most train.steps, {self.train.steps}."
            )
        for part in ("labelled", "unlabelled"):
            logits = getattr(self, f"{part}_logits")
            of = logits and part_of(logits)
            if of not in (None, part):
                raise ValueError(f"{part}_logits of a run are logits of the {of} images.")

    @classmethod
    def of(
        cls, profile: Profile, seed: int, method: MethodConfig, train: TrainConfig, **inputs: Any
    ) -> Run:
        """Return the run of a method with a profile's network, views and images.

        Args:
            profile: the numbers.
            seed: draws the labelled images, the initial weights and the batches.
            method: the method's options.
            train: the training options.
            inputs: further fields of a run.
        """
        return cls(
            method, train, profile.model, profile.augment, profile.data, seed,
            validation=profile.protocol if train.validate_every else None, **inputs,
        )

    @property
    def steps(self) -> int:
        """Return the number of optimizer steps."""
        return self.stop or self.train.steps

    @property
    def weights(self) -> Literal["last", "best"]:
        """Return which weights are deployed, the best ones of a validated run, else the last."""
        return "best" if self.validation else "last"

    def parents(self) -> dict[str, Value]:
        """Return the values that this one builds on, by a stable name."""
        starts = {f"start {number}": one for number, one in enumerate(self.start, 1)}
        return {**super().parents(), **starts}


@dataclass(frozen=True)
class Logits(_Value):
    """Stored logits of a run for every image of a part of its data.

    Attributes:
        run: the run that predicts them; its model reads box maps.
        part: the ``labelled`` images, or the ``unlabelled`` ones that have boxes.
        bits: bits per stored logit.
    """

    run: Run
    part: Literal["labelled", "unlabelled"] = "unlabelled"
    bits: Literal[8, 16] = 16


@dataclass(frozen=True)
class MixedLogits(_Value):
    """Stored linear correction of a finished run's logits by the ancillary's.

    Attributes:
        primary: the finished run, which reads no boxes: a primary, or one on masks alone.
        ancillary: the stored logits that it is mixed with; they set the images.
        alpha: the weight of the ancillary's logits, >= 0.
        bits: bits per stored logit.
    """

    primary: Run
    ancillary: Logits
    alpha: float
    bits: Literal[8, 16] = 16


@dataclass(frozen=True)
class BoxLabels(_Value):
    """Stored labels of the unlabelled images with boxes, drawn by a rule that learns nothing.

    Attributes:
        run: the run whose images they are, and whose network's resolution they have. It is not
            trained for them.
        rule: how a box becomes a label; see :mod:`semiseg_lib.batches.box_labels`.
        sure: the probability of the drawn class, in (0, 1).
        bits: bits per stored logit.

    Raises:
        ValueError: ``sure`` is not in (0, 1).
    """

    run: Run
    rule: Rule = "grabcut"
    sure: float = 0.9
    bits: Literal[8, 16] = 16

    def __post_init__(self) -> None:
        if not 0 < self.sure < 1:
            raise ValueError(f"sure is {self.sure}; it must be in (0, 1).")

    def parents(self) -> dict[str, Value]:
        """Return {}: the labels build on images and boxes alone."""
        return {}


@dataclass(frozen=True)
class PseudoLabels(_Value):
    """Stored labels of all unlabelled images by a teacher.

    Attributes:
        teacher: the run that predicts them, with its best weights if it was validated.
        selection: the rule that selects the pixels to keep.
        number: the round, counted from 1.
        protocol: how the teacher predicts.
    """

    teacher: Run
    selection: Selection
    number: int = 1
    protocol: Protocol = WHOLE_IMAGE


Value: TypeAlias = Run | Logits | MixedLogits | BoxLabels | PseudoLabels
"""What can be resolved."""

V = TypeVar("V", bound=Value)


def part_of(labels: Logits | MixedLogits | BoxLabels | PseudoLabels) -> str:
    """Return which images stored labels are of: ``labelled`` or ``unlabelled`` ones."""
    if isinstance(labels, BoxLabels | PseudoLabels):
        return "unlabelled"
    return labels.part if isinstance(labels, Logits) else labels.ancillary.part


def runs_behind(value: Value) -> Iterator[Run]:
    """Yield every run that a value depends on, once, parents first; a run itself comes last."""
    seen: list[Run] = []

    def visit(one: Value) -> Iterator[Run]:
        for parent in one.parents().values():
            yield from visit(parent)
        if isinstance(one, Run) and one not in seen:
            seen.append(one)
            yield one

    yield from visit(value)


def fresh_networks(run: Run) -> int:
    """Return the number of networks that a run trains from fresh weights."""
    return max(methods.method_class(run.method).networks - len(run.start), 0)


def networks_trained(run: Run) -> int:
    """Return the number of networks trained from fresh weights to make a run."""
    return sum(map(fresh_networks, runs_behind(run)))
