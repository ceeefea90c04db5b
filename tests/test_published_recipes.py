"""The recipes of the profile `paper` are the published ones, or say where they are not."""

import math
from dataclasses import replace

import jupytext
import numpy as np
import pytest
import torch

from semiseg_lib import methods, recipes
from semiseg_lib.batches.part import Part
from semiseg_lib.core.fingerprint import fingerprint
from semiseg_lib.datasets.camvid import CAMVID_CLASSES
from semiseg_lib.datasets.cityscapes import CITYSCAPES_CLASSES
from semiseg_lib.datasets.voc import VOC_CLASSES
from semiseg_lib.methods import PseudoLabelConfig
from semiseg_lib.methods.cac.crop_pairs import draw_pair
from semiseg_lib.notebook import published
from semiseg_lib.training import optimizer as optimisers

ALL = [(method, one.profile.data.dataset)
       for one in recipes.of("paper") for method in one.methods]
RECIPES = [(method, dataset) for method, dataset in ALL
           if method not in ("ancillary", "primary", "conv-primary")]
CORRECTION = ("voc", "cityscapes")
CLASSES = {"voc": len(VOC_CLASSES), "cityscapes": len(CITYSCAPES_CLASSES),
           "camvid": len(CAMVID_CLASSES), "cifar10": 10}


