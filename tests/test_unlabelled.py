"""Methods without boxes: what they start with, what they see, and what they never open."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig, ViewConfig
from semiseg_lib.datasets import minivoc
from semiseg_lib.datasets.labels import write_mask
from semiseg_lib.experiments import Machine, Run, Trained, open_run, resolve, training
from semiseg_lib.experiments.pseudo_labelling import rounds
from semiseg_lib.experiments.self_correction import logits, supervised
from semiseg_lib.experiments.semi_supervised import learn, supervised_longer
from semiseg_lib.methods import ELNConfig
from semiseg_lib.models import ModelConfig, encoders
from semiseg_lib.recipes import Profile, load

SMOKE = load("smoke")
SEED = 5
METHODS = pytest.mark.parametrize("name", list(SMOKE.unlabelled))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(folder))
        _ = images()  # draws them
        yield folder


def images() -> Data:
    return Data(SMOKE.data, SEED)


def made(value: Run, root: Path | None = None) -> Trained:
    return resolve(value, Machine("cpu", root))


def weights(value: Run) -> dict:
    return made(value).method.state_dict()


def options(name: str):
    """The profile's, but for a threshold that a network of six steps can reach."""
    chosen = SMOKE.unlabelled[name]
    reached = {"fixmatch": 0.2, "cac": 0.0, "eln": 0.0}
    return replace(chosen, threshold=reached[name]) if name in reached else chosen


@pytest.fixture
def begun(work, monkeypatch) -> list[tuple]:
    """What each training started with: its configuration, weights and loader."""
    seen, fit = [], training.fit

    def noted(method, loader, config, *rest, **named):
        start = {name: value.clone() for name, value in method.state_dict().items()}
        seen.append((config, start, loader))
        return fit(method, loader, config, *rest, **named)

    monkeypatch.setattr(training, "fit", noted)
    return seen


@pytest.fixture
def fresh(work, tmp_path, monkeypatch):
    """Another work folder, in which nothing but the drawn images lies yet."""
    def change(name: str = "fresh") -> None:
        shutil.copytree(work / "minivoc", tmp_path / name / "minivoc")
        monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / name))

    return change


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_fixmatch_goes_on_from_the_supervised_run_average_and_all(begun):
    made(learn(SMOKE, SEED, options("fixmatch")))
    start = weights(supervised(SMOKE, SEED))
    assert same(begun[-1][1], start)
    assert start["average.n_averaged"] == SMOKE.train_supervised.steps
    labelled, unlabelled = begun[-1][2].sets
    assert labelled.names == images().labelled.names
    assert unlabelled.names == images().unlabelled.names
    part = unlabelled.part([0])
    assert part.masks is None and part.box_maps is None and part.allowed is None


@pytest.mark.parametrize("name", ["cps", "cutmix-cps"])
def test_each_network_of_cps_goes_on_from_a_supervised_run_of_its_own(begun, name):
    made(learn(SMOKE, SEED, options(name)))
    first, second = (weights(supervised(SMOKE, SEED, draw)) for draw in (0, 1))
    start = begun[-1][1]
    assert not same(first, second)
    for key, value in first.items():
        assert torch.equal(start[key], value), key
        if key.startswith("network."):
            assert torch.equal(start[key.replace("network", "second", 1)], second[key]), key


def test_the_two_supervised_runs_differ_in_their_fresh_weights_alone(begun, fresh):
    fresh()
    for draw in (0, 1):
        made(supervised(SMOKE, SEED, draw))
    (one, first, loader), (two, second, other) = begun
    assert one == two and not same(first, second)
    assert torch.equal(loader.batch(3).labelled.images, other.batch(3).labelled.images)


def test_a_profile_that_is_not_warm_starts_afresh_and_trains_nothing_before(
    begun, fresh
):
    fresh()
    made(learn(replace(SMOKE, warm=False), SEED, options("cps")))
    ((_, start, _),) = begun
    assert not same(
        {k: v for k, v in start.items() if k.startswith("network.")},
        {k.replace("second", "network", 1): v for k, v in start.items()
         if k.startswith("second.")},
    )


