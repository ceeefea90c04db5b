"""The published recipes of pseudo-labelling, cross pseudo supervision and UniMatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from semiseg_lib.batches.data import DataConfig
from semiseg_lib.batches.options import THREE_BOXES, ViewConfig
from semiseg_lib.evaluation.predict import Protocol
from semiseg_lib.methods import CPSConfig, FixMatchConfig
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.models import ModelConfig
from semiseg_lib.profiles.photographs import PAPER
from semiseg_lib.profiles.profile import Profile, RoundsConfig
from semiseg_lib.profiles.published_shared import (
    BASE,
    CITYSCAPES,
    EIGHTH_OF_CITYSCAPES,
    EIGHTH_OF_TRAIN,
    EIGHTH_OF_TRAIN_AUG,
    TRAIN_AUG,
    broken_off,
    in_pairs,
    steps,
)
from semiseg_lib.training.loop import TrainConfig

VIDEO_FRAMES = 18_000
"""Assumed: the frames of CamVid's sequences 0006R0 and 0016E5, ten minutes at 30 a second.

No source at hand gives their number. By the numbers of the labelled frames it is over 12,570.
"""

# Pseudo-labelling. Where it differs: the published code lets Adam keep its moments from the
# pseudo-labels to the masks, normalises with constants of its own, draws the view's size and not
# the image's scale evenly, and pads with those constants' colour.
_THESIS = TrainConfig(
    optimizer="adam", lr=4e-3, lr_end=1e-5, weight_decay=1e-4, schedule="cosine",
    batch_labelled=12, batch_unlabelled=0, log_every=50, checkpoint_seconds=120,
    steps=steps(400, 367, 12, keep_last=True), validate_every=steps(10, 367, 12, keep_last=True),
)
_STUDENT = replace(_THESIS, lr=1e-4, lr_end=0.0, weight_decay=0.0)
_CAMVID = replace(
    PAPER["voc"], **BASE,
    purpose="the published recipe of iterated pseudo-labelling with SwiftNet",
    data=DataConfig("camvid", unlabelled="frames").with_options(recipe="exact"),
    model=ModelConfig(
        architecture="swiftnet", encoder="resnet18", weights="hub", decoder_width=128,
        pyramid_momentum=0.005,
    ),
    augment=ViewConfig(crop=448, scale=(0.5, 2.0)),
    train_supervised=_THESIS,
    rounds=RoundsConfig(
        count=3,
        pretrain=replace(
            _STUDENT, schedule="constant", validate_every=0,
            steps=steps(100, VIDEO_FRAMES, 12, keep_last=True),
        ),
        finetune=replace(
            _STUDENT, lr_end=broken_off(1e-4, 1e-6, epochs=200, wave=300),
            steps=steps(200, 367, 12, keep_last=True),
        ),
        keep_better=False,
        ema_decay=0.0,
    ),
)

# The same on CIFAR-10. Where it differs: the published code chooses and scores on the test
# images, and labels views instead of images; here 5,000 of train are held out to choose on.
_SGD = TrainConfig(
    optimizer="sgd", lr=0.01, weight_decay=5e-4, schedule="cosine",
    batch_labelled=128, batch_unlabelled=0, log_every=50,
    lr_end=broken_off(0.01, 0.0, epochs=120, wave=200),
    steps=steps(120, 1_000, 128, keep_last=True),
    validate_every=steps(1, 1_000, 128, keep_last=True),
)
_CIFAR10 = replace(
    _CAMVID,
    purpose="the published recipe of iterated pseudo-labelling on whole images",
    data=DataConfig("cifar10", labelled=1_000),
    model=ModelConfig(architecture="classifier", encoder="resnet18"),
    augment=ViewConfig(shift=4, border="mirror"),
    train_supervised=_SGD,
    rounds=replace(
        _CAMVID.rounds,
        pretrain=replace(
            _SGD, schedule="constant", lr_end=0.0, validate_every=0,
            steps=steps(60, 49_000, 128, keep_last=True),
        ),
        finetune=replace(
            _SGD, lr_end=broken_off(0.01, 0.0, epochs=150, wave=200),
            steps=steps(150, 1_000, 128, keep_last=True),
        ),
    ),
)


# Cross pseudo supervision. Where it differs: the published code draws scales from 0.5, 0.75, 1,
# 1.5, 1.75, 2; lets padding into the cross loss; mixes with a second batch of unlabelled images;
# and decays neither biases nor batch norms. Its script's rate is for
# 8 + 8 images, whatever the number of devices.
_CPS_TRAIN = TrainConfig(
    optimizer="sgd", lr=0.0025, weight_decay=1e-4, schedule="poly", lr_batch=16,
    batch_labelled=8, batch_unlabelled=8, log_every=50, checkpoint_seconds=120,
    steps=steps(34, TRAIN_AUG - EIGHTH_OF_TRAIN_AUG, 8),
)
_CPS_VOC = replace(
    PAPER["voc"], **BASE,
    purpose="the published recipe of cross pseudo supervision",
    data=DataConfig("voc", labelled=EIGHTH_OF_TRAIN_AUG, candidates="train_aug"),
    model=ModelConfig(
        architecture="deeplab", encoder="resnet50s.gluon_in1k", weights="hub", rates=(12, 24, 36)
    ),
    augment=ViewConfig(crop=512, scale=(0.5, 2.0)),
    protocol=Protocol(window=512, overlap=1 / 3),
    train_unlabelled=_CPS_TRAIN,
)
_CPS_CITYSCAPES = replace(
    _CPS_VOC,
    data=DataConfig("cityscapes", labelled=EIGHTH_OF_CITYSCAPES),
    augment=ViewConfig(crop=800, scale=(0.5, 2.0)),
    protocol=Protocol(window=800, overlap=1 / 3),
    train_unlabelled=replace(
        _CPS_TRAIN, lr=0.02, steps=steps(137, CITYSCAPES - EIGHTH_OF_CITYSCAPES, 8)
    ),
)
_HARD = HardPixels(below=0.7, least=50_000)


def _cps(name: str, voc: CPSConfig, cityscapes: CPSConfig) -> dict[str, Profile]:
    return {
        "voc": in_pairs(name, _CPS_VOC, voc),
        "cityscapes": in_pairs(name, _CPS_CITYSCAPES, cityscapes),
    }


# UniMatch, version 1. It halves the whole loss, labelled part and all; ours is not halved. With SGD
# half the rate and twice the decay are the same step: lr (g/2 + d w) = lr/2 (g + 2 d w). Where it
# differs: the published code labels the mixed-in images in evaluation mode and the others in
# training mode, ours all in evaluation mode; ours passes strong views and labelled images through
# the network together, so that they share batch statistics; and its best epoch on val is what it
# reports.
_UNIMATCH = FixMatchConfig(threshold=0.95, views=2, feature_dropout=0.5, ema_decay=0.0)
_UNIMATCH_TRAIN = replace(
    _CPS_TRAIN, lr=0.01 / 2, weight_decay=2 * 1e-4,  # of the heads; the encoder has a tenth
    steps=steps(80, TRAIN_AUG - EIGHTH_OF_TRAIN, 8),
)
_UNIMATCH_VOC = replace(
    _CPS_VOC,
    purpose="the published recipe of UniMatch, version 1",
    data=DataConfig("voc", labelled=EIGHTH_OF_TRAIN),
    model=replace(_CPS_VOC.model, encoder="resnet101s.gluon_in1k", encoder_lr=0.1, rates=()),
    augment=ViewConfig(crop=321, scale=(0.5, 2.0)),
    protocol=Protocol(),
    train_unlabelled=_UNIMATCH_TRAIN,
)
_UNIMATCH_CITYSCAPES = replace(
    _UNIMATCH_VOC,
    data=_CPS_CITYSCAPES.data,
    model=replace(_UNIMATCH_VOC.model, encoder_lr=1.0),
    augment=ViewConfig(crop=801, scale=(0.5, 2.0)),
    protocol=Protocol(window=801, overlap=1 / 3),
    train_unlabelled=replace(
        _UNIMATCH_TRAIN, lr=0.005 / 2, steps=steps(240, CITYSCAPES - EIGHTH_OF_CITYSCAPES, 8)
    ),
)


def _unimatch(profile: Profile, options: FixMatchConfig) -> Profile:
    """Its baseline's loss is not halved, so that has the rate and the decay as published."""
    recipe = in_pairs("fixmatch", profile, options)
    alone = recipe.train_supervised
    alone = replace(alone, lr=2 * alone.lr, weight_decay=alone.weight_decay / 2)
    return replace(recipe, train_supervised=alone)


RECIPES: Mapping[str, Mapping[str, Profile]] = {
    "pseudo-label": {"camvid": _CAMVID, "cifar10": _CIFAR10},
    "cps": _cps(
        "cps", CPSConfig(weight=1.5, ema_decay=0.0),
        CPSConfig(weight=6.0, ema_decay=0.0, hard=_HARD),
    ),
    "cutmix-cps": _cps(
        "cutmix-cps", CPSConfig(weight=1.0, cutmix=THREE_BOXES, ema_decay=0.0),
        CPSConfig(weight=5.0, cutmix=THREE_BOXES, ema_decay=0.0, hard=_HARD),
    ),
    "fixmatch": {
        "voc": _unimatch(_UNIMATCH_VOC, _UNIMATCH),
        "cityscapes": _unimatch(
            _UNIMATCH_CITYSCAPES,
            replace(_UNIMATCH, threshold=0.0, hard=HardPixels(below=0.7, least=100_000)),
        ),
    },
}
"""By method and by the dataset that they are for."""
