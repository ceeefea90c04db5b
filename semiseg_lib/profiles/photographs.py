"""The profiles of real photographs, from a smoke test to a graphics card.

``PAPER`` is the published recipe of Self-Correcting Networks: where a value of it was published,
chapter 09 names the source; the rest is this book's. :mod:`semiseg_lib.profiles.published` has
those of the other systems.
"""

from __future__ import annotations

from dataclasses import replace

from semiseg_lib.batches.data import DataConfig
from semiseg_lib.batches.options import THREE_BOXES, ViewConfig
from semiseg_lib.evaluation.predict import Protocol
from semiseg_lib.methods import (
    AncillaryConfig,
    CACConfig,
    CPSConfig,
    ELNConfig,
    FixMatchConfig,
    MeanTeacherConfig,
    PrimaryConfig,
    S4MCConfig,
    SupervisedConfig,
)
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.models import ModelConfig
from semiseg_lib.profiles.profile import Profile, RoundsConfig
from semiseg_lib.training.loop import TrainConfig

ANIMALS = ("background", "cat", "cow", "dog", "horse", "person", "sheep")
"""The classes of VOC that its images of cats, cows, dogs, horses and sheep hold often enough."""

SGD = TrainConfig(
    optimizer="sgd", lr=0.007, weight_decay=4e-5, schedule="poly",
    lr_batch=16, log_every=50, checkpoint_seconds=120.0,
)
ADAM = TrainConfig(
    lr=1e-3, weight_decay=1e-2, schedule="poly", log_every=20, checkpoint_seconds=60.0,
)
_SHORT = replace(ADAM, lr=3e-3, precision="bf16")
COLOURS = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3}


def _stages(
    train: TrainConfig, steps: tuple[int, int, int, int], labelled: int, unlabelled: int
) -> dict[str, TrainConfig]:
    """The training of the four stages; those that learn from masks alone see as many images."""
    alone = replace(train, batch_labelled=labelled + unlabelled, batch_unlabelled=0)
    both = replace(train, batch_labelled=labelled, batch_unlabelled=unlabelled)
    return {
        "train_supervised": replace(alone, steps=steps[0]),
        "train_ancillary": replace(alone, steps=steps[1]),
        "train_start": replace(alone, steps=steps[2]),
        "train_primary": replace(both, steps=steps[3]),
    }


def _averaged(decay: float, until: float) -> dict:
    """The methods' options: their moving average, and when alpha has fallen to its end."""
    alpha = AlphaSchedule(start=30, end=0.5, until=until)
    return {
        "supervised": SupervisedConfig(ema_decay=decay),
        "ancillary": AncillaryConfig(ema_decay=decay),
        "primary": PrimaryConfig(alpha=alpha, ema_decay=decay),
    }


ERROR = ModelConfig(
    architecture="deeplab", encoder="tf_efficientnet_lite0", weights="package",
    decoder_width=64, encoder_lr=0.1,
)
"""ELN's error-localisation network, which like the others begins with pretrained weights."""


