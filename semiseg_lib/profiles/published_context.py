"""The published recipes of the methods that look at pixels in context: CAC, ELN and S4MC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from semiseg_lib.batches.data import DataConfig
from semiseg_lib.batches.options import CutMixConfig, ViewConfig
from semiseg_lib.evaluation.predict import Protocol
from semiseg_lib.methods import CACConfig, ELNConfig, S4MCConfig
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.models import ModelConfig
from semiseg_lib.profiles.photographs import PAPER
from semiseg_lib.profiles.profile import Profile
from semiseg_lib.profiles.published_shared import (
    BASE,
    CITYSCAPES,
    EIGHTH_OF_CITYSCAPES,
    EIGHTH_OF_TRAIN,
    EIGHTH_OF_TRAIN_AUG,
    TRAIN_AUG,
    in_pairs,
    steps,
)
from semiseg_lib.training.loop import TrainConfig

_VOC = DataConfig("voc", labelled=EIGHTH_OF_TRAIN_AUG, candidates="train_aug")
_CITYSCAPES = DataConfig("cityscapes", labelled=EIGHTH_OF_CITYSCAPES)

# Context-aware consistency. A crop is two thirds of a view: 320 of 480, 720 of 1,080. Where it
# differs: the published code resizes the long side, of unlabelled images to 0.8 and not to 0.5 of
# its base at least, and cuts two crops of the whole resized image, so that they may lie further
# apart than ours; takes the negatives of every crop and device, together all cells of a step; drops
# a tenth of the features before the classifier, where our pyramid drops half; dilates the last
# blocks of the encoder by 1, 2 and 4; and pads images for scoring by reflection.
_CAC_EPOCH = 1_157  # steps, written into the code whatever the dataset
_CAC = CACConfig(
    weight=0.1, temperature=0.1, threshold=0.75, start=5 / 80, crop=2 / 3, stride=8, overlap=0.1,
    negatives=6_400, bank=1, ema_decay=0.0,
)
_CAC_VOC = replace(
    PAPER["voc"], **BASE,
    purpose="the published recipe of context-aware consistency",
    data=_VOC,
    model=ModelConfig(
        architecture="deeplab", encoder="resnet50.tv_in1k", weights="hub", encoder_lr=0.1
    ),
    augment=ViewConfig(crop=480, scale=(0.4, 1.6)),  # of 500 pixels: a long side of 200 to 800
    train_unlabelled=TrainConfig(
        optimizer="sgd", lr=0.01, weight_decay=1e-4, schedule="poly", lr_batch=16,
        batch_labelled=8, batch_unlabelled=8, log_every=50, checkpoint_seconds=120,
        steps=80 * _CAC_EPOCH,
    ),
)
_CAC_CITYSCAPES = replace(
    _CAC_VOC,
    data=_CITYSCAPES,
    augment=ViewConfig(
        crop=1_080, scale=(0.5, 2.0), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1
    ),
    train_unlabelled=replace(_CAC_VOC.train_unlabelled, lr=0.1),
)

# Error localisation. Where it differs: the published code resizes every image of VOC to 505 x 505
# whatever its shape, to learn and to score, where ours keeps its shape and is padded; and cuts
# 512 x 1,024 of Cityscapes, of which our square has nearly as many pixels. An epoch ends after 266
# steps whatever the number of images. Its encoders dilate their last blocks by 1, 2 and 4; its
# decoders have dropout of their own, which the teacher's labels go without; its moving average
# takes in no batch statistics.
_ELN_EPOCH = 266
_ELN = ELNConfig(
    ratios=(20.0, 50.0), auxiliary_from=70 / 500, unlabelled_from=120 / 500,
    error=ModelConfig(
        architecture="deeplab", encoder="resnet34.tv_in1k", weights="hub", encoder_lr=0.1
    ),
    temperature=0.5, pixels=6 * 32 * 32, reset=_ELN_EPOCH, ema_decay=0.995,
)
_ELN_VOC = replace(
    _CAC_VOC,
    purpose="the published recipe of error localisation",
    augment=ViewConfig(crop=505, scale=(1.0, 1.0)),
    train_unlabelled=TrainConfig(
        optimizer="adamw", lr=1e-4, weight_decay=1e-5, schedule="constant", precision="fp16",
        lr_batch=12, batch_labelled=6, batch_unlabelled=6, log_every=50, checkpoint_seconds=120,
        steps=500 * _ELN_EPOCH,
    ),
)
_ELN_CITYSCAPES = replace(
    _ELN_VOC,
    data=_CITYSCAPES,
    augment=ViewConfig(crop=720, scale=(1.0, 1.0)),
    train_unlabelled=replace(
        _ELN_VOC.train_unlabelled, lr_batch=8, batch_labelled=4, batch_unlabelled=4
    ),
)

# S4MC. Its repository has two programs. One, with a configuration for VOC, is built on U2PL; as
# released it ends each epoch after one step, which is taken for a left-over. The other one, with a
# configuration for Cityscapes, is built on UniMatch and cannot run as released; it has no averaged
# teacher, lets the dropped share fall to 0.15 and not to 0, and halves the loss, so that rate and
# decay are half and twice as for UniMatch. The recipes have the method of the first one and each
# dataset's configuration. For Cityscapes, U2PL itself gives other values, among them an auxiliary
# loss on the encoder, which ours cannot express, nor U2PL's contrast, which S4MC's configuration
# keeps. Its encoders dilate their last blocks by 2, 2 and 4.
_HALF = CutMixConfig(chance=0.5, boxes=1, area=(0.5, 0.5), aspect=0.5)  # no side below a half
_S4MC = S4MCConfig(
    indicator="margin", neighbours=4, support=1, drop=0.4, start=1 / 80, cutmix=_HALF,
    indicator_of="mixed", by_kept=True, ema_decay=0.99,
)
_S4MC_ON_CITYSCAPES = replace(
    _S4MC, drop=0.25, start=0.0, hard=HardPixels(below=0.7, least=100_000)
)
_S4MC_VOC = replace(
    _CAC_VOC,
    purpose="the published recipe of S4MC",
    data=DataConfig("voc", labelled=EIGHTH_OF_TRAIN),
    model=ModelConfig(
        architecture="deeplab", encoder="resnet101s.gluon_in1k", weights="hub", encoder_lr=0.1,
        output_stride=8, rates=(12, 24, 36),
    ),
    augment=ViewConfig(crop=513, scale=(0.5, 2.0)),
    train_unlabelled=TrainConfig(
        optimizer="sgd", lr=0.01, weight_decay=1e-4, schedule="poly", lr_batch=8,
        batch_labelled=4, batch_unlabelled=4, log_every=50, checkpoint_seconds=120,
        steps=steps(80, TRAIN_AUG - EIGHTH_OF_TRAIN, 4),
    ),
)
_S4MC_CITYSCAPES = replace(
    _S4MC_VOC,
    data=_CITYSCAPES,
    model=replace(_S4MC_VOC.model, encoder_lr=1.0),
    augment=ViewConfig(crop=769, scale=(0.5, 2.0)),
    protocol=Protocol(window=769, overlap=1 / 3),
    train_unlabelled=replace(
        _S4MC_VOC.train_unlabelled, lr=0.005 / 2, weight_decay=2 * 1e-4, lr_batch=16,
        batch_labelled=8, batch_unlabelled=8,
        steps=steps(240, CITYSCAPES - EIGHTH_OF_CITYSCAPES, 8),
    ),
)


def _s4mc(name: str, voc: S4MCConfig, cityscapes: S4MCConfig) -> dict[str, Profile]:
    """On Cityscapes the baseline's loss is not halved: its rate and decay are as published."""
    street = in_pairs(name, _S4MC_CITYSCAPES, cityscapes)
    alone = replace(street.train_supervised, lr=0.005, weight_decay=1e-4)
    return {
        "voc": in_pairs(name, _S4MC_VOC, voc),
        "cityscapes": replace(street, train_supervised=alone),
    }


RECIPES: Mapping[str, Mapping[str, Profile]] = {
    "cac": {
        "voc": in_pairs("cac", _CAC_VOC, _CAC),
        "cityscapes": in_pairs("cac", _CAC_CITYSCAPES, replace(_CAC, negatives=16_200, bank=0)),
    },
    "eln": {
        "voc": in_pairs("eln", _ELN_VOC, _ELN),
        "cityscapes": in_pairs("eln", _ELN_CITYSCAPES, replace(
            _ELN, auxiliary_from=100 / 500, unlabelled_from=158 / 500, pixels=4 * 32 * 32
        )),
    },
    "s4mc": _s4mc("s4mc", _S4MC, _S4MC_ON_CITYSCAPES),
    "cutmix-s4mc": _s4mc(
        "cutmix-s4mc", replace(_S4MC, strong=None), replace(_S4MC_ON_CITYSCAPES, strong=None)
    ),
}
"""By method and by the dataset that they are for."""
