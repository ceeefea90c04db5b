"""Killed, stopped, told to end: a run continues as if nothing had happened, to the last bit."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_run
import torch
from safetensors.torch import load, load_file
from tiny_run import CONFIG, brightness, built, outcome, same, start, train

from semiseg_lib.core.durable import Damaged
from semiseg_lib.training.checkpoints import Interruption
from semiseg_lib.training.loop import TrainingDiverged
from semiseg_lib.training.run_folder import RunFolder, best_of

processes = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL, no forks")
SCORED = replace(CONFIG, steps=12, validate_every=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The outcome of the uninterrupted run."""
    return outcome(*train(tmp_path_factory.mktemp("whole")))


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The outcome of an uninterrupted run with scores, and its best weights."""
    folder = tmp_path_factory.mktemp("scored")
    return outcome(*train(folder, SCORED, score=brightness)), best_so_far(folder)


def best_so_far(folder: Path) -> dict:
    """The best weights that an unfinished run has kept, after whichever step."""
    for step in range(SCORED.steps + 1):
        with suppress(Damaged):
            return load(RunFolder(folder).read_best(step))
    raise AssertionError("there are none")


def step_of(folder: Path) -> int:
    try:
        state = RunFolder(folder).read_checkpoint()
    except FileNotFoundError:  # a process that writes has just renamed it
        return step_of(folder)
    return state["step"] if state else 0


def wait_until(condition, started, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert started.is_alive() and time.monotonic() < deadline, "it ended before it was killed"
        time.sleep(0.002)


def finished(folder: Path) -> dict:
    """The outcome that a process has stored."""
    record = RunFolder(folder).read_record()
    weights = load_file(folder / "model.safetensors")
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in record["history"]]
    return {"history": rows, **weights}


@processes
def test_a_run_killed_again_and_again_ends_as_the_uninterrupted_one(tmp_path, whole):
    """SIGKILL at moments of no choosing, while it writes a checkpoint after every step."""
    moments = random.Random(11)
    for reached in (2, 9, 17, 24, 31):
        started = start(tiny_run.process, tmp_path, CONFIG, pause=0.004)
        wait_until(lambda reached=reached: step_of(tmp_path) >= reached, started)
        time.sleep(moments.uniform(0, 0.012))
        started.kill()
        started.join()
        assert reached <= step_of(tmp_path) < 40 and not RunFolder(tmp_path).finished
    started = start(tiny_run.process, tmp_path, CONFIG)
    started.join(60)
    assert started.exitcode == 0 and same(finished(tmp_path), whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "manifest.json", "model.safetensors", "record.json"
    ]


@processes
@pytest.mark.parametrize("die_at, left", [
    (1, []), (10, ["checkpoint-before.pt", "checkpoint.pt"]), (11, ["checkpoint-before.pt"]),
], ids=["first", "before either is renamed", "between the two"])
def test_a_kill_within_a_checkpoint_leaves_the_one_before(tmp_path, whole, die_at, left):
    """The first checkpoint is one rename, every further one two: the old one moves, too."""
    started = start(tiny_run.process, tmp_path, CONFIG, die_in="rename", die_at=die_at)
    started.join(60)
    assert started.exitcode == -signal.SIGKILL and step_of(tmp_path) == die_at // 2
    assert sorted(path.name for path in tmp_path.glob("check*")) == left
    assert len(list(tmp_path.glob(".checkpoint.pt.*"))) == 1, "killed before the rename"
    assert same(outcome(*train(tmp_path)), whole)
    assert not list(tmp_path.glob(".*"))


@processes
def test_a_kill_between_checkpoint_and_best_weights_loses_neither(tmp_path, scored):
    whole, best = scored
    started = start(tiny_run.process, tmp_path, SCORED, die_in="best", score=brightness)
    started.join(60)
    assert started.exitcode == -signal.SIGKILL and step_of(tmp_path) == 2
    assert not (tmp_path / "best-so-far.sealed").exists()
    train(tmp_path, SCORED, score=lambda _method: -1.0, stop_at=2)
    assert (tmp_path / "best-so-far.sealed").exists()
    assert same(outcome(*train(tmp_path, SCORED, score=brightness)), whole)
    assert same(best_so_far(tmp_path), best)


@pytest.mark.parametrize("stop_at", [3, 6, 11])
def test_the_best_so_far_survives_an_interruption(tmp_path, scored, stop_at):
    whole, best = scored
    train(tmp_path, SCORED, score=brightness, stop_at=stop_at)
    assert same(outcome(*train(tmp_path, SCORED, score=brightness)), whole)
    assert same(best_so_far(tmp_path), best)


# Damaged while it ran


def harm(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "flipped":
        content = bytearray(content)
        content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content) if how == "flipped" else content[:len(content) // 3])


HOW = pytest.mark.parametrize("how", ["flipped", "truncated"])


@HOW
@pytest.mark.parametrize("names, goes_on_from", [
    (["checkpoint.pt"], 6), (["checkpoint.pt", "checkpoint-before.pt"], 0),
    (["checkpoint-before.pt"], 9),
], ids=str)
def test_a_damaged_checkpoint_costs_time_and_nothing_else(
    tmp_path, whole, capsys, how, names, goes_on_from
):
    """The one before is taken; where both are damaged, the run starts again."""
    config = replace(CONFIG, checkpoint_seconds=1e9)
    for stop_at in (6, 9):
        train(tmp_path, config, stop_at=stop_at)
    for name in names:
        harm(tmp_path / name, how)
    assert step_of(tmp_path) == goes_on_from
    assert same(outcome(*train(tmp_path, config)), whole)
    kept = {path.name for path in tmp_path.glob("*.damaged")}
    assert kept == {f"{name}.damaged" for name in names if "checkpoint.pt" in names}
    assert capsys.readouterr().err.count("It is set aside as") == len(kept)


def falling(method) -> float:
    """The first score is the best one; it follows from the state alone."""
    return -method.average.n_averaged.item()


def rising(method) -> float:
    """Each score is the best so far."""
    return method.average.n_averaged.item()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Outcome and best weights of the runs with these scores."""
    found = {}
    for score in (falling, rising):
        folder = tmp_path_factory.mktemp(score.__name__)
        found[score] = outcome(*train(folder, SCORED, score=score)), best_so_far(folder)
    return found


