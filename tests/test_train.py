"""The one loop: it learns, it repeats itself, it continues where it was stopped or killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semiseg_lib import methods
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.loader import Loader
from semiseg_lib.batches.options import ViewConfig
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.evaluation.metrics import evaluate
from semiseg_lib.methods import PrimaryConfig, SupervisedConfig
from semiseg_lib.models import ModelConfig
from semiseg_lib.recipes import load
from semiseg_lib.training.loop import TrainingDiverged, fit, make_accelerator
from semiseg_lib.training.options import TrainConfig
from semiseg_lib.training.run_folder import RunFolder

SMALL = TrainConfig(steps=10, batch_labelled=2, batch_unlabelled=2, log_every=3, lr=5e-3)
STILL = ViewConfig(flip=0)


@pytest.fixture(scope="module")
def data() -> Data:
    return Data(load("smoke").data, seed=5)


def unlabelled_pool(data: Data) -> ImageSet:
    """The unlabelled images with logits as an ancillary could have stored them."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(len(data.unlabelled), 5, 32, 32, generator=generator)
    return data.unlabelled.with_logits(logits.half())


def loader(data: Data, config: TrainConfig, seed: int = 3, **changes) -> Loader:
    options = {
        "labelled": data.labelled, "unlabelled": unlabelled_pool(data),
        "augment": load("smoke").augment,
    } | changes
    return Loader(
        batch_labelled=config.batch_labelled, batch_unlabelled=config.batch_unlabelled, seed=seed,
        **options,
    )


def build(config=None, width: int = 4, seed: int = 3):
    torch.manual_seed(seed)
    return methods.build(config or PrimaryConfig(), ModelConfig(width=width), 5)


def train(data: Data, folder: Path, config: TrainConfig = SMALL, stop_at=None, dropout=0.0,
          **changes):
    """Train a fresh primary; return its weights and history."""
    method = build()
    if dropout:
        method.network.head = torch.nn.Sequential(torch.nn.Dropout(dropout), method.network.head)
    history = fit(
        method, loader(data, config, **changes), config, RunFolder(folder),
        make_accelerator(config, "cpu"), stop_at=stop_at,
    )
    return method.state_dict(), history


def same(one: tuple, two: tuple) -> bool:
    """Equal to the last bit, weights and history, the seconds aside."""
    (weights, history), (others, other_history) = one, two
    rows, other_rows = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
        for rows in (history, other_history)
    )
    return rows == other_rows and weights.keys() == others.keys() and all(
        torch.equal(weights[name], others[name]) for name in weights
    )


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("uninterrupted"))


def test_training_overfits_a_handful_of_images(data, tmp_path):
    """Far above what a model reaches that paints everything as background (about 0.16)."""
    config = TrainConfig(steps=70, batch_labelled=8, batch_unlabelled=0, log_every=10)
    method = build(SupervisedConfig(ema_decay=0.9), width=8)
    still = loader(data, config, unlabelled=None, augment=STILL)
    history = fit(method, still, config, RunFolder(tmp_path), make_accelerator(config, "cpu"))
    losses = [row["loss_labelled"] for row in history]
    assert losses[-1] < losses[0] / 4 and losses[-1] < 0.35
    assert evaluate(method, data.labelled, data.classes).mean_iou > 0.75


def test_the_seed_decides_the_weights(data, uninterrupted, tmp_path):
    assert same(train(data, tmp_path / "again"), uninterrupted)
    assert not same(train(data, tmp_path / "other", seed=4), uninterrupted)


@pytest.mark.parametrize("stop_at", [1, 6, 9])
def test_a_stopped_run_ends_as_the_uninterrupted_one(data, uninterrupted, tmp_path, stop_at):
    """Stopped once in the middle of a row of the history (rows are 3 steps), once at its end."""
    stopped = train(data, tmp_path, stop_at=stop_at)
    assert not same(stopped, uninterrupted) and (tmp_path / "checkpoint.pt").is_file()
    torch.rand(5)  # whatever else drew numbers in between
    assert same(train(data, tmp_path), uninterrupted)


def test_a_run_stopped_twice_ends_as_the_uninterrupted_one(data, uninterrupted, tmp_path):
    train(data, tmp_path, stop_at=2)
    train(data, tmp_path, stop_at=7)
    assert same(train(data, tmp_path), uninterrupted)


def test_stopping_before_the_checkpoint_does_not_turn_the_clock_back(data, uninterrupted, tmp_path):
    train(data, tmp_path, stop_at=7)
    train(data, tmp_path, stop_at=4)
    assert RunFolder(tmp_path).read_checkpoint()["step"] == 7
    assert same(train(data, tmp_path), uninterrupted)


