"""The recipes of the profile `paper` are the published ones, or say where they are not."""

import io
import math
import re
import tokenize
from dataclasses import fields, replace
from pathlib import Path

import jupytext
import numpy as np
import pytest
import torch

from semiseg_lib import methods, recipes
from semiseg_lib.batches.cutmix import draw_masks
from semiseg_lib.batches.options import CutMixConfig
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
    differences = found.differences(method)
    assert differences and all(one.endswith(".") for one in differences)
    lines = published.recipe(method, dataset)
    assert len({line.setting for line in lines}) == len(lines) >= 17
    for line in lines:
        assert line.followed_by(found.profile) or not line.source, line
        assert line.source in ("", *recipes.SOURCES)
    assert found.profile.supervised.ema_decay == 0
    table = published.recipe_table(method, dataset)
    assert "DIFFERS" not in {row[""] for row in table}
    below = table[len(lines):]
    addresses = {row["where"] for row in below if row["where"]}
    assert addresses == {found.sources[line.source] for line in lines
                         if line.source not in ("", "recalled")}
    assert [row[""] for row in below if row[""]] == [f"differs: {one}" for one in differences]
    for line, row in zip(lines, table, strict=False):
        unknown = "–" if line.source in ("", "recalled") else "place not noted"
        assert row["where"] == (line.place or unknown)


PLACELESS = {("s4mc", "data.labelled"), ("cutmix-s4mc", "data.labelled")}
"""Values on Cityscapes whose place in the source nobody noted."""


def test_every_source_has_an_address_and_every_value_a_place():
    for one in recipes.of("paper"):
        sources = [setting.source for setting in one.settings.values()]
        assert set(one.sources) <= set(recipes.SOURCES) - {"recalled"}
        assert set(sources) - {"", "recalled"} <= set(one.sources), one.path.name
        assert all(address.startswith("https://github.com/") for address in one.sources.values())
        for key, setting in one.settings.items():
            assert not setting.place or setting.source in one.sources, key
    placeless = {(method, line.setting) for method, dataset in RECIPES
                 for line in published.recipe(method, dataset)
                 if line.source not in ("", "recalled") and not line.place}
    assert placeless == PLACELESS


def test_no_recipe_for_cityscapes_cites_a_file_for_voc():
    for method, dataset in ALL:
        if dataset == "cityscapes":
            cited = {line.place for line in published.recipe(method, dataset)}
            assert not [place for place in cited if re.search(r"pascal|voc", place)], method


def test_a_sentence_on_one_method_is_not_in_the_table_of_another():
    plain, mixed = (
        " ".join(row[""] for row in published.recipe_table(name, "voc"))
        for name in ("cps", "cutmix-cps")
    )
    assert "two separate passes" in plain and "two separate passes" not in mixed
    assert "8 others" in mixed and "8 others" not in plain
    assert "align_corners" in plain and "align_corners" in mixed


WORDS = {"half": 0.5, "third": 1 / 3, "two": 2.0, "four": 4.0}
LEFT = ("kept", "stride of")
"""Words after which the value is what is left of a whole: what is dropped, what overlaps."""
ELSEWHERE = ("steps", "validate_every")  # epochs become steps: test_epochs_become_steps


def agree(key: str, value, said) -> bool | None:
    """Return whether a value and what is printed as published agree; None if nobody can tell."""
    if isinstance(value, bool):
        return str(said).split(":")[0].strip() == ("yes" if value else "no")
    if isinstance(said, int | float):
        return math.isclose(value, said)
    if key.rsplit(".", 1)[-1] in ELSEWHERE:
        return None
    if said.split(":")[0] == "none" or said.startswith("no "):
        return value in (0, "", [], [1.0, 1.0], "constant")
    if said.startswith("all "):
        return value in (0, "all", "merged", "exact") or None
    numbers = [float(one.replace(",", "")) for one in re.findall(r"\d[\d,]*(?:\.\d+)?", said)]
    numbers = [one / 100 for one in numbers] if "%" in said else numbers
    numbers += [number for word, number in WORDS.items() if word in said.split()]
    if isinstance(value, str):
        name = value.split(".")[0].removesuffix("s") if "resnet" in value else value
        letters = re.sub(r"[^a-z0-9]", "", said.lower())
        return True if name.replace("_", "") in letters else None
    if isinstance(value, list):
        return set(value) == set(numbers) if numbers else None
    if not numbers:
        return None
    pairs = [(a, b) for a in numbers for b in numbers]
    reached = [*numbers, *(a / b for a, b in pairs if b), *(a * b for a, b in pairs)]
    if any(word in said for word in LEFT):
        reached = [1 - one for one in reached]
    return any(math.isclose(value, one, rel_tol=1e-4) for one in reached)


def test_published_and_value_do_not_contradict_each_other():
    assert agree("x", False, "yes") is False and agree("x", True, "no: any student") is False
    assert agree("x", 0.4, "0.25, at the end 0.15") is False and agree("x", 0.5, 0.4) is False
    assert agree("x", [0.5, 2.0], "0.5 to 1.5") is False and agree("x", 0.1, "none") is False
    assert agree("x", 0.4, "60 % kept") and agree("x", 0.6, "60 % kept") is False
    assert agree("x", 1 / 3, "a stride of 2/3") and agree("x", 2 / 3, "a stride of 2/3") is False
    assert agree("x", 0.0625, "5 of 80 epochs") and agree("x", 133_000, "500 epochs of 266")
    compared = 0
    for one in recipes.of("paper"):
        for key, line in one.settings.items():
            if line.published is None or line.differs or not line.source:
                continue
            found = agree(key, line.value, line.published)
            assert found is not False, f"{one.path.name}: {key}"
            compared += found is True
    assert compared > 100