def steps(epochs: int, images: int, batch: int, keep_last: bool = False) -> int:
    """Return the steps of so many passes, whose incomplete batches are left out or kept."""
    return epochs * (math.ceil(images / batch) if keep_last else images // batch)


def broken_off(lr: float, lr_end: float, epochs: int, wave: int) -> float:
    """Return where a cosine from ``lr`` to ``lr_end`` over ``wave`` epochs stands before its end.

    Published schedules that stop there stay high for long. Ours falls to the same rate along half a
    wave of its own: it starts and ends as theirs do, and is up to 15 % of ``lr`` lower in between.
    """
    return lr_end + (lr - lr_end) * (1 + math.cos(math.pi * epochs / wave)) / 2


@pytest.mark.parametrize("method, dataset", ALL)
def test_a_recipe_says_where_its_values_are_from_and_what_it_does_not_reproduce(method, dataset):
    found = recipes.find("paper", dataset, method)
    assert found.profile is recipes.load("paper", dataset, method)
    assert found.profile.name == "paper" and found.profile.data.dataset == dataset
    assert found.differs and all(one.endswith(".") for one in found.differs)
    assert found.code.startswith("https://github.com/") or method in methods_of_the_storyline()
    lines = published.recipe(method, dataset)
    assert len({line.setting for line in lines}) == len(lines) >= 17
    for line in lines:
        assert line.followed_by(found.profile) or not line.source, line
        assert line.source in ("", *recipes.SOURCES)
    assert found.profile.supervised.ema_decay == 0
    table = published.recipe_table(method, dataset)
    assert len(table) == len(lines) + len(found.differs)
    assert "DIFFERS" not in {row[""] for row in table}
    assert [row[""] for row in table[len(lines):]] == [f"differs: {one}" for one in found.differs]


def methods_of_the_storyline() -> tuple[str, ...]:
    return recipes.find("paper", "voc", "primary").methods


@pytest.mark.parametrize("method, dataset", RECIPES)
def test_a_recipe_without_boxes_begins_with_fresh_weights(method, dataset):
    paper = recipes.load("paper", dataset, method)
    assert not paper.warm and (method == "pseudo-label" or method in paper.unlabelled)


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
        "unlabelled.cps.weight": 1.5, "train_unlabelled.lr": 0.0025,
        "train_unlabelled.steps": 34 * 1157, "augment.crop": 512, "data.labelled": 1323,
        "train_unlabelled.weight_decay": 1e-4, "data.candidates": "train_aug",
        "model.rates": [6, 12, 18],
    },
    ("cps", "cityscapes"): {
        "unlabelled.cps.weight": 6, "train_unlabelled.lr": 0.02, "augment.crop": 800,
        "train_unlabelled.steps": 137 * 325, "unlabelled.cps.hard.least": 50_000,
        "data.labelled": 372, "protocol.window": 800, "protocol.overlap": 1 / 3,
        "model.rates": [6, 12, 18],
    },
    ("cutmix-cps", "voc"): {"unlabelled.cutmix-cps.weight": 1, "unlabelled.cutmix-cps.cutmix.boxes":
                            3, "train_unlabelled.steps": 34 * 1157,
                            "model.rates": [6, 12, 18]},
    ("cutmix-cps", "cityscapes"): {"unlabelled.cutmix-cps.weight": 5},
    ("fixmatch", "voc"): {
        "unlabelled.fixmatch.threshold": 0.95, "augment.crop": 321, "model.encoder_lr": 0.1,
        "train_unlabelled.steps": 80 * 1299, "unlabelled.fixmatch.feature_dropout": 0.5,
        "unlabelled.fixmatch.views": 2, "train_unlabelled.lr": 0.005,
    },
    ("fixmatch", "cityscapes"): {
        "unlabelled.fixmatch.threshold": 0, "augment.crop": 801, "model.encoder_lr": 1,
        "train_unlabelled.steps": 240 * 325, "train_unlabelled.lr": 0.0025,
        "train_unlabelled.weight_decay": 2e-4,
    },
    ("cac", "voc"): {
        "unlabelled.cac.temperature": 0.1, "unlabelled.cac.threshold": 0.75,
        "unlabelled.cac.weight": 0.1, "unlabelled.cac.negatives": 6400, "unlabelled.cac.bank": 1,
        "unlabelled.cac.start": 1 / 16, "train_unlabelled.steps": 80 * 1157,
        "train_unlabelled.lr": 0.01, "model.encoder_lr": 0.1, "data.labelled": 1323,
        "train_unlabelled.weight_decay": 1e-4, "unlabelled.cac.stride": 8,
    },
    ("cac", "cityscapes"): {
        "unlabelled.cac.negatives": 16_200, "unlabelled.cac.bank": 0, "data.labelled": 372,
        "train_unlabelled.lr": 0.1, "train_unlabelled.steps": 80 * 1157,
    },
    ("eln", "voc"): {
        "unlabelled.eln.reset": 266, "unlabelled.eln.ema_decay": 0.995, "model.encoder_lr": 0.1,
        "unlabelled.eln.auxiliary_from": 0.14, "unlabelled.eln.unlabelled_from": 0.24,
        "unlabelled.eln.temperature": 0.5, "train_unlabelled.steps": 500 * 266,
        "train_unlabelled.lr": 1e-4, "train_unlabelled.weight_decay": 1e-5,
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
        "train_unlabelled.lr": 0.01, "train_unlabelled.weight_decay": 1e-4,
    },
    ("s4mc", "cityscapes"): {
        "augment.crop": 769, "train_unlabelled.steps": 240 * 325, "unlabelled.s4mc.drop": 0.25,
        "train_unlabelled.lr": 0.0025, "train_unlabelled.weight_decay": 2e-4,
        "unlabelled.s4mc.hard.least": 100_000, "protocol.window": 769, "model.encoder_lr": 1,
    },
    ("cutmix-s4mc", "voc"): {"unlabelled.cutmix-s4mc.drop": 0.4, "model.output_stride": 8},
    ("cutmix-s4mc", "cityscapes"): {"unlabelled.cutmix-s4mc.hard.below": 0.7},
}


@pytest.mark.parametrize("method, dataset", RECIPES)
def test_the_published_values_are_in_the_tables_without_boxes(method, dataset):
    lines = {line.setting: line.value for line in published.recipe(method, dataset)}
    for setting, value in TYPED[method, dataset].items():
        same = lines[setting] == value if isinstance(value, str | list) else math.isclose(
            lines[setting], value, rel_tol=1e-5)
        assert same, setting


