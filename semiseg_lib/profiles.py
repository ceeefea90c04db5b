"""Profiles: the same code, other numbers. A profile is data; nothing branches on its name."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from semiseg_lib.datasets.augment import AugmentConfig
from semiseg_lib.datasets.catalogue import DataConfig
from semiseg_lib.datasets.minivoc import Sizes
from semiseg_lib.methods import AncillaryConfig, PrimaryConfig, SupervisedConfig
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.models import ModelConfig
from semiseg_lib.train import TrainConfig


@dataclass(frozen=True)
class Profile:
    """Everything that a run of the book is made of.

    Attributes:
        name: what it is called.
        purpose: who it is for, in a line.
        judges: whether its runs are long enough for the book's claims to be checked.
        seeds: the seeds that the chapters report; not the ones that anything was tuned on.
        data, model, augment: shared by all stages.
        train_supervised, train_ancillary, train_primary: the training of each stage.
        supervised, ancillary, primary: the options of each stage's method.
    """

    name: str
    purpose: str
    judges: bool
    seeds: tuple[int, ...]
    data: DataConfig
    model: ModelConfig
    augment: AugmentConfig
    train_supervised: TrainConfig
    train_ancillary: TrainConfig
    train_primary: TrainConfig
    supervised: SupervisedConfig = SupervisedConfig()
    ancillary: AncillaryConfig = AncillaryConfig()
    primary: PrimaryConfig = PrimaryConfig()

    def in_world(self, world: str) -> Profile:
        """The same profile on the pictures of another mini-VOC world."""
        return replace(self, data=replace(self.data, world=world))


LAPTOP = Profile(
    name="laptop",
    purpose="minutes on two CPU cores; the outputs printed in the book",
    judges=True,
    seeds=(11, 12, 13),
    data=DataConfig(world="hurried", labelled=24),
    model=ModelConfig(),
    augment=AugmentConfig(),
    train_supervised=TrainConfig(steps=600, batch_labelled=12, batch_weak=0),
    train_ancillary=TrainConfig(steps=400, batch_labelled=12, batch_weak=0),
    train_primary=TrainConfig(steps=1000, batch_labelled=4, batch_weak=8),
    primary=PrimaryConfig(alpha=AlphaSchedule(start=30, end=0.5, until=0.3)),
)

SMOKE = replace(
    LAPTOP,
    name="smoke",
    purpose="seconds; the tests run it, its scores mean nothing",
    judges=False,
    seeds=(11, 12),
    data=DataConfig(
        world="hurried", labelled=8, sizes=Sizes(labelled=24, weak=16, val=16, test=16)
    ),
    model=ModelConfig(width=4),
    train_supervised=TrainConfig(steps=6, batch_labelled=4, batch_weak=0, log_every=2),
    train_ancillary=TrainConfig(steps=6, batch_labelled=4, batch_weak=0, log_every=2),
    train_primary=TrainConfig(steps=6, batch_labelled=2, batch_weak=2, log_every=2),
)

PROFILES = {profile.name: profile for profile in (SMOKE, LAPTOP)}


def load(name: str | None = None) -> Profile:
    """The profile of that name; None asks ``SEMISEG_PROFILE``, and failing that means laptop.

    Raises:
        ValueError: there is no such profile.
    """
    name = name or os.environ.get("SEMISEG_PROFILE") or "laptop"
    if name not in PROFILES:
        raise ValueError(f"there is no profile {name!r}; there are {', '.join(PROFILES)}.")
    return PROFILES[name]
