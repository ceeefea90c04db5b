"""Two processes over gloo: the same training as one, one that writes, and no one left waiting."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jobs
import pytest
import tiny_run
import torch
from tiny_run import (
    CONFIG,
    Later,
    Tiny,
    brightness,
    built,
    free_port,
    loader,
    one_of_two,
    outcome,
    start,
    train,
)
from torch import Tensor, nn

from semiseg_lib.training import loop
from semiseg_lib.training.loop import fit, make_accelerator
from semiseg_lib.training.options import TrainConfig
from semiseg_lib.training.run_folder import RunFolder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="started by a server that forks")
TOGETHER = replace(CONFIG, steps=8, optimizer="sgd", clip=1.0, validate_every=4)


def run_two(
    folder: Path, config: TrainConfig, fault: str = "", kind: type[Tiny] = Tiny
) -> list[str]:
    """Train in two processes; return what each said at its end."""
    port = free_port()
    join([start(one_of_two, rank, port, folder, config, fault, kind) for rank in (0, 1)])
    return [(folder / f"said-{rank}.txt").read_text(encoding="utf-8") for rank in (0, 1)]


def run_jobs(work: Path, names: Sequence[str], task) -> dict[str, list[Any]]:
    """Do a task in jobs of two processes at the same time; return what each process said."""
    started = []
    for name in names:
        port = free_port()
        started += [start(jobs.member, rank, port, work, name, task) for rank in (0, 1)]
    join(started, seconds=150)
    return {name: [json.loads((work / f"{name}-{rank}.json").read_text(encoding="utf-8"))
                   for rank in (0, 1)] for name in names}


def join(started: Sequence, seconds: float = 60) -> None:
    """Wait for processes; those that do not end are killed, and the test fails."""
    deadline = time.monotonic() + seconds
    for one in started:
        one.join(max(deadline - time.monotonic(), 0))
    waiting = [one for one in started if one.is_alive()]
    for one in waiting:
        one.kill()
        one.join()
    assert not waiting, f"{len(waiting)} processes were still waiting after {seconds} s"


def assert_close(one: dict, two: dict) -> None:
    assert one.keys() == two.keys() and len(one["history"]) == len(two["history"])
    for row, other in zip(one["history"], two["history"], strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    for name, value in one.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(value, two[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_train_as_one_with_the_same_batch(tmp_path, accumulate):
    """Four images in one process, two in each of two; losses are means over equal pixels."""
    config = replace(TOGETHER, accumulate=accumulate)
    assert run_two(tmp_path, config) == ["done", "done"]
    two = [torch.load(tmp_path / f"outcome-{rank}.pt") for rank in (0, 1)]
    one = outcome(*train(tmp_path / "one", config, score=brightness))
    assert_close(two[0], one)
    for name, value in two[0].items():
        if isinstance(value, Tensor):
            assert torch.equal(value, two[1][name]), f"the processes differ in {name}"
    other = outcome(*train(tmp_path / "other", replace(config, lr=0.02), score=brightness))
    with pytest.raises(AssertionError):
        assert_close(two[0], other)


def test_weights_may_come_into_the_losses_of_some_steps_only(tmp_path):
    assert run_two(tmp_path, TOGETHER, kind=Later) == ["done", "done"]
    two = [torch.load(tmp_path / f"outcome-{rank}.pt") for rank in (0, 1)]
    one = outcome(*train(tmp_path / "one", TOGETHER, built(Later), score=brightness))
    assert_close(two[0], one)
    assert all(torch.equal(value, two[1][name]) for name, value in two[0].items()
               if isinstance(value, Tensor))
    assert not torch.equal(one["later.weight"], built(Later).later.weight)


@pytest.mark.parametrize("kind, warned", [(Tiny, False), (Later, False)])
def test_nobody_looks_for_unused_weights_where_there_are_none(tmp_path, capfd, kind, warned):
    run_two(tmp_path, replace(TOGETHER, steps=2), kind=kind)
    assert ("find_unused_parameters" in capfd.readouterr().err) is warned


def test_a_run_of_one_process_goes_on_in_two(tmp_path):
    whole = outcome(*train(tmp_path / "whole", TOGETHER, score=brightness))
    train(tmp_path, TOGETHER, score=brightness, stop_at=3)
    assert run_two(tmp_path, TOGETHER) == ["done", "done"]
    assert_close(torch.load(tmp_path / "outcome-0.pt"), whole)


def test_a_signal_to_one_process_ends_both_after_the_same_step(tmp_path):
    said = run_two(tmp_path, replace(TOGETHER, checkpoint_seconds=1e9), "signal")
    assert said == ["KeyboardInterrupt: saved at step 5 of 8; the same command continues"] * 2
    assert RunFolder(tmp_path).read_checkpoint()["step"] == 5


def test_a_loss_that_is_no_number_in_one_process_stops_both(tmp_path):
    said = run_two(tmp_path, TOGETHER, "nan")
    assert said[0].startswith("TrainingDiverged: step 4") and "another process" in said[0]
    assert said[1].startswith("TrainingDiverged: step 4") and "bad_batch-1.safetensors" in said[1]
    assert RunFolder(tmp_path).read_checkpoint()["step"] == 4


def test_an_error_in_one_process_does_not_leave_the_other_waiting(tmp_path):
    said = run_two(tmp_path, TOGETHER, "error")
    assert said[1] == "OSError: the disk of process 1 is gone"
    assert said[0].startswith("RuntimeError"), "its connection was closed"
    assert RunFolder(tmp_path).read_checkpoint()["step"] == 4


class TwoProcesses:
    """What ``fit`` asks an accelerator before it starts."""

    num_processes, process_index, mixed_precision = 2, 0, "no"


@pytest.mark.parametrize("name, value", [("batch_labelled", 3), ("batch_unlabelled", 5)])
def test_a_batch_that_two_processes_cannot_share_is_refused(tmp_path, name, value):
    config = replace(CONFIG, **{name: value})
    with pytest.raises(ValueError, match=rf"{name} is {value}, which 2 processes.*multiple"):
        fit(built(), loader(config, 0, 2), config, RunFolder(tmp_path), TwoProcesses())


def test_a_loader_of_another_number_of_processes_is_refused(tmp_path):
    """Otherwise every process would train on the whole batch, and nobody would notice."""
    accelerator = make_accelerator(CONFIG, "cpu")
    with pytest.raises(ValueError, match=r"deals batches out to 2 processes, but there are 1"):
        fit(built(), loader(CONFIG, 0, 2), CONFIG, RunFolder(tmp_path), accelerator)


def test_synchronised_statistics_keep_names_weights_and_activations(monkeypatch):
    """The conversion for several CUDA processes; also of timm's layers that hold activations."""
    from timm.layers import BatchNormAct2d

    from semiseg_lib.training import optimizer as optimisers

    class Cuda(TwoProcesses):
        device = torch.device("cuda")

    torch.manual_seed(0)
    method = built()
    method.network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), BatchNormAct2d(4), nn.Conv2d(4, 3, 1)
    )
    names = {name: value.clone() for name, value in method.state_dict().items()}
    images = tiny_run.pool().part([0]).images
    before = method.eval().network(images)
    parameters = list(map(id, method.parameters()))
    optimisers.make_ready(method, TrainConfig(channels_last=False), Cuda())
    kinds = [type(module).__name__ for module in method.network]
    assert kinds == ["Conv2d", "SyncBatchNorm", "SyncBatchNormAct", "Conv2d"]
    torch.testing.assert_close(method.network(images), before)
    assert list(map(id, method.parameters())) == parameters
    assert {n: v.tolist() for n, v in method.state_dict().items()} == {
        n: v.tolist() for n, v in names.items()
    }