@HOW
@pytest.mark.parametrize("score, lost", [
    (falling, ["best-so-far.sealed"]), (falling, ["checkpoint.pt"]), (rising, ["checkpoint.pt"]),
    (rising, ["best-so-far.sealed"]),
    (falling, ["best-so-far.sealed", "checkpoint.pt"]),
    (rising, ["best-so-far.sealed", "checkpoint.pt", "checkpoint-before.pt"]),
])
def test_neither_the_last_nor_the_best_weights_depend_on_what_was_damaged(
    tmp_path, undisturbed, how, score, lost
):
    config = replace(SCORED, checkpoint_seconds=1e9)
    train(tmp_path, config, score=score, stop_at=7)
    for name in lost:
        harm(tmp_path / name, how)
    whole, best = undisturbed[score]
    assert same(outcome(*train(tmp_path, config, score=score)), whole)
    assert same(best_so_far(tmp_path), best)


@pytest.mark.parametrize("how", ["flipped", "truncated", "missing"])
def test_without_its_best_weights_a_run_starts_again_and_says_so(
    tmp_path, undisturbed, capsys, how
):
    """They may be older than both checkpoints: no later state can give them back."""
    train(tmp_path, SCORED, score=falling, stop_at=9)
    path = tmp_path / "best-so-far.sealed"
    if how == "missing":
        path.unlink()
    else:
        harm(path, how)
    method = built()
    steps, after_step = [], method.after_step
    method.after_step = lambda step: steps.append(step) or after_step(step)
    capsys.readouterr()
    again = train(tmp_path, SCORED, method, score=falling)
    assert steps == list(range(12))
    said = "is missing" if how == "missing" else "is damaged"
    printed = capsys.readouterr().out
    assert said in printed and "starts again from its first step" in printed
    whole, best = undisturbed[falling]
    assert same(outcome(*again), whole) and same(best_so_far(tmp_path), best)


def test_a_checkpoint_that_is_older_than_the_best_weights_starts_again(
    tmp_path, undisturbed, capsys
):
    """The newest one, which was saved with them, is damaged; the best so far of the older one are
    overwritten, and those that are there may not come out again on every machine."""
    train(tmp_path, SCORED, score=rising, stop_at=5)
    older = (tmp_path / "checkpoint.pt").read_bytes()
    train(tmp_path, SCORED, score=rising, stop_at=6)
    (tmp_path / "checkpoint-before.pt").write_bytes(older)
    harm(tmp_path / "checkpoint.pt", "flipped")
    assert step_of(tmp_path) == 5
    capsys.readouterr()
    whole, best = undisturbed[rising]
    assert same(outcome(*train(tmp_path, SCORED, score=rising)), whole)
    assert same(best_so_far(tmp_path), best)
    said = "does not hold the best weights, those of step 4. The run starts again from its first"
    assert said in capsys.readouterr().out