def test_the_control_sees_as_many_images_for_as_many_steps(begun, fresh):
    fresh()
    longer = weights(supervised_longer(SMOKE, SEED))
    config, start, loader = begun[-1]
    wanted = SMOKE.train_unlabelled
    assert config.steps == wanted.steps and config.batch_unlabelled == 0
    assert config.images == wanted.images == 4
    assert same(start, weights(supervised(SMOKE, SEED)))
    batch = loader.batch(0)
    assert len(batch.labelled.images) == 4 and batch.unlabelled is None
    assert longer["average.n_averaged"] == 12


def test_without_weight_a_method_is_its_control_to_the_last_bit(work):
    """Also where both see the labelled images of a method's step alone."""
    alone = replace(SMOKE.train_unlabelled, batch_labelled=4, batch_unlabelled=0)
    profile = replace(SMOKE, train_unlabelled=alone)
    expected = weights(supervised_longer(profile, SEED))
    for name in ("fixmatch", "cutmix-cps"):
        found = weights(learn(profile, SEED, replace(options(name), weight=0.0)))
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name


@METHODS
def test_what_is_on_disk_is_loaded_and_trains_to_other_weights(work, monkeypatch, name):
    trained = made(learn(SMOKE, SEED, options(name)))
    start = weights(supervised(SMOKE, SEED))
    assert not same({k: trained.method.state_dict()[k] for k in start}, start)
    assert trained.history[-1]["step"] == 6 and trained.history[-1]["loss_unlabelled"] > 0
    monkeypatch.setattr(training, "fit", None)
    assert same(weights(learn(SMOKE, SEED, options(name))), trained.method.state_dict())


def test_a_loss_of_unlabelled_images_without_unlabelled_images_is_refused(work):
    alone = replace(SMOKE.train_unlabelled, batch_unlabelled=0)
    with pytest.raises(ValueError, match="fixmatch learns from unlabelled images, but"):
        made(learn(replace(SMOKE, train_unlabelled=alone), SEED, options("fixmatch")))


@pytest.mark.parametrize("change, problem", [
    ({"train": replace(SMOKE.train_supervised, batch_unlabelled=2)},
     "supervised sees no unlabelled images, but train.batch_unlabelled is 2"),
    ({"start": (supervised(SMOKE, SEED), supervised(SMOKE, SEED, 1))},
     "supervised trains 1 networks; start names 2 runs"),
    ({"method": SMOKE.primary, "train": SMOKE.train_primary},
     "primary learns from stored logits of the unlabelled images; unlabelled_logits of the run "
     "is missing"),
])
def test_options_that_do_not_go_together_are_refused_before_anything_is_trained(
    work, fresh, monkeypatch, change, problem
):
    fresh()
    monkeypatch.setattr(training, "fit", None)
    with pytest.raises(ValueError, match=problem):
        made(replace(supervised(SMOKE, SEED), **change))


def test_logits_that_a_method_does_not_read_are_refused(work, fresh, monkeypatch):
    fresh()
    value = replace(supervised(SMOKE, SEED), labelled_logits=logits(SMOKE, SEED, "labelled"))
    monkeypatch.setattr(training, "fit", None)
    with pytest.raises(ValueError, match="supervised reads no stored logits of the labelled"):
        made(value)


def test_a_method_whose_unlabelled_loss_weighs_nothing_is_its_control(work):
    """As many images a step, all of them labelled: for FixMatch this is ``supervised_longer``."""
    alone = made(learn(SMOKE, SEED, replace(options("fixmatch"), weight=0.0)))
    longer = made(supervised_longer(SMOKE, SEED))
    assert alone.run.train == longer.run.train and alone.run.train.batch_unlabelled == 0
    assert same(alone.method.state_dict(), longer.method.state_dict())


OPENED: list[str] = []
LISTENING = [False]


@pytest.fixture
def opened():
    """The files that are opened meanwhile, by whatever means."""
    if not any(LISTENING):
        sys.addaudithook(lambda event, arguments: OPENED.append(str(arguments[0]))
                         if event == "open" and LISTENING[0] else None)
    OPENED.clear()
    LISTENING[0] = True
    yield OPENED
    LISTENING[0] = False


def all_methods(profile: Profile, root: Path | None = None) -> list[dict]:
    """The weights of every method without boxes."""
    trained = [made(learn(profile, SEED, options(name)), root) for name in SMOKE.unlabelled]
    plan = replace(profile.rounds, count=1)
    trained += [one.student for one in rounds(profile, SEED, plan, Machine("cpu", root))]
    return [one.method.state_dict() for one in trained]


