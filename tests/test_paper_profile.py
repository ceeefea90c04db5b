"""The profile `paper` is the published recipe, as far as one is published; the rest is marked."""

import math
from dataclasses import replace

import jupytext
import pytest
import torch

from semiseg_lib import methods, optimisers, profiles
from semiseg_lib.book import published
from semiseg_lib.datasets.labels import CAMVID_CLASSES, CITYSCAPES_CLASSES, VOC_CLASSES
from semiseg_lib.methods import PseudoLabelConfig
from semiseg_lib.profiles.published import broken_off, steps
from semiseg_lib.runs import fingerprint

DATASETS = ("voc", "cityscapes")
RECIPE = published.recipe()
RECIPES = [(method, dataset) for method, of in profiles.RECIPES.items() for dataset in of]
CLASSES = {"voc": len(VOC_CLASSES), "cityscapes": len(CITYSCAPES_CLASSES),
           "camvid": len(CAMVID_CLASSES), "cifar10": 10}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("line", RECIPE, ids=lambda line: line.setting)
def test_the_profile_follows_what_was_published(line, dataset):
    paper = profiles.load("paper", dataset)
    assert line.followed_by(paper) or (line.source == "none" and line.held_by(paper) is not None)


def test_the_values_that_the_book_relies_on_are_in_the_table():
    """Typed a second time, from the sources: a slip in the file is no slip here."""
    values = {line.setting: line.value for line in RECIPE}
    assert values["train_primary.lr"] == 0.007 and values["train_primary.schedule"] == "poly"
    assert (values["primary.alpha.start"], values["primary.alpha.end"]) == (30, 0.5)
    assert values["augment.crop"] == 513 and values["augment.scale"] == [0.5, 2]
    assert values["train_primary.steps"] == 30_000 and values["conv.width"] == 128
    assert values["ancillary.boxes"] == "class maps" and values["primary.alpha.shape"] is None


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_stage_has_the_primarys_optimiser_and_as_many_pictures(dataset):
    paper = profiles.load("paper", dataset)
    assert paper.data.labelled == published.read()["labelled"][dataset]
    for stage in ("supervised", "ancillary", "start"):
        train = getattr(paper, f"train_{stage}")
        assert replace(
            train, batch_labelled=paper.train_primary.batch_labelled,
            batch_weak=paper.train_primary.batch_weak, steps=paper.train_primary.steps,
        ) == paper.train_primary
        assert train.pictures == paper.train_primary.pictures
        assert getattr(paper, stage, paper.supervised).ema_decay == 0


def test_another_value_in_the_profile_is_noticed():
    paper = profiles.load("paper", "voc")
    other = replace(paper, train_primary=replace(paper.train_primary, lr=0.01),
                    augment=replace(paper.augment, scale=(0.5, 1.5)))
    differing = {line.setting for line in RECIPE if line.value is not None
                 and not line.followed_by(other)}
    assert differing == {"train_primary.lr", "augment.scale"}
    rows = published.recipe_rows(other, RECIPE)
    assert [row["hyper-parameter"] for row in rows if row[""] == "DIFFERS"] == [
        "learning rate", "scales of a view"]


def test_a_line_without_a_source_is_refused():
    with pytest.raises(ValueError, match="is no source"):
        published.Hyperparameter("crop", 513, "hearsay", "augment.crop", 513)
    with pytest.raises(ValueError, match="a value needs a source"):
        published.Hyperparameter("crop", 513, "none", "augment.crop", 513)
    with pytest.raises(AttributeError):
        published.Hyperparameter("x", "not given", "none", "augment.colour").held_by(
            profiles.load("paper", "voc"))


def test_the_chapter_shows_this_table(checkout):
    chapter = jupytext.read(checkout / "notebooks" / "09_real_photographs.py", fmt="py:percent")
    code = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "code")
    assert "published.recipe()" in code and "published.recipe_rows(" in code


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
        "rounds.selection.keep": "all", "data.weak": "frames", "model.pyramid_momentum": 0.005,
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
    with torch.device("meta"):
        built = methods.build(options, replace(paper.model, weights=""), CLASSES[dataset])
        side = getattr(paper.augment, "crop", 32)
        logits = built.eval()(torch.empty(1, 3, side, side))
    assert logits.shape == (1, CLASSES[dataset], side, side)
    assert built.networks == (2 if "cps" in method else 1)
    train = paper.rounds.pretrain if method == "pseudo-label" else paper.train_unlabelled
    assert ("weak" in built.learns_from) == (train.batch_weak > 0)
    scales = {group["lr_scale"] for group in built.parameter_groups()}
    assert scales == ({0.1, 1} if paper.model.encoder_lr == 0.1 else {1})


def test_halved_rate_and_doubled_decay_are_the_step_of_the_halved_loss():
    """Two weights, ten steps with momentum: (x - 1) ** 2 halved and as it is, in double."""
    train = profiles.load("paper", "voc", "fixmatch").train_unlabelled
    assert (train.learning_rate, train.weight_decay) == (0.005, 2e-4)

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


def test_every_published_score_has_its_source_and_the_table_its_columns():
    content = published.read()
    for setting, scores in content["results_unlabelled"].items():
        rows = published.unlabelled_rows(setting)
        assert len(rows) == len(scores["rows"])
        for row, shown in zip(scores["rows"], rows, strict=True):
            assert row["source"] in set(published.SOURCES) - {"none"} and shown["how sure"]
            numbers = [one for one in row["scores"] if one is not None]
            assert numbers and all(40 < one < 100 and math.isfinite(one) for one in numbers)
    for one in content["reproducibility"]:
        assert one["source"] in published.SOURCES and one["what"] and one["where"]
    blended = {(row["method"], row["encoder"]): row
               for row in content["results_unlabelled"]["voc blended"]["rows"]}
    assert blended["CPS", "ResNet-50"]["scores"] == [68.2, 73.2, 74.2, 75.9]
    assert blended["CPS", "ResNet-50"]["source"] == "recalled"
    assert blended["CutMix-CPS", "ResNet-101"]["scores"] == [74.5, 76.4, 77.7, None]


def test_a_value_that_only_stands_for_the_published_one_is_marked():
    paper = profiles.load("paper", "voc", "fixmatch")
    rows = {row["hyper-parameter"]: row[""]
            for row in published.recipe_rows(paper, published.recipe("fixmatch", "voc"))}
    assert rows["learning rate"].startswith("differs: half") and rows["crop"] == "as published"