def test_best_weights_are_those_of_the_highest_score(tmp_path):
    """Against an oracle: the weights at the step whose given score is highest, first of equals."""
    scores = iter([1.0, 7.0, float("nan"), 7.0, 3.0, 2.0])
    seen = []

    def score(method) -> float:
        assert not method.training and not torch.is_grad_enabled()
        seen.append({name: value.clone() for name, value in method.state_dict().items()})
        return next(scores)

    method, history = train(tmp_path, SCORED, score=score)
    assert method.training and best_of(history) == {"step": 4, "score": 7.0}
    assert [row["step"] for row in history if "score" in row] == [2, 4, 6, 8, 10, 12]
    RunFolder(tmp_path).finish(method.state_dict(), {"history": history})
    assert RunFolder(tmp_path).read_record()["best"] == {"step": 4, "score": 7.0}
    for which, expected in (("best", seen[1]), ("last", seen[5])):
        again = built()
        RunFolder(tmp_path).load_weights(again, which)
        assert same(dict(again.state_dict()), expected)


def interrupted_at(step: int, *signals: int, pause: float = 0.0):
    """A method that sends its own process these signals after a step."""
    method = built()
    after_step = method.after_step

    def send(number: int) -> None:
        after_step(number)
        if number == step:
            for one in signals:
                os.kill(os.getpid(), one)
                time.sleep(pause)

    method.after_step = send
    return method


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step, saved", [(0, 2), (20, 22), (39, 40)])
def test_a_signal_saves_and_the_same_command_continues(tmp_path, whole, number, step, saved):
    """It comes after the gradients of its step were shared, so the next step is the last one."""
    config = replace(CONFIG, checkpoint_seconds=1e9)
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt, match=rf"saved at step {saved} of 40; the same command"):
        train(tmp_path, config, interrupted_at(step, number))
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    assert step_of(tmp_path) == saved
    assert same(outcome(*train(tmp_path, config)), whole)


def test_a_second_ctrl_c_stops_at_once(tmp_path, monkeypatch):
    config = replace(CONFIG, checkpoint_seconds=1e9)
    with pytest.raises(KeyboardInterrupt, match="saved at step 7"):
        train(tmp_path / "one", config, interrupted_at(5, signal.SIGINT, signal.SIGINT))
    monkeypatch.setattr(Interruption, "AGAIN", 0.01)
    with pytest.raises(KeyboardInterrupt, match="at once"):
        train(tmp_path / "two", config, interrupted_at(5, signal.SIGINT, signal.SIGINT, pause=0.02))
    assert step_of(tmp_path / "two") == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_in_another_thread_leaves_signals_alone(tmp_path, whole):
    """Python only lets the main thread set handlers; a server or a notebook may train elsewhere."""
    found = []

    def run() -> None:
        found.append(outcome(*train(tmp_path)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert same(found[0], whole)


def test_an_ignored_signal_stays_ignored():
    """``nohup semiseg train`` must not be stopped by what the shell sends to everybody."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop.wanted
    finally:
        signal.signal(signal.SIGINT, before)


@processes
def test_ctrl_c_reaches_processes_that_read_ahead_too_and_harms_nothing(tmp_path, whole):
    """A terminal sends it to all processes of the group."""
    started = start(tiny_run.process, tmp_path, CONFIG, pause=0.02, workers=2)
    wait_until(lambda: step_of(tmp_path) >= 4, started)
    os.killpg(started.pid, signal.SIGINT)
    started.join(60)
    assert started.exitcode == 1 and 5 <= step_of(tmp_path) < 40
    assert same(outcome(*train(tmp_path)), whole)


def broken_at(step: int):
    """A method whose losses stay sound while a gradient is infinite: the weights are lost."""
    method = built()
    losses = method.losses

    def infinite(batch, progress):
        terms = losses(batch, progress)
        if progress >= step / 8:
            weight = method.network[0].weight
            zero = (weight - weight.detach()).sum()
            terms["spoiled"] = torch.sqrt(zero.clamp(min=0)) * 0 + torch.sqrt(zero**2)
        return terms

    method.losses = infinite
    return method


@pytest.mark.parametrize("every, step, kept", [(0.0, 5, 5), (1e9, 7, 4)])
def test_weights_that_are_no_numbers_are_never_written(tmp_path, every, step, kept):
    """The loss is finite, its gradient not: the last good checkpoint stays, also at the end."""
    config = replace(CONFIG, steps=8, checkpoint_seconds=every)
    train(tmp_path, config, stop_at=4)
    with pytest.raises(TrainingDiverged, match=rf"step {step + 1}: .*NaN or infinite.*Lower lr"):
        train(tmp_path, config, broken_at(step))
    state = RunFolder(tmp_path).read_checkpoint()
    assert state["step"] == kept
    assert all(torch.isfinite(value).all() for value in state["method"].values())
