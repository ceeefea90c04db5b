"""The profiles of the drawn images: what the first chapters run."""

from __future__ import annotations

from dataclasses import replace

from semiseg_lib.batches.data import DataConfig
from semiseg_lib.batches.options import THREE_BOXES, StrongConfig, ViewConfig
from semiseg_lib.datasets.minivoc import Sizes
from semiseg_lib.methods import (
    CACConfig,
    CPSConfig,
    ELNConfig,
    FixMatchConfig,
    MeanTeacherConfig,
    PrimaryConfig,
    S4MCConfig,
)
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.models import ModelConfig
from semiseg_lib.profiles.profile import Profile, RoundsConfig
from semiseg_lib.training.loop import TrainConfig

STRONG = StrongConfig(sigma=(0.1, 1.0))  # of 64 pixels, 2 would be a tenth of an object
CROPS = CACConfig(crop=0.75, stride=4, negatives=256)
CROPS = replace(CROPS, strong=replace(CROPS.strong, sigma=STRONG.sigma))

LAPTOP = Profile(
    name="laptop",
    purpose="minutes on two CPU cores; the outputs printed in the book",
    judges=True,
    seeds=(11, 12, 13),
    data=DataConfig("minivoc", labelled=24),
    model=ModelConfig(),
    augment=ViewConfig(
        shift=8, border="mirror", brightness=0.3, contrast=0.3, saturation=0.3
    ),
    train_supervised=TrainConfig(steps=600, batch_labelled=12, batch_unlabelled=0),
    train_ancillary=TrainConfig(steps=400, batch_labelled=12, batch_unlabelled=0),
    train_primary=TrainConfig(steps=1000, batch_labelled=4, batch_unlabelled=8),
    train_start=TrainConfig(steps=400, batch_labelled=12, batch_unlabelled=0),
    primary=PrimaryConfig(alpha=AlphaSchedule(start=30, end=0.5, until=0.3)),
    train_unlabelled=TrainConfig(steps=1000, batch_labelled=4, batch_unlabelled=8),
    unlabelled={
        "fixmatch": FixMatchConfig(strong=STRONG, threshold=0.8),
        "cps": CPSConfig(weight=1.5),
        "cutmix-cps": CPSConfig(weight=1.0, cutmix=THREE_BOXES),
        "cac": CROPS,
        "eln": ELNConfig(ratios=(2.0, 5.0), auxiliary_from=0.0, unlabelled_from=0.3),
        "s4mc": S4MCConfig(strong=STRONG),
        "cutmix-s4mc": S4MCConfig(strong=None),
        "mean-teacher": MeanTeacherConfig(strong=STRONG),
    },
    rounds=RoundsConfig(
        count=2,
        pretrain=TrainConfig(steps=400, batch_labelled=12, batch_unlabelled=0),
        finetune=TrainConfig(steps=100, batch_labelled=12, batch_unlabelled=0),
    ),
)

SMOKE = replace(
    LAPTOP,
    name="smoke",
    purpose="seconds; the tests run it, its scores mean nothing",
    judges=False,
    seeds=(11, 12),
    data=DataConfig("minivoc", labelled=8).with_options(
        sizes=Sizes(labelled=24, unlabelled=16, val=16, test=16)
    ),
    model=ModelConfig(width=4),
    train_supervised=TrainConfig(steps=6, batch_labelled=4, batch_unlabelled=0, log_every=2),
    train_ancillary=TrainConfig(steps=6, batch_labelled=4, batch_unlabelled=0, log_every=2),
    train_primary=TrainConfig(steps=6, batch_labelled=2, batch_unlabelled=2, log_every=2),
    train_start=TrainConfig(steps=6, batch_labelled=4, batch_unlabelled=0, log_every=2),
    train_unlabelled=TrainConfig(steps=6, batch_labelled=2, batch_unlabelled=2, log_every=2),
    rounds=RoundsConfig(
        count=2,
        pretrain=TrainConfig(steps=4, batch_labelled=4, batch_unlabelled=0, log_every=2),
        finetune=TrainConfig(steps=2, batch_labelled=4, batch_unlabelled=0, log_every=2),
    ),
)
