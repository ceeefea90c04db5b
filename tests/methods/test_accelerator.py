"""The same numbers on CUDA or MPS as on the CPU; skipped on a machine without either."""

from __future__ import annotations

import copy
from dataclasses import replace

import every_method
import pytest
import tiny_run
import torch

from semiseg_lib.cli import main
from semiseg_lib.evaluation.predict import predict_part
from semiseg_lib.methods.base import Method
from semiseg_lib.training.loop import fit, make_accelerator
from semiseg_lib.training.run_folder import RunFolder

pytestmark = pytest.mark.skipif(
    not torch.accelerator.is_available(), reason="needs a CUDA or MPS device"
)


@pytest.fixture
def device():
    """The accelerator, computing in full single precision."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield torch.accelerator.current_accelerator()
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def losses_and_gradients(method: Method, batch, device) -> tuple[dict, dict]:
    method, batch = copy.deepcopy(method).to(device).train(), batch.to(device)
    torch.manual_seed(1)
    losses = method.losses(batch, progress=0.5)
    sum(losses.values()).backward()
    gradients = {name: one.grad.cpu() for name, one in method.named_parameters()
                 if one.grad is not None}
    return {name: one.item() for name, one in losses.items()}, gradients


@pytest.mark.parametrize("config", every_method.CONFIGS, ids=str)
def test_losses_and_gradients_are_those_of_the_cpu(config, device, make_batch):
    method, batch = every_method.build(config), make_batch()
    there, here = (losses_and_gradients(method, batch, one) for one in ("cpu", device))
    assert here[0] == pytest.approx(there[0], rel=1e-3, abs=1e-4)
    assert here[1].keys() == there[1].keys()
    for name, gradient in there[1].items():
        torch.testing.assert_close(here[1][name], gradient, rtol=2e-2, atol=1e-3, msg=name)


@pytest.mark.parametrize("config", every_method.CONFIGS[:3], ids=str)
def test_predictions_are_those_of_the_cpu(config, device, make_batch):
    method, part = every_method.build(config).eval(), make_batch().labelled
    expected = predict_part(method, part)
    torch.testing.assert_close(predict_part(method.to(device), part).cpu(), expected,
                               rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_training_ends_as_one_without_a_break(tmp_path, device, precision, workers):
    config = replace(tiny_run.CONFIG, precision=precision)

    def train(folder: str, **options) -> dict:
        accelerator = make_accelerator(config)
        assert accelerator.device.type == device.type
        method = tiny_run.built()
        history = fit(method, tiny_run.loader(config), config, RunFolder(tmp_path / folder),
                      accelerator, workers=workers, **options)
        return tiny_run.outcome(method, history)

    whole = train("whole")
    train("broken", stop_at=13)
    broken = train("broken")
    assert whole.keys() == broken.keys()
    for name, value in whole.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(broken[name], value, rtol=1e-4, atol=1e-5)
    losses = [[row["loss_labelled"] for row in one["history"]] for one in (whole, broken)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3) and losses[0][-1] < losses[0][0]


def test_the_storyline_runs_and_says_where(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    for command in (["pipeline"], ["train", "cutmix-cps"], ["train", "eln"]):
        assert main([*command, "--profile", "smoke"]) == 0
    capsys.readouterr()
    assert main(["runs"]) == 0
    assert "fresh" in capsys.readouterr().out
