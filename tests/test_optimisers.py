"""The options of a training: rates, precision, compilation, reading ahead, trackers."""

from __future__ import annotations

import importlib.util
import math
import os
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import CONFIG, brightness, built, loader, outcome, same, train

from semiseg_lib.training import loop as training
from semiseg_lib.training.loop import fit, make_accelerator
from semiseg_lib.training.optimizer import learning_rate_curve, make_optimizer
from semiseg_lib.training.options import TrainConfig
from semiseg_lib.training.run_folder import RunFolder

SHORT = replace(CONFIG, steps=9, checkpoint_seconds=1e9)
PLAIN_SGD = replace(SHORT, steps=1, optimizer="sgd", weight_decay=0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return outcome(*train(tmp_path_factory.mktemp("whole"), SHORT))


def test_the_rate_of_a_step_is_the_one_of_its_curve(whole):
    factor = learning_rate_curve(SHORT)
    for row in whole["history"]:
        assert row["lr"] == pytest.approx(SHORT.lr * factor(row["step"]))


def test_the_rate_follows_the_total_batch_and_says_so(tmp_path, capsys):
    """The paper's rate is for 16 images; 2 + 2 twice make 8."""
    config = TrainConfig(steps=1, batch_labelled=2, batch_unlabelled=2, accumulate=2, lr=0.007,
                         lr_batch=16, schedule="poly")
    assert config.images == 8 and config.learning_rate == pytest.approx(0.0035)
    assert make_optimizer(built(), config).param_groups[0]["lr"] == pytest.approx(0.0035)
    train(tmp_path, config)
    expected = "lr 0.007 is for 16 images per step; 8 here, so 0.0035\n"
    assert capsys.readouterr().out == expected
    assert replace(config, lr_batch=0).learning_rate == 0.007
    assert replace(config, lr_batch=4).learning_rate == pytest.approx(0.014)


@pytest.mark.parametrize("name, value", [
    ("steps", 0), ("steps", -1), ("accumulate", 0), ("lr_batch", -1), ("clip", -1.0),
    ("warmup", 1.5), ("validate_every", -2), ("batch_unlabelled", -1),
])
def test_impossible_options_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} is {value}"):
        TrainConfig(**{name: value})


def test_clipping_bounds_the_gradient_of_all_weights_together(tmp_path):
    """The first step of plain SGD moves the weights by lr times the clipped gradient."""
    def moved(folder: str, clip: float) -> float:
        method, _ = train(tmp_path / folder, replace(PLAIN_SGD, clip=clip))
        pairs = zip(method.network.parameters(), built().network.parameters(), strict=True)
        return math.sqrt(sum(((one - two) ** 2).sum().item() for one, two in pairs))

    free = moved("free", 0.0)
    assert moved("wide", 10 * free / PLAIN_SGD.lr) == pytest.approx(free, rel=1e-5)
    clip = 0.25 * free / PLAIN_SGD.lr
    assert moved("tight", clip) == pytest.approx(free / 4, rel=1e-3)


def test_accumulated_halves_make_the_step_of_the_whole_batch(tmp_path):
    """No batch statistics and no void pixels, so both are the same mean."""
    class Halves:
        seed, process, processes = 5, 0, 1

        def batch(self, number: int):
            part = loader(PLAIN_SGD).batch(number // 2).labelled
            half = slice(2 * (number % 2), 2 * (number % 2) + 2)
            return type(whole)(replace(
                part, names=part.names[half], images=part.images[half], masks=part.masks[half]
            ))

    config = replace(PLAIN_SGD, steps=5)
    whole = loader(config).batch(0)
    assert not (whole.labelled.masks == 255).any()
    expected, rows = train(tmp_path / "whole", config)
    method, halves = built(), replace(config, batch_labelled=2, accumulate=2)
    history = fit(
        method, Halves(), halves, RunFolder(tmp_path / "half"), make_accelerator(halves, "cpu")
    )
    assert history[-1]["loss_labelled"] == pytest.approx(rows[-1]["loss_labelled"], rel=1e-5)
    for name, value in method.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], rtol=1e-5, atol=1e-7)