def _unlabelled(
    train: TrainConfig, steps: int, labelled: int, unlabelled: int, decay: float, rounds: int,
    error: ModelConfig = ERROR,
) -> dict:
    """Methods without boxes: each gets as many steps, with as many images, as the others.

    The students of pseudo-labelling share the steps; of its own, each spends a quarter on the
    masks.
    """
    alone = replace(train, batch_labelled=labelled + unlabelled, batch_unlabelled=0)
    own = steps // rounds
    return {
        "train_unlabelled": replace(
            train, steps=steps, batch_labelled=labelled, batch_unlabelled=unlabelled
        ),
        "unlabelled": {
            "fixmatch": FixMatchConfig(ema_decay=decay),
            "cps": CPSConfig(weight=1.5, ema_decay=decay),
            "cutmix-cps": CPSConfig(weight=1.0, cutmix=THREE_BOXES, ema_decay=decay),
            "cac": CACConfig(ema_decay=decay),
            "eln": ELNConfig(
                ratios=(2.0, 5.0), auxiliary_from=0.0, unlabelled_from=0.3, error=error,
                ema_decay=decay,
            ),
            "s4mc": S4MCConfig(ema_decay=decay),
            "cutmix-s4mc": S4MCConfig(strong=None, ema_decay=decay),
            "mean-teacher": MeanTeacherConfig(ema_decay=decay),
        },
        "rounds": RoundsConfig(
            count=rounds,
            pretrain=replace(alone, steps=own - own // 4),
            finetune=replace(alone, steps=own // 4),
            ema_decay=decay,
        ),
    }


def _profiles(
    base: Profile, data: dict[str, DataConfig], **changed: dict[str, dict]
) -> dict[str, Profile]:
    """One profile a dataset: the base with its images and what else it needs."""
    return {
        name: replace(base, data=config, **changed.get(name, {})) for name, config in data.items()
    }


_LAPTOP = Profile(
    name="laptop",
    purpose="real photographs on two CPU cores: small crops, few steps, one seed at a time",
    judges=False,
    seeds=(11, 12, 13),
    data=DataConfig("voc", labelled=100, unlabelled="sbd_extra", keep=ANIMALS, at_most=400),
    model=ModelConfig(
        architecture="deeplab", encoder="tf_efficientnet_lite0", weights="package",
        decoder_width=128, encoder_lr=0.1,
    ),
    augment=ViewConfig(crop=192, scale=(0.5, 1.2), **COLOURS),
    logits_bits=8,
    **_stages(_SHORT, steps=(160, 120, 80, 200), labelled=4, unlabelled=4),
    **_averaged(0.9, until=0.3),
    **_unlabelled(_SHORT, steps=100, labelled=4, unlabelled=4, decay=0.9, rounds=1),
)
_STREET = {
    "model": replace(_LAPTOP.model, architecture="swiftnet"),
    "augment": replace(_LAPTOP.augment, crop=160),
    "train_supervised": replace(_LAPTOP.train_supervised, steps=100),
}
_LAPTOP_DATA = {
    "voc": _LAPTOP.data,
    "camvid": DataConfig("camvid", labelled=46),
    "cityscapes": DataConfig("cityscapes", labelled=186),
    "folder": DataConfig("folder"),
}
LAPTOP = _profiles(_LAPTOP, _LAPTOP_DATA, camvid=_STREET)

_SMOKE = replace(
    _LAPTOP,
    name="smoke",
    purpose="real photographs in seconds; the tests run it, its scores mean nothing",
    seeds=(11, 12),
    model=replace(_LAPTOP.model, weights="", decoder_width=8),
    augment=ViewConfig(crop=48, scale=(0.5, 1.0), **COLOURS),
    **_stages(
        replace(ADAM, log_every=2, validate_every=2), steps=(4, 4, 4, 4), labelled=2, unlabelled=2
    ),
    **_unlabelled(
        replace(ADAM, log_every=2), steps=4, labelled=2, unlabelled=2, decay=0.9, rounds=1,
        error=replace(ERROR, weights="", decoder_width=8),
    ),
)
SMOKE = _profiles(
    _SMOKE,
    {
        name: replace(config, labelled=min(config.labelled, 16), at_most=3)
        for name, config in _LAPTOP_DATA.items()
    },
    camvid={"model": replace(_SMOKE.model, architecture="swiftnet")},
)

_LONG = replace(
    ADAM, precision="bf16", log_every=50, checkpoint_seconds=120, validate_every=1000
)
_GPU = replace(
    _LAPTOP,
    name="gpu",
    purpose="real photographs at full size on one graphics card",
    data=replace(_LAPTOP.data, labelled=200, at_most=0),
    model=replace(_LAPTOP.model, decoder_width=256),
    augment=ViewConfig(crop=320, scale=(0.5, 2.0), **COLOURS),
    **_stages(_LONG, steps=(4000, 3000, 2000, 6000), labelled=8, unlabelled=8),
    **_averaged(0.999, until=0.3),
    **_unlabelled(_LONG, steps=6000, labelled=8, unlabelled=8, decay=0.999, rounds=3),
)
_LARGE = replace(_GPU.model, encoder="resnet50", weights="hub")
GPU = _profiles(
    _GPU,
    {
        "voc": _GPU.data,
        "camvid": DataConfig("camvid", labelled=92),
        "cityscapes": DataConfig("cityscapes", labelled=372),
        "folder": DataConfig("folder"),
    },
    camvid={"model": replace(_GPU.model, architecture="swiftnet", decoder_width=128)},
    cityscapes={
        "model": _LARGE, "augment": replace(_GPU.augment, crop=720),
        "protocol": Protocol(window=1024),
    },
)

_PAPER = replace(
    _GPU,
    name="paper",
    purpose="the published recipe of Self-Correcting Networks",
    data=DataConfig("voc", labelled=1464),
    model=ModelConfig(
        architecture="deeplab", encoder="xception65.tf_in1k", weights="hub", encoder_lr=1.0,
    ),
    augment=ViewConfig(crop=513, scale=(0.5, 2.0)),
    **_stages(SGD, steps=(30_000, 30_000, 30_000, 30_000), labelled=8, unlabelled=8),
    **_averaged(0.0, until=1.0),
)
PAPER = _profiles(
    _PAPER,
    {"voc": _PAPER.data, "cityscapes": DataConfig("cityscapes", labelled=914)},
)
