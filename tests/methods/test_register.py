"""A method from a notebook: known once it is registered, and trained like the book's own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import torch

from semiseg_lib import methods, profiles, unlabelled
from semiseg_lib.fingerprint import Configuration, Schema, plain
from semiseg_lib.launch import RunConfig
from semiseg_lib.methods import MeanTeacherConfig, SupervisedConfig, registry
from semiseg_lib.methods.mean_teacher import MeanTeacher
from semiseg_lib.methods.supervised import Supervised
from semiseg_lib.models import ModelConfig
from semiseg_lib.runs import RunFolder, fingerprint
from semiseg_lib.stages import Pipeline


@dataclass(frozen=True)
class SofterConfig(Configuration):
    SCHEMA = Schema(before={"later": 3})

    name: Literal["softer"] = "softer"
    weight: float = 1.0
    ramp: float = 0.0
    strong: None = None
    ema_decay: float = 0.9
    hard: None = None
    sizes: tuple[int, ...] = (1, 2)
    later: int = 4


class Softer(MeanTeacher):
    pass


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    methods.register(SofterConfig, Softer)


def config(method) -> RunConfig:
    smoke = profiles.load("smoke")
    return RunConfig(
        method, smoke.data, smoke.model, smoke.augment, smoke.train_unlabelled, 3
    )


def test_it_is_built_and_named_like_the_others():
    built = methods.build(SofterConfig(), ModelConfig(width=4), 3)
    assert type(built) is Softer and methods.kind(SofterConfig()) is Softer


def test_its_run_is_stored_without_a_warning_and_read_back(tmp_path):
    run = config(SofterConfig(weight=2.5, sizes=(3,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RunFolder(tmp_path).write_config(run)
        own = fingerprint(run)
    assert RunFolder(tmp_path).read_config(RunConfig) == run
    assert own != fingerprint(config(SofterConfig(weight=2.5)))
    assert "later" in plain(run)["method"]
    assert "later" not in plain(config(SofterConfig(later=3)))["method"]


def test_a_stored_run_of_an_unknown_method_says_how_to_make_it_known(tmp_path, monkeypatch):
    RunFolder(tmp_path).write_config(config(SofterConfig()))
    monkeypatch.delitem(registry.METHODS, SofterConfig)
    with pytest.raises(RuntimeError, match=r"method 'softer', which is not known.*register"):
        RunFolder(tmp_path).read_config(RunConfig)
    with pytest.raises(ValueError, match=r"methods\.register\(SofterConfig"):
        methods.build(SofterConfig(), ModelConfig(width=4), 3)


@pytest.mark.parametrize("own", [
    *(options for options in profiles.load("laptop").unlabelled.values()), SupervisedConfig(),
], ids=lambda options: options.name)
def test_the_books_own_options_are_stored_and_read_as_before(own, tmp_path):
    RunFolder(tmp_path).write_config(config(own))
    assert RunFolder(tmp_path).read_config(RunConfig) == config(own)


def test_a_cell_that_is_run_again_replaces_what_it_registered():
    again = dataclass(frozen=True)(type("SofterConfig", (), {
        "__annotations__": {"name": str}, "name": "softer", "__module__": __name__,
        "__qualname__": "SofterConfig",
    }))
    methods.register(again, Supervised)
    assert methods.kind(again()) is Supervised
    with pytest.raises(ValueError, match="SofterConfig are options of no method"):
        methods.kind(SofterConfig())


def test_what_is_no_method_is_refused():
    @dataclass(frozen=True)
    class Nameless:
        weight: float = 1.0

    @dataclass
    class Thawed:
        name: str = "thawed"

    @dataclass(frozen=True)
    class Spaced:
        name: str = "My Method"

    @dataclass(frozen=True)
    class Taken:
        name: str = "mean-teacher"

    @dataclass(frozen=True)
    class TakenToo:
        name: str = "softer"

    before = dict(registry.METHODS)
    for wrong in (Nameless, Thawed, int, MeanTeacherConfig()):
        with pytest.raises(ValueError, match="no frozen dataclass with a field name"):
            methods.register(wrong, Softer)
    with pytest.raises(ValueError, match="'My Method'; run folders are called after it"):
        methods.register(Spaced, Softer)
    for taken in (Taken, TakenToo, MeanTeacherConfig):
        with pytest.raises(ValueError, match=r"is the name of .*Config already"):
            methods.register(taken, Softer)
    for wrong in (torch.nn.Linear, Softer.__init__, None):
        with pytest.raises(ValueError, match="no class that is made from Method"):
            methods.register(SofterConfig, wrong)
    assert before == registry.METHODS


def test_it_is_trained_scored_and_loaded_like_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    pipeline = Pipeline(replace(profiles.load("smoke"), warm=False), 11, "cpu")
    trained = unlabelled.learn(pipeline, SofterConfig())
    assert trained.folder.path.name.startswith("softer-")
    assert {"loss_labelled", "loss_unlabelled"} <= trained.history[-1].keys()
    again = unlabelled.learn(pipeline, SofterConfig())
    assert again.record == trained.record and type(again.method) is Softer
    assert 0 <= pipeline.evaluate(again, "val").mean_iou <= 1
