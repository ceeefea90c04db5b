"""What a profile is: everything that a run of the book is made of, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from semiseg_lib.datasets.augment import AugmentConfig
from semiseg_lib.datasets.catalogue import DataConfig
from semiseg_lib.datasets.crop import CropConfig
from semiseg_lib.datasets.photo_data import PhotoConfig
from semiseg_lib.inference import Protocol
from semiseg_lib.methods import (
    AncillaryConfig,
    ConvPrimaryConfig,
    PrimaryConfig,
    SupervisedConfig,
)
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
        train_start: the start of convolutional self-correction, on the labelled pictures.
        supervised, ancillary, primary: the options of each stage's method.
        protocol: how pictures are predicted when they are scored.
    """

    name: str
    purpose: str
    judges: bool
    seeds: tuple[int, ...]
    data: DataConfig | PhotoConfig
    model: ModelConfig
    augment: AugmentConfig | CropConfig
    train_supervised: TrainConfig
    train_ancillary: TrainConfig
    train_primary: TrainConfig
    train_start: TrainConfig
    supervised: SupervisedConfig = SupervisedConfig()
    ancillary: AncillaryConfig = AncillaryConfig()
    primary: PrimaryConfig | ConvPrimaryConfig = PrimaryConfig()
    protocol: Protocol = Protocol()

    def in_world(self, world: str) -> Profile:
        """The same profile on the pictures of another mini-VOC world.

        Raises:
            ValueError: its pictures are photographs.
        """
        if not isinstance(self.data, DataConfig):
            raise ValueError(f"the pictures of {self.data.dataset} come from no mini-VOC world.")
        return replace(self, data=replace(self.data, world=world))