@pytest.mark.parametrize("changes", [
    {"optimizer": "sgd"}, {"schedule": "one_cycle"}, {"accumulate": 2}, {"channels_last": False},
], ids=str)
def test_every_option_of_the_training_resumes_to_the_bit(data, tmp_path, changes):
    config = replace(SMALL, steps=5, **changes)
    whole = train(data, tmp_path / "whole", config)
    train(data, tmp_path / "stopped", config, stop_at=4)
    assert same(train(data, tmp_path / "stopped", config), whole)


def test_dropout_repeats_itself_on_resume(data, tmp_path):
    config = replace(SMALL, steps=5)
    whole = train(data, tmp_path / "whole", config, dropout=0.5)
    train(data, tmp_path / "stopped", config, dropout=0.5, stop_at=2)
    torch.rand(5)
    assert same(train(data, tmp_path / "stopped", config, dropout=0.5), whole)


def test_the_history_has_a_row_every_few_steps_and_one_at_the_end(uninterrupted):
    _, history = uninterrupted
    assert [row["step"] for row in history] == [3, 6, 9, 10]
    assert set(history[0]) == {"step", "seconds", "lr", "loss_labelled", "loss_unlabelled"}
    seconds = [row["seconds"] for row in history]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_a_row_holds_the_mean_over_its_steps(data, uninterrupted, tmp_path):
    _, single = train(data, tmp_path, replace(SMALL, log_every=1))
    _, rows = uninterrupted
    for row, places in zip(rows, ([0, 1, 2], [3, 4, 5], [6, 7, 8], [9]), strict=True):
        for name in ("loss_labelled", "loss_unlabelled"):
            mean = sum(single[place][name] for place in places) / len(places)
            assert row[name] == pytest.approx(mean, rel=1e-6)


def test_accumulated_passes_make_the_step_of_their_mean_gradient(data, tmp_path):
    """One plain SGD step from two half batches, against autograd by hand."""
    config = TrainConfig(
        steps=1, batch_labelled=2, batch_unlabelled=2, accumulate=2, optimizer="sgd",
        weight_decay=0.0, schedule="poly", channels_last=False,
    )
    by_hand = build()
    batches = loader(data, config)
    by_hand.train()
    parameters = [p for p in by_hand.parameters() if p.requires_grad]
    gradients = [
        torch.autograd.grad(sum(by_hand.losses(batches.batch(k), 0.0).values()), parameters)
        for k in (0, 1)
    ]
    with torch.no_grad():
        for parameter, one, two in zip(parameters, *gradients, strict=True):
            parameter -= config.lr * (one + two) / 2
    weights, _ = train(data, tmp_path, config)
    expected = by_hand.state_dict()
    for name in expected:
        if name.startswith("network"):
            torch.testing.assert_close(weights[name], expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_batch(data, tmp_path, value):
    method, before = build(), {}
    losses = method.losses

    def broken(batch, progress):
        terms = losses(batch, progress)
        if progress >= 0.4:
            before.update({k: v.clone() for k, v in method.state_dict().items() if "num" not in k})
            terms["unlabelled"] = terms["unlabelled"] * value
        return terms

    method.losses = broken
    batches = loader(data, SMALL)
    said = r"step 4: .*unlabelled = (nan|inf).*Lower lr"
    with pytest.raises(TrainingDiverged, match=said) as caught:
        fit(method, batches, SMALL, RunFolder(tmp_path), make_accelerator(SMALL, "cpu"))
    batch = batches.batch(4)
    assert all(name in str(caught.value) for name in batch.labelled.names)
    assert "bad_batch.safetensors" in str(caught.value)
    stored = load_file(tmp_path / "bad_batch.safetensors")
    assert torch.equal(stored["labelled_images"], batch.labelled.images)
    assert torch.equal(stored["unlabelled_logits_ancillary"], batch.unlabelled.logits_ancillary)
    assert torch.equal(stored["labelled_masks"], batch.labelled.masks)
    for name, parameter in method.network.named_parameters():
        assert torch.equal(parameter, before[f"network.{name}"]), "the step must not be taken"


def test_a_batch_without_labels_does_not_stop_the_training(data, tmp_path):
    masks = torch.full_like(data.labelled.masks, VOID).numpy()
    void = data.labelled.with_masks(masks)
    weights, history = train(data, tmp_path, replace(SMALL, steps=3), labelled=void)
    assert [row["loss_labelled"] for row in history] == [0]
    assert all(torch.isfinite(value).all() for value in weights.values())