@pytest.mark.parametrize("method, dataset", RECIPES)
def test_every_recipe_builds_its_method(method, dataset):
    """Without weights and without memory; its crop passes, and its networks are as published."""
    paper = recipes.load("paper", dataset, method)
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
    assert ("unlabelled" in built.learns_from(options)) == (train.batch_unlabelled > 0)
    scales = {group["lr_scale"] for group in built.parameter_groups()}
    assert scales == ({0.1, 1} if paper.model.encoder_lr == 0.1 else {1})


def test_halved_rate_and_doubled_decay_are_the_step_of_the_halved_loss():
    """Two weights, ten steps with momentum: (x - 1) ** 2 halved and as it is, in double."""
    train = recipes.load("paper", "voc", "fixmatch").train_unlabelled
    assert (train.learning_rate, train.weight_decay) == (0.005, 2e-4)
    street = recipes.load("paper", "cityscapes", "s4mc")
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
    finetune = recipes.load("paper", "camvid", "pseudo-label").rounds.finetune
    assert finetune.lr_end == pytest.approx(end, rel=1e-9) == broken_off(1e-4, 1e-6, 200, 300)
    curve = optimisers.learning_rate_curve(finetune)
    gaps = [rate - 1e-4 * curve(epoch * 31) for epoch, rate in enumerate(rates)]
    assert min(gaps) > -1e-12 and 0.14e-4 < max(gaps) < 0.15e-4  # as its docstring says


def test_epochs_become_steps():
    """Counted on the images that the system had: the unlabelled ones, or CamVid's and CIFAR-10's.

    No source gives the number of CamVid's video frames, 0006R0 and 0016E5, ten minutes at 30 a
    second: 18,000 are assumed. By the numbers of the labelled frames it is over 12,570.
    """
    assert (steps(2, 25, 12), steps(2, 25, 12, keep_last=True)) == (4, 6)
    assert steps(3, 24, 12) == steps(3, 24, 12, keep_last=True) == 6

    def trained(method: str, dataset: str) -> int:
        return recipes.load("paper", dataset, method).train_unlabelled.steps

    assert trained("cps", "voc") == steps(34, 10_582 - 1_323, 8)
    assert trained("cps", "cityscapes") == steps(137, 2_975 - 372, 8)
    assert trained("fixmatch", "voc") == steps(80, 10_582 - 183, 8)
    assert trained("s4mc", "voc") == steps(80, 10_582 - 183, 4)
    assert trained("fixmatch", "cityscapes") == trained("s4mc", "cityscapes")
    assert trained("s4mc", "cityscapes") == steps(240, 2_975 - 372, 8)
    camvid = recipes.load("paper", "camvid", "pseudo-label")
    assert camvid.train_supervised.steps == steps(400, 367, 12, keep_last=True)
    assert camvid.rounds.pretrain.steps == steps(100, 18_000, 12, keep_last=True)
    assert camvid.rounds.finetune.steps == steps(200, 367, 12, keep_last=True)
    cifar10 = recipes.load("paper", "cifar10", "pseudo-label")
    assert cifar10.train_supervised.steps == steps(120, 1_000, 128, keep_last=True)
    assert cifar10.rounds.pretrain.steps == steps(60, 49_000, 128, keep_last=True)
    for train, epochs in ((cifar10.train_supervised, 120), (cifar10.rounds.finetune, 150)):
        assert train.lr_end == pytest.approx(broken_off(0.01, 0, epochs, 200), rel=1e-9)


def test_a_recipe_that_was_not_published_names_those_that_were():
    with pytest.raises(ValueError, match=r"no recipe of cps for 'camvid'.* cps for city.*, voc"):
        recipes.load("paper", "camvid", "cps")
    with pytest.raises(ValueError, match=r"pseudo-label for camvid, cifar10"):
        recipes.load("paper", "voc", "pseudo-label")
    with pytest.raises(ValueError, match="no recipe of cps"):
        published.recipe("cps", "camvid")
    with pytest.raises(ValueError, match="no recipe of mean-teacher"):
        published.recipe("mean-teacher", "voc")


