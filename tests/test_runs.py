"""A run folder gives back what was put in, and refuses what does not belong together."""

from __future__ import annotations

import errno
import os
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from semiseg_lib.stages import Pipeline, RunConfig
from torch import nn

from semiseg_lib import durable
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.datasets.dataset import LISTS
from semiseg_lib.datasets.minivoc.worlds import BoxStyle
from semiseg_lib.methods import AncillaryConfig, PrimaryConfig, SupervisedConfig
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.profiles import load
from semiseg_lib.runs import CheckpointMismatch, RunFolder, best_of, fingerprint


def config(method=None) -> RunConfig:
    return Pipeline(load("smoke"), seed=5).config(
        method or PrimaryConfig(correction="none", alpha=AlphaSchedule(7, 0.25, 0.4)),
        replace(load("smoke").train_primary, schedule="cosine"), labels_from="abc",
    )


@pytest.mark.parametrize(
    "method", [SupervisedConfig(), AncillaryConfig(ema_decay=0.5), PrimaryConfig()]
)
def test_a_configuration_survives_the_disk_with_its_types(tmp_path, method):
    folder = RunFolder(tmp_path)
    folder.write_config(config(method))
    again = folder.read_config(RunConfig)
    assert again == config(method) and type(again.method) is type(method)
    assert fingerprint(again) == fingerprint(config(method))


def leaves(value, path: tuple[str, ...] = ()):
    """The path of every field of a nested dataclass that is none itself."""
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_dataclass(inner):
            yield from leaves(inner, (*path, field.name))
        else:
            yield (*path, field.name)


def changed(value, path: tuple[str, ...]):
    """A copy that differs in one field."""
    name, *rest = path
    old = getattr(value, name)
    if rest:
        return replace(value, **{name: changed(old, tuple(rest))})
    others = {"correction": "linear", "world": "tight", "optimizer": "sgd", "schedule": "poly",
              "precision": "bf16", "lists": "abc", "starts_from": "abc", "lr_end": 1e-3,
              "unboxed": "empty", "crop": 32, "scale": (0.5, 1.0), "border": "padding",
              "flip": 0.25, "keep": ("disc",), "shape": "cosine", "norm": "group",
              "rates": (6, 12), "labelled_boxes": BoxStyle(missed=0.1),
              "unlabelled_boxes": BoxStyle(missed=0.1)}
    if name == "dataset":
        return replace(value, dataset="voc", options=None)
    if name in others:
        return replace(value, **{name: others[name]})
    if isinstance(old, bool):
        return replace(value, **{name: not old})
    if isinstance(old, int | float):
        return replace(value, **{name: old + 1})
    if isinstance(old, str) and name in {*LISTS, "published", "encoder", "weights"}:
        return replace(value, **{name: "abc"})
    raise AssertionError(f"{name}: a new field of a type that this test cannot change: teach it")


@pytest.mark.parametrize(
    "path", [one for one in leaves(config()) if one[-1] != "checkpoint_seconds"], ids=".".join
)
def test_every_value_of_a_configuration_counts_in_its_fingerprint(path):
    """A run that differs in anything must never be mistaken for one on disk."""
    if path[-1] in ("name", "architecture", "labels_from"):
        other = replace(config(), labels_from="other")
    else:
        other = changed(config(), path)
    assert fingerprint(other) != fingerprint(config())


def test_a_whole_number_is_the_same_as_its_float():
    """AlphaSchedule(30) in a profile and AlphaSchedule(30.0) in a study are one run."""
    assert fingerprint(AlphaSchedule(30, 1, 1)) == fingerprint(AlphaSchedule(30.0, 1.0, 1.0))


def test_the_folder_is_found_by_name_and_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    folder = RunFolder.of("primary", config())
    assert folder.path == tmp_path / "runs" / f"primary-{fingerprint(config())}"
    assert not folder.finished and folder.read_checkpoint() is None


def test_a_folder_that_is_no_run_says_so(tmp_path):
    folder = RunFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere.*config\.json is missing.*no run folder"):
        folder.read_config(RunConfig)
    for read in (folder.read_record, lambda: folder.load_weights(nn.Linear(1, 1))):
        with pytest.raises(FileNotFoundError, match=r"nowhere.*not finished yet"):
            read()


