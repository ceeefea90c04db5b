"""Arms: what one row of a study trains, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from semiseg_lib.batches.data import DataConfig
from semiseg_lib.batches.weak_view import ViewConfig
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
        dataset: whose profile it runs with.
        labelled: how many images have masks; None: as in the profile.
        data_options: options of the dataset that are not the profile's.
    """

    text: str
    stage: str
    options: Options = None
    method: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = "minivoc"
    labelled: int | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)

    def profile(self, profile: Profile) -> Profile:
        """Return the profile on this arm's images and boxes."""
        data = profile.data.with_options(**self.data_options)
        return replace(profile, data=replace(data, labelled=self.labelled or data.labelled))

    def options_in(self, profile: Profile) -> Options:
        """Return this arm's options under a profile, whose moving average a primary takes."""
        if self.method:
            return replace(profile.unlabelled[self.method], **self.changed)
        if not isinstance(self.options, PrimaryConfig | ConvPrimaryConfig):
            return self.options
        return replace(self.options, ema_decay=profile.primary.ema_decay)

    def fingerprint(self, profile: Profile) -> str:
        """Return ten digits that change with all that decides this arm's scores, the seed aside."""
        recipe = _Recipe.of(self.stage, self.options_in(profile), self.profile(profile))
        return fingerprint(recipe)


@dataclass(frozen=True)
class _Recipe:
    stage: str
    options: Options
    data: DataConfig
    model: ModelConfig
    augment: ViewConfig
    train_supervised: TrainConfig
    train_ancillary: TrainConfig
    train_primary: TrainConfig
    supervised: SupervisedConfig
    ancillary: AncillaryConfig
    train_start: TrainConfig | None = None
    protocol: Protocol = Protocol()
    train_unlabelled: TrainConfig | None = None
    rounds: RoundsConfig | None = None
    warm: bool = True

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
