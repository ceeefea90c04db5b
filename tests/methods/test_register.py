"""A method from a notebook: known once it is registered, and trained like the book's own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields, make_dataclass, replace
from typing import Any, Literal, get_type_hints

import pytest
import torch
from every_method import read_back, run_of, store

from semiseg_lib import methods, recipes
from semiseg_lib.core.fingerprint import Configuration, Schema, fingerprint, plain
from semiseg_lib.experiments import Inputs, open_run, resolve, semi_supervised
from semiseg_lib.methods import MeanTeacherConfig, SupervisedConfig, registry
from semiseg_lib.methods.mean_teacher.method import MeanTeacher
from semiseg_lib.methods.supervised.method import Supervised
from semiseg_lib.models import ModelConfig


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


@dataclass(frozen=True)
class BareConfig:
    """Options that are a dataclass and nothing more."""

    name: Literal["bare"] = "bare"
    weight: float = 1.0
    ramp: float = 0.0
    strong: None = None
    ema_decay: float = 0.9
    hard: None = None


class Softer(MeanTeacher):
    pass


BOTH = pytest.mark.parametrize("kind", [SofterConfig, BareConfig], ids=lambda kind: kind.name)


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    methods.register(SofterConfig, Softer)
    methods.register(BareConfig, Softer)


def changed(kind: type, schema: Schema | None = None, without: str = "", **added: Any) -> type:
    """The class of options as a later edit of the same cell would define it."""
    types = get_type_hints(kind)
    own = [(one.name, types[one.name], one.default) for one in fields(kind) if one.name != without]
    namespace = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return make_dataclass(
        kind.__name__, [*own, *((name, Any, value) for name, value in added.items())],
        bases=kind.__bases__, namespace=namespace | ({"SCHEMA": schema} if schema else {}),
        frozen=True,
    )


def test_it_is_built_and_named_like_the_others():
    built = methods.build(SofterConfig(), ModelConfig(width=4), 3)
    assert type(built) is Softer and methods.method_class(SofterConfig()) is Softer


def test_its_run_is_stored_without_a_warning_and_read_back(tmp_path):
    run = run_of(SofterConfig(weight=2.5, sizes=(3,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store(run, tmp_path)
        own = fingerprint(run)
    assert read_back(tmp_path) == run
    assert own != fingerprint(run_of(SofterConfig(weight=2.5)))
    assert "later" in plain(run)["method"]
    assert "later" not in plain(run_of(SofterConfig(later=3)))["method"]


@BOTH
def test_every_option_is_part_of_the_identity_of_a_run(kind, tmp_path):
    run = run_of(kind(weight=2.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store(run, tmp_path)
    assert read_back(tmp_path) == run and type(read_back(tmp_path).method) is kind
    identity = Inputs().identity
    assert identity(run).name.startswith(f"{kind.name}-")
    assert identity(run).digest == identity(run_of(kind(weight=2.5))).digest
    assert identity(run).digest != identity(run_of(kind())).digest


@BOTH
@pytest.mark.parametrize("edit", [{"further": 1}, {"without": "weight"}], ids=str)
def test_a_stored_run_of_options_that_were_changed_since_is_refused(kind, edit, tmp_path):
    store(run_of(kind()), tmp_path)
    schema = SofterConfig.SCHEMA if kind is SofterConfig else None
    methods.register(changed(kind, schema, **edit), Softer)
    with pytest.raises(ValueError, match=r"config\.json (was stored with|cannot be read)"):
        read_back(tmp_path)


def test_an_option_that_states_its_value_before_leaves_stored_runs_what_they_are(tmp_path):
    run = run_of(SofterConfig(weight=2.5))
    store(run, tmp_path)
    later = changed(SofterConfig, Schema(before={"later": 3, "further": 1}), further=2)
    methods.register(later, Softer)
    opened = read_back(tmp_path)
    assert opened.method == later(weight=2.5, further=1)
    assert fingerprint(opened) == fingerprint(run)
    assert fingerprint(run_of(later(weight=2.5))) != fingerprint(run)


def test_a_stored_run_of_an_unknown_method_says_how_to_make_it_known(tmp_path, monkeypatch):
    store(run_of(SofterConfig()), tmp_path)
    monkeypatch.delitem(registry.METHODS, SofterConfig)
    with pytest.raises(RuntimeError, match=r"method 'softer' is not known.*register"):
        read_back(tmp_path)
    with pytest.raises(ValueError, match=r"methods\.register\(SofterConfig"):
        methods.build(SofterConfig(), ModelConfig(width=4), 3)


@pytest.mark.parametrize("own", [
    *(options for options in recipes.load("laptop").unlabelled.values()), SupervisedConfig(),
], ids=lambda options: options.name)
def test_the_books_own_options_are_stored_and_read_as_before(own, tmp_path):
    store(run_of(own), tmp_path)
    assert read_back(tmp_path) == run_of(own)


def test_a_cell_that_is_run_again_replaces_what_it_registered():
    again = dataclass(frozen=True)(type("SofterConfig", (), {
        "__annotations__": {"name": str}, "name": "softer", "__module__": __name__,
        "__qualname__": "SofterConfig",
    }))
    methods.register(again, Supervised)
    assert methods.method_class(again()) is Supervised
    with pytest.raises(ValueError, match="SofterConfig is not the configuration of"):
        methods.method_class(SofterConfig())


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
        with pytest.raises(ValueError, match="is not a frozen dataclass with a field name"):
            methods.register(wrong, Softer)
    with pytest.raises(ValueError, match=r"'My Method'\. Run folders are named after it"):
        methods.register(Spaced, Softer)
    for taken in (Taken, TakenToo, MeanTeacherConfig):
        with pytest.raises(ValueError, match=r"is already the name of .*Config"):
            methods.register(taken, Softer)
    for wrong in (torch.nn.Linear, Softer.__init__, None):
        with pytest.raises(ValueError, match="is not a subclass of Method"):
            methods.register(SofterConfig, wrong)
    assert before == registry.METHODS


def test_code_with_a_further_option_finds_the_runs_of_the_code_before(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    smoke = replace(recipes.load("smoke"), warm=False)
    first = resolve(semi_supervised.learn(smoke, 11, SofterConfig()), "cpu")
    later = changed(SofterConfig, Schema(before={"later": 3, "further": 1}), further=2)
    methods.register(later, Softer)
    same, other = (resolve(semi_supervised.learn(smoke, 11, later(further=one)), "cpu")
                   for one in (1, 2))
    assert same.folder.path == first.folder.path and same.record == first.record
    assert same.run.method == later(further=1) and other.folder.path != first.folder.path
    assert len(list((tmp_path / "runs").iterdir())) == 2, "nothing was set aside"


@BOTH
def test_it_is_trained_scored_and_loaded_like_the_others(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    smoke = replace(recipes.load("smoke"), warm=False)
    run = semi_supervised.learn(smoke, 11, kind())
    trained = resolve(run, "cpu")
    assert trained.folder.path.name.startswith(f"{kind.name}-")
    assert {"loss_labelled", "loss_unlabelled"} <= trained.history[-1].keys()
    for again in (resolve(run, "cpu"), open_run(trained.folder.path, "cpu")):
        assert again.run == run and again.folder.path == trained.folder.path
        assert again.record == trained.record and type(again.method) is Softer
        assert 0 <= again.evaluate("val").mean_iou <= 1
