"""The flags of the commands: dataclasses that tyro turns into command-line options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Generic, Literal, TypeVar

import tyro

from semiseg_lib import profiles
from semiseg_lib.datasets.augment import AugmentConfig
from semiseg_lib.datasets.catalogue import DataConfig
from semiseg_lib.models import ModelConfig
from semiseg_lib.stages import Pipeline
from semiseg_lib.train import TrainConfig

Options = TypeVar("Options")


@dataclass(frozen=True)
class Common:
    """What most commands take.

    Attributes:
        profile: smoke, laptop ...; unset: SEMISEG_PROFILE, else laptop.
        world: the mini-VOC world; unset: the profile's.
        labelled: how many pictures have masks; unset: as in the profile.
        steps: steps of every training; unset: as in the profile.
        seed: draws the labelled pictures, the initial weights and the batches.
        device: cpu, or unset for the best there is.
    """

    profile: str | None = None
    world: Literal["tight", "hurried"] | None = None
    labelled: int | None = None
    steps: int | None = None
    seed: int = 0
    device: Literal["cpu"] | None = None

    def pipeline(self) -> Pipeline:
        """The stages that these flags describe."""
        chosen = profiles.load(self.profile)
        data = chosen.data
        labelled = data.labelled if self.labelled is None else self.labelled
        data = replace(data, world=self.world or data.world, labelled=labelled)
        chosen = replace(chosen, data=data)
        if self.steps is not None:
            stages = ("train_supervised", "train_ancillary", "train_primary")
            chosen = replace(
                chosen, **{s: replace(getattr(chosen, s), steps=self.steps) for s in stages}
            )
        return Pipeline(chosen, self.seed, self.device)


@dataclass(frozen=True)
class TrainFlags(Generic[Options]):
    """One training run, flag by flag.

    Attributes:
        method: the options of the method.
        train: how long and how fast.
        data: which pictures.
        model: which network.
        augment: how views differ from their pictures.
        seed: draws the labelled pictures, the initial weights and the batches.
        device: cpu, or unset for the best there is.
    """

    method: Options
    train: TrainConfig
    data: DataConfig
    model: ModelConfig
    augment: AugmentConfig
    seed: int = 0
    device: Literal["cpu"] | None = None


CommonFlags = Annotated[Common, tyro.conf.arg(name="")]
