"""The profiles of small images that show one class each: the warm-up of pseudo-labelling.

The digits are 8x8 pixels and come with scikit-learn, so these run anywhere. Pixel accuracy is the
share of images that are right.
"""

from __future__ import annotations

from dataclasses import replace

from semiseg_lib.batches.data import DataConfig
from semiseg_lib.batches.options import THREE_BOXES, StrongConfig, ViewConfig
from semiseg_lib.methods import CPSConfig, FixMatchConfig, SupervisedConfig
from semiseg_lib.models import ModelConfig
from semiseg_lib.profiles import drawn, published
from semiseg_lib.profiles.profile import RoundsConfig
from semiseg_lib.training.loop import TrainConfig

_STRONG = StrongConfig(sigma=(0.1, 0.5))  # of 8 pixels, 2 would be a quarter of a digit


def _stages(
    train: TrainConfig, steps: int, images: int, rounds: int, pretrain: int, finetune: int,
    decay: float,
) -> dict:
    """The training of every stage; no image has a box, so some of it is never asked for.

    Args:
        train: how to learn.
        steps: of supervised training.
        images: of one step, labelled and unlabelled together.
        rounds: students of pseudo-labelling, each with its steps ``pretrain`` and ``finetune``.
        decay: of the moving averages.
    """
    alone = replace(train, batch_labelled=images, batch_unlabelled=0)
    half = replace(train, batch_labelled=images // 2, batch_unlabelled=images // 2)
    first, both = replace(alone, steps=steps), replace(half, steps=rounds * (pretrain + finetune))
    return {
        "train_supervised": first, "train_ancillary": first, "train_start": first,
        "train_primary": both, "train_unlabelled": both,
        "supervised": SupervisedConfig(ema_decay=decay),
        "rounds": RoundsConfig(
            count=rounds,
            pretrain=replace(alone, steps=pretrain),
            finetune=replace(alone, steps=finetune),
            ema_decay=decay,
        ),
        "unlabelled": {
            "fixmatch": FixMatchConfig(strong=_STRONG, ema_decay=decay),
            "cps": CPSConfig(weight=1.5, ema_decay=decay),
            "cutmix-cps": CPSConfig(weight=1.0, cutmix=THREE_BOXES, ema_decay=decay),
        },
    }


_DIGITS = replace(
    drawn.LAPTOP,
    purpose="digits of 8x8 pixels, in half a minute on one CPU core",
    data=DataConfig("digits", labelled=50),
    model=ModelConfig(architecture="classifier", encoder="test_resnet"),
    augment=ViewConfig(flip=0.0, shift=1, border="mirror"),
    **_stages(
        TrainConfig(log_every=10), steps=150, images=32, rounds=3, pretrain=150, finetune=50,
        decay=0.95,
    ),
)
SMOKE = {
    "digits": replace(
        _DIGITS,
        name="smoke",
        purpose="digits of 8x8 pixels; the tests run it, its scores mean nothing",
        judges=False,
        seeds=(11, 12),
        data=replace(_DIGITS.data, labelled=20, at_most=24),
        **_stages(
            TrainConfig(log_every=2), steps=4, images=8, rounds=2, pretrain=4, finetune=2,
            decay=0.95,
        ),
    ),
}

_CIFAR10 = replace(
    _DIGITS,
    purpose="CIFAR-10 on two CPU cores: a tiny network and few of the images",
    judges=False,
    data=DataConfig("cifar10", labelled=1_000, at_most=2_000),
    augment=ViewConfig(shift=4, border="mirror"),
    **_stages(
        TrainConfig(lr=5e-3, log_every=20), steps=200, images=32, rounds=3,
        pretrain=200, finetune=50, decay=0.95,
    ),
)
LAPTOP = {"digits": _DIGITS, "cifar10": _CIFAR10}

GPU = {
    "cifar10": replace(
        _CIFAR10,
        name="gpu",
        purpose="all of CIFAR-10 on one graphics card",
        data=replace(_CIFAR10.data, at_most=0),
        model=replace(_CIFAR10.model, encoder="resnet18"),
        **_stages(
            TrainConfig(lr=2e-3, precision="bf16", log_every=50, validate_every=500),
            steps=2_000, images=128, rounds=3, pretrain=4_000, finetune=1_000, decay=0.999,
        ),
    ),
}
PAPER = {"cifar10": published.RECIPES["pseudo-label"]["cifar10"]}
