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


@dataclass(frozen=True)
class Common:
    """What most commands take.

    Attributes:
        profile: smoke, laptop, gpu or paper; unset: SEMISEG_PROFILE, else laptop.
        dataset: minivoc (drawn), voc, cityscapes, camvid, folder (your own images); to classify
            small ones: digits, cifar10; or one that another package registers.
        root: the folder that holds the dataset; unset: SEMISEG_DATA.
        world: the mini-VOC world; unset: the profile's.
        labelled: how many images have masks; unset: as in the profile.
        published: a published list of the labelled images (a file).
        steps: steps of every training; unset: as in the profile.
        seed: draws the labelled images, the initial weights and the batches.
        device: cpu, or unset for the best there is.
        workers: processes that read images ahead; 0 reads them in between the steps.
        trackers: tensorboard, wandb ...: where the losses are shown while a run goes on.
    """

    profile: str | None = None
    dataset: str = "minivoc"
    root: Path | None = None
    world: Literal["tight", "hurried"] | None = None
    labelled: int | None = None
    published: Path | None = None
    steps: int | None = None
    seed: int = 0
    device: Literal["cpu"] | None = None
    workers: int = 0
    trackers: tuple[str, ...] = ()

    @property
    def machine(self) -> Machine:
        """What to compute on."""
        return Machine(self.device, self.root, self.workers, self.trackers)

    def chosen(self, method: str = "") -> Profile:
        """Return the profile with the changes that these flags describe.

        Args:
            method: what is trained, so that no other system's recipe is taken; "" if nothing is.
        """
        chosen = recipes.load(self.profile, self.dataset, method)
        data = chosen.data
        if self.labelled is not None:
            data = replace(data, labelled=self.labelled)
        if self.published is not None:
            data = replace(data, published=self.published.as_posix())
        chosen = replace(chosen, data=data)
        if self.world is not None:
            chosen = chosen.in_world(self.world)
        if self.steps is not None:
            trainings = {name: replace(one, steps=self.steps) for name, one in vars(chosen).items()
                         if isinstance(one, TrainConfig)}
            chosen = replace(chosen, **trainings)
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
        device: cpu, or unset for the best there is.
        root: the folder that holds the dataset; unset: SEMISEG_DATA.
        workers: processes that read images ahead; 0 reads them in between the steps.
        trackers: tensorboard, wandb ...: where the losses are shown while the run goes on.
        resume: load a finished run, or continue an interrupted one; --no-resume trains it anew.
    """

    method: Options
    train: TrainConfig
    data: DataConfig
    model: ModelConfig
    augment: ViewConfig
    seed: int = 0
    device: Literal["cpu"] | None = None
    root: Path | None = None
    workers: int = 0
    trackers: tuple[str, ...] = ()
    resume: bool = True

    @property
    def machine(self) -> Machine:
        """What to compute on."""
        return Machine(self.device, self.root, self.workers, self.trackers)


CommonFlags = Annotated[Common, tyro.conf.arg(name="")]
ProtocolFlags = Annotated[Protocol, tyro.conf.arg(name="")]