METHODS = Path(methods.__file__).parent
DEVIATIONS = {
    ("cac", "contrast"): ["1e-8"],
    ("cac", "in_chunks"): [],  # the same sum
    ("cac", "CAC"): ["cac.ema_decay | none"],
    ("cac", "unlabelled_loss"): ["three separate passes"],
    ("cac", "draw"): ["of the whole resized image", "kernel of 5x5 and a sigma of 1.1"],
    ("cac", "cells"): ["Cells that show padding move"],
    ("cac", "negatives"): ["stops with an error", "both crops of the images of one process",
                           "gathered from all devices", "only the main process"],
    ("cps", "_plain"): ["two separate passes"],
    ("cps", "_mixed"): ["one of 8 others"],
    ("eln", "error_loss"): ["A void pixel counts as a wrong one", "eln.balance | no bound"],
    ("eln", "pixel_contrast"): ["one logarithm per class over the number of its pixels"],
    ("eln", "ELN"): ["copied from the student at the end of the warm-up", "no batch statistics",
                     "an epoch of 266", "never sees scale and shift of the batch norms"],
    ("eln", "losses"): ["three passes"],
    ("eln", "_unlabelled"): ["eight times 32 x 32", "the teacher's projector"],
    ("eln", "teach"): ["at a quarter of the size", "in training mode",
                       "is NaN and the script ends"],
    ("fixmatch", "unlabelled_loss"): ["Its loss is halved"],
    ("fixmatch", "teach"): ["fixmatch.ema_decay | none"],
    ("fixmatch", "strong_part"): ["one of 8 others"],
    ("s4mc", "agreement"): ["beyond an image's border for class 0"],
    ("s4mc", "S4MC"): ["U2PL's contrast", "auxiliary loss", "at the end of the warm-up",
                       "no batch statistics"],
    ("s4mc", "expectation"): ["counted in all masks"],
    ("s4mc", "unlabelled_loss"): ["its loss is NaN"],
    ("s4mc", "teach"): ["judges mixed images in training mode", "of each device",
                        "padding included"],
}
"""What the recipe says of each comment on a deviation, by room and function or class."""


def deviations(path: Path) -> set[str]:
    """Return the functions and classes whose comments say what the published code does."""
    found, scope = set(), ""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if named := re.match(r"\s*(?:def|class) (\w+)", token.line):
            scope = named.group(1)
        if token.type == tokenize.COMMENT and re.search("differ|published|UniMatch", token.string):
            found.add(scope)
    return found


def test_every_deviation_in_a_method_stands_in_its_recipe():
    """A comment that is new needs its sentence in the recipe, and its words here."""
    rooms = {path.parent.name: path for path in METHODS.glob("*/method.py")}
    del rooms["mean_teacher"]  # no recipe is published
    found = {(room, scope) for room, path in rooms.items() for scope in deviations(path)}
    assert found == set(DEVIATIONS)
    for (room, scope), words in DEVIATIONS.items():
        said = " ".join(
            text for method in methods.named_options() if room in method
            for text in [*recipes.find("paper", "voc", method).differences(method),
                         *(f"{line.setting.removeprefix('unlabelled.')} | {line.published} | "
                           f"{line.note} | {line.differs}"
                           for line in published.recipe(method, "voc"))]
        )
        for part in words:
            assert part in said, f"{room}, {scope}: {part}"


@pytest.mark.parametrize("method", ["cac", "cps", "cutmix-cps", "eln", "s4mc", "cutmix-s4mc"])
def test_a_method_names_the_defaults_that_are_not_the_published_ones(method):
    default = methods.named_options()[method]
    paper = recipes.load("paper", "voc", method).unlabelled[method]
    (exceptions,) = re.findall(r"but for (.*?)\n\n", type(default).__doc__, re.DOTALL)
    named = set(re.findall(r"``(\w+)``", exceptions))
    other = {one.name for one in fields(default)
             if not same(getattr(default, one.name), getattr(paper, one.name))}
    other |= {line.setting.split(".")[2] for line in published.recipe(method, "voc")
              if line.setting.startswith(f"unlabelled.{method}.") and line.differs}
    assert other <= named


def same(default, paper) -> bool:
    """Return whether two options are equal, or two CutMix masks."""
    if isinstance(default, CutMixConfig) and isinstance(paper, CutMixConfig):
        one, two = (draw_masks(64, (32, 32), config, np.random.default_rng(0))
                    for config in (default, paper))
        return torch.equal(one, two)
    return default == paper


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
    with pytest.raises(ValueError, match=r"of cps for 'camvid'. It has one for cityscapes, voc"):
        recipes.load("paper", "camvid", "cps")
    with pytest.raises(ValueError, match=r"It has one for camvid, cifar10 \(--dataset camvid\)"):
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