def test_only_the_published_profile_asks_for_the_method():
    laptop = recipes.load("laptop", "camvid")
    assert recipes.load("laptop", "camvid", "pseudo-label") is laptop
    assert recipes.load("paper", "voc", "primary") is recipes.load("paper", "voc")
    files = [one.profile for one in recipes.of("paper")]
    assert len({fingerprint(one) for one in files}) == len(files)


def test_a_value_that_only_stands_for_the_published_one_is_marked():
    paper = recipes.load("paper", "voc", "fixmatch")
    rows = {row["hyper-parameter"]: row[""]
            for row in published.recipe_rows(paper, published.recipe("fixmatch", "voc"))}
    assert rows["train_unlabelled.lr"].startswith("differs: half")
    assert rows["augment.crop"] == "as published"


@pytest.mark.parametrize("dataset, side", [("voc", 320), ("cityscapes", 720)])
def test_the_crops_of_context_aware_consistency_are_as_large_as_published(dataset, side):
    paper = recipes.load("paper", dataset, "cac")
    options, view = paper.unlabelled["cac"], paper.augment.crop
    images = torch.empty(2, 3, view, view, device="meta")
    pair = draw_pair(images, options.crop, options.stride, np.random.default_rng(0))
    for crops in pair:
        assert crops.cut(Part(("a", "b"), images)).images.shape[-2:] == (side, side)


def test_the_values_of_self_correction_that_the_book_relies_on_are_in_the_table():
    """Typed a second time, from the sources: a slip in the file is no slip here."""
    values = {line.setting: line.value for line in published.recipe()}
    assert values["train_primary.lr"] == 0.007 and values["train_primary.schedule"] == "poly"
    assert (values["primary.alpha.start"], values["primary.alpha.end"]) == (30, 0.5)
    assert values["augment.crop"] == 513 and values["augment.scale"] == [0.5, 2]
    assert values["train_primary.steps"] == 30_000 and values["conv_primary.width"] == 128
    assert values["ancillary.boxes"] == "class maps" and values["primary.alpha.shape"] is None


@pytest.mark.parametrize("dataset", CORRECTION)
def test_every_stage_has_the_primarys_optimiser_and_as_many_images(dataset):
    paper = recipes.load("paper", dataset)
    assert paper.data.labelled == published.read()["results"][dataset]["labelled"][-1]
    for stage in ("supervised", "ancillary", "start"):
        train = getattr(paper, f"train_{stage}")
        assert replace(
            train, batch_labelled=paper.train_primary.batch_labelled,
            batch_unlabelled=paper.train_primary.batch_unlabelled, steps=paper.train_primary.steps,
        ) == paper.train_primary
        assert train.images == paper.train_primary.images
        assert getattr(paper, stage, paper.supervised).ema_decay == 0
    assert paper.conv_primary.ema_decay == 0


def test_another_value_in_the_profile_is_noticed():
    paper, lines = recipes.load("paper", "voc"), published.recipe()
    other = replace(paper, train_primary=replace(paper.train_primary, lr=0.01),
                    augment=replace(paper.augment, scale=(0.5, 1.5)))
    differing = {line.setting for line in lines if line.value is not None
                 and not line.followed_by(other)}
    assert differing == {"train_primary.lr", "augment.scale"}
    rows = published.recipe_rows(other, lines)
    assert {row["hyper-parameter"] for row in rows if row[""] == "DIFFERS"} == differing
    with pytest.raises(AttributeError):
        published.Hyperparameter("augment.colour", "not given").held_by(paper)


def test_the_chapter_shows_this_table(checkout):
    chapter = jupytext.read(checkout / "notebooks" / "09_real_photographs.py", fmt="py:percent")
    code = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "code")
    assert "published.recipe(" in code and "published.recipe_table(" in code
