"""What a profile is: everything that a run of the book is made of, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from semiseg_lib.batches.options import DataConfig, ViewConfig
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.evaluation.options import Protocol
from semiseg_lib.methods import (
    AncillaryConfig,
    ConvPrimaryConfig,
    MethodConfig,
    PrimaryConfig,
    SupervisedConfig,
)
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.models import ModelConfig
from semiseg_lib.training.options import TrainConfig


@dataclass(frozen=True)
class RoundsConfig(Configuration):
    """Options of iterated pseudo-labelling.

    Attributes:
        count: how many students there are, one after the other.
        selection: which pixels of a teacher's label its student learns.
        keep_better: a student that is worse than its teacher on the validation images does not
            teach; False lets it, as published.
        pretrain: the student's training on pseudo-labels.
        finetune: its training on the masks that follows.
        ema_decay: decay of the students' moving average.
    """

    pretrain: TrainConfig
    finetune: TrainConfig
    count: int = 1
    selection: Selection = Selection()
    keep_better: bool = True
    ema_decay: float = 0.99

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"rounds.count is {self.count}; it must be at least 1.")


@dataclass(frozen=True)
class Profile(Configuration):
    """Everything that a run of the book is made of.

    Attributes:
        name: what it is called.
        purpose: who it is for, in a line.
        asserts_claims: whether its runs are long enough for the book's claims to be checked.
        seeds: the seeds that the chapters report; not the ones that anything was tuned on.
        data, model, augment: shared by all stages.
        train_supervised, train_ancillary, train_primary: the training of each stage.
        train_start: the start of convolutional self-correction, on the labelled images.
        train_unlabelled: the training of methods that learn from unlabelled images.
        rounds: iterated pseudo-labelling, and the training of its students.
        supervised, ancillary, primary, conv_primary: the options of each stage's method.
        protocol: how images are predicted when they are scored.
        unlabelled: the options of methods that learn from unlabelled images, by the names that
            commands know them by.
        logits_bits: bits of a stored ancillary logit; 8 take half the space of 16.
        warm: these start with the weights of the supervised run; else with fresh ones.
    """

    name: str
    purpose: str
    asserts_claims: bool
    seeds: tuple[int, ...]
    data: DataConfig
    model: ModelConfig
    augment: ViewConfig
    train_supervised: TrainConfig
    train_ancillary: TrainConfig
    train_primary: TrainConfig
    train_start: TrainConfig
    train_unlabelled: TrainConfig
    rounds: RoundsConfig
    supervised: SupervisedConfig = SupervisedConfig()
    ancillary: AncillaryConfig = AncillaryConfig()
    primary: PrimaryConfig | ConvPrimaryConfig = PrimaryConfig()
    conv_primary: ConvPrimaryConfig = ConvPrimaryConfig()
    protocol: Protocol = Protocol()
    unlabelled: Mapping[str, MethodConfig] = field(default_factory=dict)
    logits_bits: Literal[8, 16] = 16
    warm: bool = True

    def in_world(self, world: str) -> Profile:
        """Return the same profile on the images of another mini-VOC world.

        Args:
            world: ``harder`` or ``hurried``.

        Raises:
            ValueError: its dataset has no worlds.
        """
        return replace(self, data=self.data.with_options(world=world))