def test_precision_can_change_within_one_process(tmp_path, whole):
    """accelerate itself refuses a second precision; and an accelerator of another one is noticed.

    On the CPU, fp16 is computed in full precision, and that is said.
    """
    bf16 = replace(SHORT, precision="bf16")
    first = outcome(*train(tmp_path / "bf16", bf16))
    stale = make_accelerator(bf16, "cpu")
    assert same(outcome(*train(tmp_path / "no", SHORT)), whole) and not same(first, whole)
    assert same(outcome(*train(tmp_path / "again", bf16)), first)
    losses = [one["history"][-1]["loss_labelled"] for one in (first, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    make_accelerator(SHORT, "cpu")
    with pytest.raises(ValueError, match=r"computes in 'no', the run asks for 'bf16'"):
        fit(built(), loader(bf16), bf16, RunFolder(tmp_path / "stale"), stale)


def test_fp16_without_a_gpu_says_what_it_does(tmp_path, capsys, whole):
    fp16 = outcome(*train(tmp_path, replace(SHORT, precision="fp16")))
    assert "fp16 needs a GPU" in capsys.readouterr().out and same(fp16, whole)


def scaled(folder: Path, stop_at=None):
    """Train with the gradient scaler of fp16; its first scale is far too large."""
    method = built()
    losses, calls = method.losses, []
    method.losses = lambda batch, progress: {
        name: 8 * term for name, term in losses(batch, progress).items()
    }
    accelerator = make_accelerator(SHORT, "cpu")
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=2)
    step = torch.optim.AdamW.step
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(torch.optim.AdamW, "step", lambda *a, **k: (calls.append(1), step(*a, **k)))
        history = fit(method, loader(SHORT), SHORT, RunFolder(folder), accelerator,
                      stop_at=stop_at)
    return outcome(method, history), len(calls), accelerator.scaler.get_scale()


def test_steps_that_overflow_are_left_out_and_do_not_stop_the_training(tmp_path):
    """8 * 1.1 * 2^127 is infinite; once the scale has come down, every step is taken."""
    result, taken, scale = scaled(tmp_path)
    assert 0 < taken < SHORT.steps and scale < 2.0**127
    assert all(value.isfinite().all() for name, value in result.items() if name != "history")
    factor = learning_rate_curve(SHORT)
    assert result["history"][-1]["lr"] == pytest.approx(SHORT.lr * factor(taken))


@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_the_gradient_scaler_continues_where_it_was(tmp_path, stop_at):
    whole, taken, scale = scaled(tmp_path / "whole")
    _, before, _ = scaled(tmp_path / "stopped", stop_at)
    result, after, scale_again = scaled(tmp_path / "stopped")
    assert same(result, whole) and before + after == taken and scale_again == scale


def test_compiled_networks_learn_the_same_under_the_same_names(tmp_path, whole, monkeypatch):
    """Captured by torch's compiler, run by its plain backend."""
    captured = []
    compiler = torch.compile

    def backend(graph, _inputs):
        captured.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda f, *a, **k: compiler(f, *a, backend=backend, **k))
    compiled = outcome(*train(tmp_path, replace(SHORT, compile=True)))
    assert captured and compiled.keys() == whole.keys()
    for name in whole.keys() - {"history"}:
        torch.testing.assert_close(compiled[name], whole[name])


@pytest.mark.parametrize("workers, stop_at", [(1, None), (2, 4)])
def test_batches_read_ahead_are_the_same(tmp_path, whole, workers, stop_at):
    if stop_at:
        train(tmp_path, SHORT, workers=workers, stop_at=stop_at)
    assert same(outcome(*train(tmp_path, SHORT, workers=workers)), whole)


def test_a_loader_can_be_sent_to_a_process_that_is_not_forked():
    again = pickle.loads(pickle.dumps(loader(SHORT)))[3]
    assert torch.equal(again.labelled.images, loader(SHORT).batch(3).labelled.images)


def test_an_error_while_reading_ahead_names_its_cause(tmp_path):
    batches = loader(SHORT)
    read = batches.batch

    def batch(step):
        """The first is read before there are workers."""
        if step:
            raise AttributeError("no such view")
        return read(step)

    batches.batch = batch
    accelerator = make_accelerator(SHORT, "cpu")
    with pytest.raises(AttributeError, match="worker process 0"):
        fit(built(), batches, SHORT, RunFolder(tmp_path), accelerator, workers=1)


def test_validation_needs_a_score(tmp_path):
    with pytest.raises(ValueError, match="got no score"):
        train(tmp_path, replace(SHORT, validate_every=3))


def test_scores_do_not_change_what_is_learnt(tmp_path, whole):
    config = replace(SHORT, validate_every=3)
    scored = outcome(*train(tmp_path, config, score=brightness))
    assert all(isinstance(row.pop("score"), float) for row in scored["history"])
    assert same(scored, whole)


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="needs tensorboard")
def test_tensorboard_gets_every_row_of_the_history(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = replace(SHORT, validate_every=3)
    accelerator = make_accelerator(config, "cpu", ("tensorboard",), tmp_path)
    history = fit(
        built(), loader(config), config, RunFolder(tmp_path), accelerator, score=brightness
    )
    (events,) = (tmp_path / "semiseg").glob("events.*")
    found = EventAccumulator(str(events)).Reload()
    for name in ("loss_labelled", "lr", "score", "seconds"):
        logged = [(one.step, one.value) for one in found.Scalars(name)]
        assert logged == [(row["step"], pytest.approx(row[name])) for row in history]
    assert accelerator.trackers == []


def test_a_tracker_that_is_unknown_or_not_installed_is_named(monkeypatch):
    with pytest.raises(ValueError, match=r"'paper' is not a tracker; choose from .*tensorboard"):
        make_accelerator(SHORT, "cpu", ("paper",))
    monkeypatch.setattr(training, "get_available_trackers", lambda: [])
    with pytest.raises(ValueError, match=r"wandb is not installed: pip install wandb"):
        make_accelerator(SHORT, "cpu", ("wandb",))
    assert "WANDB_MODE" not in os.environ