def never_opened(opened: list[str], hidden: list[Path]) -> bool:
    names = {str(path.resolve()) for path in hidden}
    assert hidden and opened
    return not names & {str(Path(name).resolve()) for name in opened if Path(name).is_file()}


def spoil(masks: list[Path]) -> None:
    for path in masks:
        path.write_bytes(b"no image at all")


def test_hidden_masks_of_drawn_images_are_never_opened(fresh, opened, monkeypatch):
    """But to see that they are still what was drawn, which is left out here."""
    monkeypatch.setattr(minivoc, "verify_generated", lambda _folder: None)
    found = []
    for name in ("sound", "spoiled"):
        fresh(name)
        drawn = SMOKE.data.options
        folder = minivoc.prepare(drawn.generated_world(), drawn.sizes)
        lists = folder / "ImageSets" / "Segmentation"  # asking for images would open files
        listed = (lists / "unlabelled.txt").read_text(encoding="utf-8")
        hidden = [folder / "SegmentationClassAug" / f"{one}.png" for one in listed.split()]
        assert all(path.is_file() for path in hidden)
        if name == "spoiled":
            spoil(hidden)
        opened.clear()
        found.append(all_methods(SMOKE))
        assert never_opened(opened, hidden)
    assert all(same(*pair) for pair in zip(*found, strict=True))
    assert not same(found[0][1], found[0][2])


def own_folder(root: Path) -> list[Path]:
    """Twelve images with masks; four of them are unlabelled, and their masks are returned."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "boxes").mkdir()
    (root / "classes.txt").write_text("background\ncat\n", encoding="utf-8")
    for number in range(12):
        mask = np.zeros((40, 48), np.uint8)
        top, left = rng.integers(0, 20, 2)
        mask[top:top + 18, left:left + 18] = 1
        colours = np.stack([90 * mask, 60 + 0 * mask, 180 - 120 * mask], axis=-1)
        colours = colours + rng.integers(0, 50, colours.shape, dtype=np.uint8)
        Image.fromarray(colours).save(root / "images" / f"p{number}.png")
        write_mask(mask, root / "masks" / f"p{number}.png")
        (root / "boxes" / f"p{number}.xml").write_text(
            "<annotation><object><name>cat</name><bndbox><xmin>5</xmin><ymin>5</ymin>"
            "<xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>", encoding="utf-8",
        )
    for name, numbers in {"labelled": range(4), "unlabelled": range(4, 8), "val": range(8, 10),
                          "test": range(10, 12)}.items():
        text = "".join(f"p{number}\n" for number in numbers)
        (root / f"{name}.txt").write_text(text, encoding="utf-8")
    return [root / "masks" / f"p{number}.png" for number in range(4, 8)]


def test_hidden_masks_of_a_folder_of_your_own_are_never_opened(tmp_path, fresh, opened):
    profile = replace(SMOKE, data=DataConfig("folder"), augment=ViewConfig(crop=32))
    hidden = own_folder(tmp_path / "mine")
    found = []
    for name in ("sound", "spoiled"):
        fresh(name)
        if name == "spoiled":
            spoil(hidden)
        opened.clear()
        found.append(all_methods(profile, tmp_path / "mine"))
        assert never_opened(opened, hidden)
    assert all(same(*pair) for pair in zip(*found, strict=True))


def test_opening_a_finished_run_reads_no_weights_of_any_of_its_networks(
    work, monkeypatch, tmp_path
):
    file, fetched = tmp_path / "model.safetensors", []
    save_file(encoders.timm.create_model("resnet18").state_dict(), file)
    monkeypatch.setattr(encoders, "hub_file", lambda _: file)
    create = encoders.timm.create_model

    def noting(name, pretrained=False, **options):
        fetched.append(pretrained)
        return create(name, pretrained=pretrained, **options)

    monkeypatch.setattr(encoders.timm, "create_model", noting)
    error = ModelConfig(
        architecture="deeplab", encoder="resnet18", weights="hub", decoder_width=8
    )
    trained = made(learn(SMOKE, SEED, ELNConfig(error=error, ratios=())))
    assert any(fetched)
    fetched.clear()
    again = open_run(trained.folder.path, "cpu")
    assert again.run.method.error.weights == "hub" and not any(fetched)
    assert made(trained.run).folder.path == trained.folder.path and not any(fetched)