def test_of_two_jobs_that_ask_for_the_same_run_one_trains_and_the_other_finds_it(tmp_path):
    said = run_jobs(tmp_path, jobs.JOBS, jobs.ask_for_the_same_run)
    trained = {name: [one.pop("trained") for one in both] for name, both in said.items()}
    assert sorted(trained.values()) == [[False, False], [True, True]]
    first, *others = [one for both in said.values() for one in both]
    assert others == [first] * 3 and first["processes"] == 2
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == first["folder"] and RunFolder.open(folder).finished
    assert not (folder / "checkpoint.pt").exists()


def test_all_processes_take_what_the_main_one_sees_on_disk_scores_and_decides(tmp_path):
    main, other = run_jobs(tmp_path, ["c"], jobs.disagree)["c"]
    assert main.pop("selected") == 16 and other.pop("selected") == 0, "one process writes labels"
    assert main == other
    assert main["scores"] == [60.0, 40.0] and main["replaced"] is False


def test_a_result_that_cannot_be_written_is_an_error_in_every_process(tmp_path):
    said = run_jobs(tmp_path, ["d"], jobs.fill_the_disk)["d"]
    assert said == ["OSError: [Errno 28] No space left on device"] * 2
    (folder,) = (tmp_path / "runs").iterdir()
    assert not RunFolder.open(folder).finished


@pytest.mark.parametrize("there", [True, False])
def test_a_job_without_a_graphics_card_is_told_to_compute_on_the_cpu(monkeypatch, there):
    """Else accelerate takes each of its processes for a job of its own."""
    asked = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: there)
    monkeypatch.setattr(loop, "Accelerator", lambda **options: asked.append(options["cpu"]))
    loop.make_accelerator(tiny_run.CONFIG)
    loop.make_accelerator(tiny_run.CONFIG, "cpu")
    assert asked == [not there, True]