def test_a_checkpoint_survives_and_goes_when_the_run_is_finished(tmp_path):
    folder = RunFolder(tmp_path)
    state = {"step": 4, "weights": {"w": torch.rand(3)}, "history": [{"step": 3.0}]}
    folder.write_checkpoint(state)
    again = folder.read_checkpoint()
    assert torch.equal(again["weights"]["w"], state["weights"]["w"])
    assert (again["step"], again["history"]) == (4, [{"step": 3.0}])
    folder.finish(nn.Linear(2, 3).state_dict(), {"history": [], "classes": ["a"]})
    assert folder.finished and folder.read_checkpoint() is None
    assert folder.read_record()["classes"] == ["a"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "record.json"]


def test_channels_last_weights_come_back_equal(tmp_path):
    layer, again = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    layer.to(memory_format=torch.channels_last)
    RunFolder(tmp_path).finish(layer.state_dict(), {})
    RunFolder(tmp_path).load_weights(again)
    assert torch.equal(layer.weight, again.weight) and torch.equal(layer.bias, again.bias)


@pytest.mark.parametrize("other", [nn.Linear(2, 4), nn.Linear(3, 3), nn.Conv2d(2, 3, 1),
                                   nn.Sequential(nn.Linear(2, 3)), nn.Linear(2, 3, bias=False)])
def test_weights_of_another_model_are_refused(tmp_path, other):
    RunFolder(tmp_path).finish(nn.Linear(2, 3).state_dict(), {})
    with pytest.raises(CheckpointMismatch, match=r"model\.safetensors.*config\.json.*train again"):
        RunFolder(tmp_path).load_weights(other)


def test_best_weights_that_were_never_kept_are_missed_by_name(tmp_path):
    folder = RunFolder(tmp_path)
    folder.finish(nn.Linear(2, 3).state_dict(), {"history": [{"step": 1, "loss": 2.0}]})
    assert "best" not in folder.read_record()
    with pytest.raises(FileNotFoundError, match=r"best\.safetensors is missing.*validate_every"):
        folder.load_weights(nn.Linear(2, 3), "best")


@pytest.mark.parametrize("scores, best", [
    ([], None), ([float("nan")], None), ([3.0, 5.0, 5.0, 1.0], {"step": 2, "score": 5.0}),
    ([float("nan"), 0.0, float("inf")], {"step": 2, "score": 0.0}),
])
def test_the_best_row_is_the_first_with_the_highest_score(scores, best):
    history = [{"step": n + 1, "score": score} for n, score in enumerate(scores)]
    assert best_of([*history, {"step": 9, "loss": 0.0}]) == best


@pytest.mark.parametrize("size", [0, 5, 100])
def test_truncated_weights_are_refused(tmp_path, size):
    RunFolder(tmp_path).finish(nn.Linear(20, 30).state_dict(), {})
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointMismatch, match=r"model\.safetensors does not fit.*train again"):
        RunFolder(tmp_path).load_weights(nn.Linear(20, 30))


def test_a_damaged_checkpoint_names_the_file_and_the_mend(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_checkpoint({"step": 4, "w": torch.rand(100)})
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(RuntimeError, match=r"checkpoint\.pt.*[Dd]elete"):
        folder.read_checkpoint()


def test_a_checkpoint_cannot_run_code(tmp_path):
    torch.save({"step": 1, "evil": print}, tmp_path / "checkpoint.pt")
    with pytest.raises(Exception, match=r"print|checkpoint"):
        RunFolder(tmp_path).read_checkpoint()


@pytest.fixture
def full_disk(monkeypatch):
    """Let the operating system itself refuse, where it can; undone before pytest writes again."""
    undo = []

    def fill(how: str) -> None:
        if how == "rename":
            def full(*_args):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr(durable.os, "replace", full)
            return
        resource = pytest.importorskip("resource", reason="no file size limit on this system")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        undo.append(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))

    yield fill, lambda: [step() for step in undo]
    for step in undo:
        step()


@pytest.mark.parametrize("how", ["write", "rename"])
@pytest.mark.parametrize("what", ["checkpoint.pt", "model.safetensors", "bad_batch.safetensors"])
def test_a_full_disk_is_named_with_the_mend_and_the_old_file_stays(tmp_path, full_disk, what, how):
    """Also for the files that torch and safetensors write, whose own errors are no OSError."""
    fill, undo = full_disk
    folder, weights = RunFolder(tmp_path), {"w": torch.rand(5000)}
    write = {
        "checkpoint.pt": lambda: folder.write_checkpoint(weights),
        "model.safetensors": lambda: folder.finish(weights, {}),
        "bad_batch.safetensors": lambda: folder.write_batch(Batch(Part(("a",), weights["w"]))),
    }[what]
    write()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    weights["w"] += 1
    fill(how)
    try:
        with pytest.raises(OSError) as caught:
            write()
    finally:
        undo()
    assert "could not write" in str(caught.value) and "Free some disk space" in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
