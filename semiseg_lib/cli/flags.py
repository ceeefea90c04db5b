"""The flags of the commands: dataclasses that tyro turns into command-line options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import tyro

from semiseg_lib import recipes
from semiseg_lib.batches.data import DataConfig
from semiseg_lib.batches.options import ViewConfig
from semiseg_lib.evaluation.predict import Protocol
from semiseg_lib.experiments import Machine
from semiseg_lib.models import ModelConfig
from semiseg_lib.recipes import Profile
from semiseg_lib.training.loop import TrainConfig

Options = TypeVar("Options")
MachineFlags = Annotated[Machine, tyro.conf.arg(name="")]
STAGES = ("train_supervised", "train_ancillary", "train_start", "train_primary")


@dataclass(frozen=True)
class Common:
    """What most commands take.

    Attributes:
        profile: smoke, laptop, gpu or paper; unset: SEMISEG_PROFILE, else laptop.
        dataset: minivoc (drawn), voc, cityscapes, camvid, folder (your own images); to classify
            small ones: digits, cifar10; or one that another package registers.
        world: the mini-VOC world; unset: the profile's.
        labelled: how many images have masks; unset: as in the profile.
        published: a published list of the labelled images (a file).
        steps: steps of every training; unset: as in the profile.
        seed: draws the labelled images, the initial weights and the batches.
        machine: what to compute on.
    """

    profile: str | None = None
    dataset: str = "minivoc"
    world: Literal["tight", "hurried"] | None = None
    labelled: int | None = None
    published: Path | None = None
    steps: int | None = None
    seed: int = 0
    machine: MachineFlags = Machine()

    def chosen(self, method: str = "") -> Profile:
        """Return the profile with the changes that these flags describe.

        Args:
            method: what is trained, so that no other system's recipe is taken; "" if nothing is.
        """
        chosen = recipes.load(self.profile, self.dataset, method)
        published = self.published and self.published.as_posix()
        changed = {"labelled": self.labelled, "published": published}
        data = replace(chosen.data, **{k: v for k, v in changed.items() if v is not None})
        chosen = replace(chosen, data=data)
        if self.world is not None:
            chosen = chosen.in_world(self.world)
        if self.steps is not None:
            chosen = replace(
                chosen, **{s: replace(getattr(chosen, s), steps=self.steps) for s in STAGES}
            )
        return chosen


@dataclass(frozen=True)
class TrainFlags(Generic[Options]):
    """One training run, flag by flag.

    Attributes:
        method: the options of the method.
        train: how long and how fast.
        data: which images.
        model: which network.
        augment: how views differ from their images.
        seed: draws the labelled images, the initial weights and the batches.
        machine: what to compute on.
        resume: load a finished run, or continue an interrupted one; --no-resume trains it anew.
    """

    method: Options
    train: TrainConfig
    data: DataConfig
    model: ModelConfig
    augment: ViewConfig
    seed: int = 0
    machine: MachineFlags = Machine()
    resume: bool = True


CommonFlags = Annotated[Common, tyro.conf.arg(name="")]
ProtocolFlags = Annotated[Protocol, tyro.conf.arg(name="")]
