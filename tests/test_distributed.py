"""Two processes over gloo: the same training as one, one that writes, and no one left waiting."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from semiseg_lib.runs import RunFolder
from semiseg_lib.train import TrainConfig, fit, make_accelerator

sys.path.append(str(Path(__file__).parent))

import tiny_run
from tiny_run import CONFIG, brightness, built, free_port, loader, one_of_two, outcome, start, train

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="started by a server that forks")
TOGETHER = replace(CONFIG, steps=8, optimizer="sgd", clip=1.0, validate_every=4)


def run_two(folder: Path, config: TrainConfig, fault: str = "", seconds: float = 60) -> list[str]:
    """Train in two processes; return what each said at its end."""
    port = free_port()
    started = [start(one_of_two, rank, port, folder, config, fault) for rank in (0, 1)]
    deadline = time.monotonic() + seconds
    for one in started:
        one.join(max(deadline - time.monotonic(), 0))
    waiting = [one for one in started if one.is_alive()]
    for one in waiting:
        one.kill()
        one.join()
    assert not waiting, f"{len(waiting)} processes were still waiting after {seconds} s"
    return [(folder / f"said-{rank}.txt").read_text(encoding="utf-8") for rank in (0, 1)]


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

    from semiseg_lib import optimisers

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
