"""Arms: what one row of a study trains, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from semiseg_lib.datasets.augment import AugmentConfig
from semiseg_lib.datasets.catalogue import DataConfig
from semiseg_lib.datasets.crop import CropConfig
from semiseg_lib.datasets.minivoc import BoxStyle
from semiseg_lib.datasets.photo_data import PhotoConfig
from semiseg_lib.inference import Protocol
from semiseg_lib.methods import (
    AncillaryConfig,
    ConvPrimaryConfig,
    PrimaryConfig,
    SupervisedConfig,
    UnlabelledConfig,
)
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.models import ModelConfig
from semiseg_lib.options import added
from semiseg_lib.profiles import Profile
from semiseg_lib.profiles.profile import RoundsConfig
from semiseg_lib.runs import fingerprint
from semiseg_lib.train import TrainConfig

Options = PrimaryConfig | ConvPrimaryConfig | UnlabelledConfig | Selection | None

WITHOUT_BOXES = ("unlabelled", "longer", "longer, strong views")
"""Stages that train as :mod:`semiseg_lib.unlabelled` does."""


@dataclass(frozen=True)
class Arm:
    """One way of doing it.

    Attributes:
        text: what is done, for tables.
        stage: what is trained and scored, a key of ``SCORES``.
        options: the primary's options, or which pseudo-labels are kept, for stages that read them.
        method: a method without boxes, by its name in the profile, for stages that read it.
        changed: options of this method that are not the profile's.
        world: the mini-VOC world.
        labelled_boxes, unlabelled_boxes: how boxes are drawn, where not as the world says.
        labelled: how many images have masks; None: as in the profile.
    """

    text: str
    stage: str
    options: Options = None
    method: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict)
    world: str = "hurried"
    labelled_boxes: BoxStyle | None = None
    unlabelled_boxes: BoxStyle | None = None
    labelled: int | None = None

    def profile(self, profile: Profile) -> Profile:
        """The profile on this arm's images and boxes."""
        data = replace(
            profile.data,
            world=self.world, labelled_boxes=self.labelled_boxes, unlabelled_boxes=self.unlabelled_boxes,
            labelled=self.labelled or profile.data.labelled,
        )
        return replace(profile, data=data)

    def options_in(self, profile: Profile) -> Options:
        """This arm's own options, or its method's under a profile, with its changes."""
        if self.method:
            return replace(profile.unlabelled[self.method], **self.changed)
        return self.options

    def fingerprint(self, profile: Profile) -> str:
        """Changes with everything that decides this arm's scores, the seed aside."""
        return _fingerprint(self, profile)


@dataclass(frozen=True)
class PhotoArm:
    """One way of doing it on real photographs.

    Attributes:
        text: what is done, for tables.
        stage: what is trained and scored, a key of ``SCORES``.
        labelled: how many images have masks.
        options: the primary's options, or which pseudo-labels are kept, for stages that read them.
        method: a method without boxes, by its name in the profile, for stages that read it.
        dataset: whose profile it runs with.
    """

    text: str
    stage: str
    labelled: int
    options: Options = None
    method: str = ""
    dataset: str = "voc"

    def profile(self, profile: Profile) -> Profile:
        """The profile with this many labelled images."""
        return replace(profile, data=replace(profile.data, labelled=self.labelled))

    def options_in(self, profile: Profile) -> Options:
        """The options under a profile, whose moving average a primary takes."""
        if self.method:
            return profile.unlabelled[self.method]
        if not isinstance(self.options, PrimaryConfig | ConvPrimaryConfig):
            return self.options
        return replace(self.options, ema_decay=profile.primary.ema_decay)

    def fingerprint(self, profile: Profile) -> str:
        """Changes with everything that decides this arm's scores, the seed aside."""
        return _fingerprint(self, profile)


def _fingerprint(arm: Arm | PhotoArm, profile: Profile) -> str:
    recipe = _Recipe.of(arm.stage, arm.options_in(profile), arm.profile(profile))
    return fingerprint(recipe)


@dataclass(frozen=True)
class _Recipe:
    stage: str
    options: Options
    data: DataConfig | PhotoConfig
    model: ModelConfig
    augment: AugmentConfig | CropConfig
    train_supervised: TrainConfig
    train_ancillary: TrainConfig
    train_primary: TrainConfig
    supervised: SupervisedConfig
    ancillary: AncillaryConfig
    train_start: TrainConfig | None = added(None)
    protocol: Protocol = added(Protocol())
    train_unlabelled: TrainConfig | None = added(None)
    rounds: RoundsConfig | None = added(None)
    warm: bool = added(True)

    @staticmethod
    def of(stage: str, options: Options, chosen: Profile) -> _Recipe:
        starts = isinstance(options, ConvPrimaryConfig) or stage == "warm primary"
        return _Recipe(
            stage, options, chosen.data, chosen.model, chosen.augment,
            chosen.train_supervised, chosen.train_ancillary, chosen.train_primary,
            chosen.supervised, chosen.ancillary,
            chosen.train_start if starts else None, chosen.protocol,
            chosen.train_unlabelled if stage in WITHOUT_BOXES else None,
            chosen.rounds if stage == "rounds" else None,
            chosen.warm if stage in WITHOUT_BOXES else True,
        )
