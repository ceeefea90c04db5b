"""The recipes of the systems without boxes are the published ones, or say where they are not."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from semiseg_lib import methods, profiles
from semiseg_lib.batches.part import Part
from semiseg_lib.core.fingerprint import fingerprint
from semiseg_lib.datasets.camvid import CAMVID_CLASSES
from semiseg_lib.datasets.cityscapes import CITYSCAPES_CLASSES
from semiseg_lib.datasets.voc import VOC_CLASSES
from semiseg_lib.methods import PseudoLabelConfig
from semiseg_lib.methods.cac.crop_pairs import draw_pair
from semiseg_lib.notebook import published
from semiseg_lib.profiles.published_shared import broken_off, steps
from semiseg_lib.training import optimizer as optimisers

RECIPES = [(method, dataset) for method, of in profiles.RECIPES.items() for dataset in of]
CLASSES = {"voc": len(VOC_CLASSES), "cityscapes": len(CITYSCAPES_CLASSES),
           "camvid": len(CAMVID_CLASSES), "cifar10": 10}


@pytest.mark.parametrize("method, dataset", RECIPES)
def test_a_recipe_without_boxes_follows_what_was_published(method, dataset):
    paper = profiles.load("paper", dataset, method)
    assert paper.name == "paper" and paper.data.dataset == dataset and not paper.warm
    assert set(paper.unlabelled) == {method} - {"pseudo-label"}
    lines = published.recipe(method, dataset)
    assert len({line.setting for line in lines}) == len(lines) >= 20
    for line in lines:
        assert line.followed_by(paper) or line.source == "none", line
    assert paper.supervised.ema_decay == 0


# Typed a second time, from the sources. Of the recipes that are alike but for few values, the
# first has all; 200 epochs of a cosine over 300 end at 1e-6 + 99e-6 / 4.
TYPED = {
    ("pseudo-label", "camvid"): {
        "train_supervised.lr": 4e-3, "train_supervised.lr_end": 1e-5, "augment.crop": 448,
        "train_supervised.weight_decay": 1e-4, "train_supervised.steps": 400 * 31,
        "rounds.pretrain.lr": 1e-4, "rounds.finetune.lr_end": 25.75e-6, "rounds.keep_better": False,
        "rounds.finetune.steps": 200 * 31, "model.decoder_width": 128, "rounds.count": 3,
        "rounds.selection.keep": "all", "data.unlabelled": "frames",
        "model.pyramid_momentum": 0.005,
    },
    ("pseudo-label", "cifar10"): {
        "data.labelled": 1000, "train_supervised.lr": 0.01, "train_supervised.steps": 120 * 8,
        "rounds.pretrain.steps": 60 * 383, "rounds.finetune.steps": 150 * 8,
        "train_supervised.weight_decay": 5e-4, "augment.shift": 4,
    },
    ("cps", "voc"): {
        "unlabelled.cps.weight": 1.5, "train_unlabelled.learning_rate": 0.0025,
        "train_unlabelled.steps": 34 * 1157, "augment.crop": 512, "data.labelled": 1323,
        "train_unlabelled.weight_decay": 1e-4, "data.candidates": "train_aug",
    },
    ("cps", "cityscapes"): {
        "unlabelled.cps.weight": 6, "train_unlabelled.learning_rate": 0.02, "augment.crop": 800,
        "train_unlabelled.steps": 137 * 325, "unlabelled.cps.hard.least": 50_000,
        "data.labelled": 372, "protocol.window": 800, "protocol.overlap": 1 / 3,
    },
    ("cutmix-cps", "voc"): {"unlabelled.cutmix-cps.weight": 1, "unlabelled.cutmix-cps.cutmix.boxes":
                            3, "train_unlabelled.steps": 34 * 1157},
    ("cutmix-cps", "cityscapes"): {"unlabelled.cutmix-cps.weight": 5},
    ("fixmatch", "voc"): {
        "unlabelled.fixmatch.threshold": 0.95, "augment.crop": 321, "model.encoder_lr": 0.1,
        "train_unlabelled.steps": 80 * 1299, "unlabelled.fixmatch.feature_dropout": 0.5,
        "unlabelled.fixmatch.views": 2, "train_unlabelled.learning_rate": 0.005,
    },
    ("fixmatch", "cityscapes"): {
        "unlabelled.fixmatch.threshold": 0, "augment.crop": 801, "model.encoder_lr": 1,
        "train_unlabelled.steps": 240 * 325, "train_unlabelled.learning_rate": 0.0025,
        "train_unlabelled.weight_decay": 2e-4,
    },
    ("cac", "voc"): {
        "unlabelled.cac.temperature": 0.1, "unlabelled.cac.threshold": 0.75,
        "unlabelled.cac.weight": 0.1, "unlabelled.cac.negatives": 6400, "unlabelled.cac.bank": 1,
        "unlabelled.cac.start": 1 / 16, "train_unlabelled.steps": 80 * 1157,
        "train_unlabelled.learning_rate": 0.01, "model.encoder_lr": 0.1, "data.labelled": 1323,
        "train_unlabelled.weight_decay": 1e-4, "unlabelled.cac.stride": 8,
    },
    ("cac", "cityscapes"): {
        "unlabelled.cac.negatives": 16_200, "unlabelled.cac.bank": 0, "data.labelled": 372,
        "train_unlabelled.learning_rate": 0.1, "train_unlabelled.steps": 80 * 1157,
    },
    ("eln", "voc"): {
        "unlabelled.eln.reset": 266, "unlabelled.eln.ema_decay": 0.995, "model.encoder_lr": 0.1,
        "unlabelled.eln.auxiliary_from": 0.14, "unlabelled.eln.unlabelled_from": 0.24,
        "unlabelled.eln.temperature": 0.5, "train_unlabelled.steps": 500 * 266,
        "train_unlabelled.learning_rate": 1e-4, "train_unlabelled.weight_decay": 1e-5,
        "train_unlabelled.schedule": "constant", "train_unlabelled.batch_unlabelled": 6,
    },
    ("eln", "cityscapes"): {
        "unlabelled.eln.auxiliary_from": 0.2, "unlabelled.eln.unlabelled_from": 0.316,
        "train_unlabelled.batch_labelled": 4,
    },
    ("s4mc", "voc"): {
        "unlabelled.s4mc.drop": 0.4, "unlabelled.s4mc.ema_decay": 0.99, "augment.crop": 513,
        "unlabelled.s4mc.beta": math.exp(-0.5), "unlabelled.s4mc.start": 1 / 80,
        "model.output_stride": 8, "train_unlabelled.steps": 80 * 2599, "model.encoder_lr": 0.1,
        "train_unlabelled.learning_rate": 0.01, "train_unlabelled.weight_decay": 1e-4,
    },
    ("s4mc", "cityscapes"): {
        "augment.crop": 769, "train_unlabelled.steps": 240 * 325, "unlabelled.s4mc.drop": 0.25,
        "train_unlabelled.learning_rate": 0.0025, "train_unlabelled.weight_decay": 2e-4,
        "unlabelled.s4mc.hard.least": 100_000, "protocol.window": 769, "model.encoder_lr": 1,
    },
    ("cutmix-s4mc", "voc"): {"unlabelled.cutmix-s4mc.drop": 0.4, "model.output_stride": 8},
    ("cutmix-s4mc", "cityscapes"): {"unlabelled.cutmix-s4mc.hard.below": 0.7},
}


@pytest.mark.parametrize("method, dataset", RECIPES)
def test_the_published_values_are_in_the_tables_without_boxes(method, dataset):
    lines = {line.setting: line.value for line in published.recipe(method, dataset)}
    for setting, value in TYPED[method, dataset].items():
        same = lines[setting] == value if isinstance(value, str) else math.isclose(
            lines[setting], value, rel_tol=1e-5)
        assert same, setting


@pytest.mark.parametrize("method, dataset", RECIPES)
def test_every_recipe_builds_its_method(method, dataset):
    """Without weights and without memory; its crop passes, and its networks are as published."""
    paper = profiles.load("paper", dataset, method)
    options = paper.unlabelled.get(method, PseudoLabelConfig(ema_decay=paper.rounds.ema_decay))
    if method == "eln":
        options = replace(options, error=replace(options.error, weights=""))
    with torch.device("meta"):
        built = methods.build(options, replace(paper.model, weights=""), CLASSES[dataset])
        side = paper.augment.crop or 32
        logits = built.eval()(torch.empty(1, 3, side, side))
    assert logits.shape == (1, CLASSES[dataset], side, side)
    assert built.networks == (2 if "cps" in method else 1)
    train = paper.rounds.pretrain if method == "pseudo-label" else paper.train_unlabelled
    assert ("unlabelled" in built.learns_from) == (train.batch_unlabelled > 0)
    scales = {group["lr_scale"] for group in built.parameter_groups()}
    assert scales == ({0.1, 1} if paper.model.encoder_lr == 0.1 else {1})


def test_halved_rate_and_doubled_decay_are_the_step_of_the_halved_loss():
    """Two weights, ten steps with momentum: (x - 1) ** 2 halved and as it is, in double."""
    train = profiles.load("paper", "voc", "fixmatch").train_unlabelled
    assert (train.learning_rate, train.weight_decay) == (0.005, 2e-4)
    street = profiles.load("paper", "cityscapes", "s4mc")
    assert street.train_unlabelled.weight_decay == 2e-4
    assert street.train_supervised.learning_rate == 2 * street.train_unlabelled.learning_rate

    def trained(half: float, lr: float, decay: float) -> torch.Tensor:
        weight = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr, momentum=0.9, weight_decay=decay)
        for _ in range(10):
            optimizer.zero_grad()
            (half * (weight - 1) ** 2).sum().backward()
            optimizer.step()
        return weight.detach()

    ours = trained(1.0, train.learning_rate, train.weight_decay)
    torch.testing.assert_close(ours, trained(0.5, 0.01, 1e-4), rtol=1e-12, atol=0)
    assert not torch.allclose(ours, trained(0.5, 0.01, 2e-4), rtol=1e-7)


def test_a_cosine_that_is_broken_off_ends_where_torchs_does():
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 1e-4)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=300, eta_min=1e-6)
    rates = []
    for _ in range(200):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    end = optimizer.param_groups[0]["lr"]
    finetune = profiles.load("paper", "camvid", "pseudo-label").rounds.finetune
    assert finetune.lr_end == pytest.approx(end, rel=1e-9) == broken_off(1e-4, 1e-6, 200, 300)
    curve = optimisers.learning_rate_curve(finetune)
    gaps = [rate - 1e-4 * curve(epoch * 31) for epoch, rate in enumerate(rates)]
    assert min(gaps) > -1e-12 and 0.14e-4 < max(gaps) < 0.15e-4  # as its docstring says


def test_epochs_become_steps():
    assert (steps(2, 25, 12), steps(2, 25, 12, keep_last=True)) == (4, 6)
    assert steps(3, 24, 12) == steps(3, 24, 12, keep_last=True) == 6


def test_a_recipe_that_was_not_published_names_those_that_were():
    with pytest.raises(ValueError, match=r"no recipe of cps .* 'camvid'.* voc, cityscapes"):
        profiles.load("paper", "camvid", "cps")
    with pytest.raises(ValueError, match=r"pseudo-label .* for camvid, cifar10"):
        profiles.load("paper", "voc", "pseudo-label")
    with pytest.raises(ValueError, match="no recipe of cps"):
        published.recipe("cps", "camvid")
    with pytest.raises(ValueError, match="no recipe of mean-teacher"):
        published.recipe("mean-teacher", "voc")


def test_only_the_published_profile_asks_for_the_method():
    laptop = profiles.load("laptop", "camvid")
    assert profiles.load("laptop", "camvid", "pseudo-label") is laptop
    assert profiles.load("paper", "voc", "primary") is profiles.load("paper", "voc")
    recipes = [profiles.load("paper", dataset, method) for method, dataset in RECIPES]
    assert len({fingerprint(one) for one in recipes}) == len(recipes)


def test_a_value_that_only_stands_for_the_published_one_is_marked():
    paper = profiles.load("paper", "voc", "fixmatch")
    rows = {row["hyper-parameter"]: row[""]
            for row in published.recipe_rows(paper, published.recipe("fixmatch", "voc"))}
    assert rows["learning rate"].startswith("differs: half") and rows["crop"] == "as published"


@pytest.mark.parametrize("dataset, side", [("voc", 320), ("cityscapes", 720)])
def test_the_crops_of_context_aware_consistency_are_as_large_as_published(dataset, side):
    paper = profiles.load("paper", dataset, "cac")
    options, view = paper.unlabelled["cac"], paper.augment.crop
    images = torch.empty(2, 3, view, view, device="meta")
    pair = draw_pair(images, options.crop, options.stride, np.random.default_rng(0))
    for crops in pair:
        assert crops.cut(Part(("a", "b"), images)).images.shape[-2:] == (side, side)
