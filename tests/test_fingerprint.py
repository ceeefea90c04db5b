"""Fingerprints: stable keys, options that came later, and those of the profiles on record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from reachable import EXAMPLES, changed, named_profiles, option_classes, parts_of, within
from remake_fingerprints import STORED, fingerprints

from semiseg_lib.core.fingerprint import (
    Configuration,
    Schema,
    digest,
    dump,
    fingerprint,
    load,
    plain,
    schema_of,
)
from semiseg_lib.experiments import Machine, Run
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.models import ModelConfig
from semiseg_lib.training.options import TrainConfig

CLASSES = option_classes()
CONFIG = Path("config.json")
each_class = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def variant(kind: type, changes: Mapping[str, Any], **namespace: Any) -> type:
    """Return a copy of a class with other defaults or further options, and without its checks."""
    annotations = {name: kind.__annotations__.get(name, type(value).__name__)
                   for name, value in changes.items()}
    body = {"__annotations__": annotations, "__module__": kind.__module__,
            "__post_init__": lambda self: None, **changes, **namespace}
    return dataclass(frozen=True, kw_only=True)(type(kind.__name__, (kind,), body))


def with_option_added(kind: type, before: Any, default: Any) -> type:
    """Return a copy of a class with an option ``later``."""
    return variant(kind, {"later": default}, SCHEMA=Schema(before={"later": before}))


def moved(value: Any, kind: type, **more: Any) -> Any:
    """Return options as an instance of a copy of their class."""
    return kind(**{one.name: getattr(value, one.name) for one in fields(value)}, **more)


def with_inner(value: Any, old: Any, new: Any) -> Any:
    """Return a value in which one configuration, known by its identity, is another one."""
    if value is old:
        return new
    if is_dataclass(value):
        found = copy(value)
        for one in fields(value):
            object.__setattr__(found, one.name, with_inner(getattr(value, one.name), old, new))
        return found
    if isinstance(value, Mapping):
        return {key: with_inner(one, old, new) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(with_inner(one, old, new) for one in value)
    return value


def test_every_class_of_options_is_a_configuration():
    assert {TrainConfig, ModelConfig, Run, AlphaSchedule} <= set(CLASSES)
    outside = [kind.__name__ for kind in CLASSES if not issubclass(kind, Configuration)]
    assert outside == [], "derive them from semiseg_lib.core.fingerprint.Configuration"
    for kind in CLASSES:
        schema_of(kind)


def test_no_configuration_says_where_and_how_fast_it_is_computed():
    nowhere = {"device", "threads", "processes"} | {one.name for one in fields(Machine)}
    found = {(kind.__name__, one.name) for kind in CLASSES for one in fields(kind)}
    assert not {(kind, name) for kind, name in found if name in nowhere}
    assert {("TrainConfig", "precision"), ("TrainConfig", "batch_labelled")} <= found


# An option that came later


@each_class
def test_an_added_option_changes_no_fingerprint_while_it_means_as_before(kind):
    old = EXAMPLES[kind]
    later = with_option_added(kind, "as before", "the new default")
    assert fingerprint(moved(old, later, later="as before")) == fingerprint(old)
    assert fingerprint(moved(old, later)) != fingerprint(old)
    assert dump(moved(old, later, later="as before"))["later"] == "as before"


@each_class
def test_a_file_without_the_option_is_read_as_before_it_existed(kind):
    later = with_option_added(kind, "as before", "the new default")
    read = load(later, dump(EXAMPLES[kind]), CONFIG)
    assert read.later == "as before"
    assert fingerprint(read) == fingerprint(EXAMPLES[kind])
    assert load(later, dump(moved(EXAMPLES[kind], later)), CONFIG).later == "the new default"


@pytest.mark.parametrize("name", list(named_profiles()))
def test_an_option_added_to_every_class_of_a_profile_changes_none_of_its_fingerprints(name):
    for part, value in parts_of(named_profiles()[name]).items():
        new = value
        for one in reversed(list(within(value))):
            later = with_option_added(type(one), 0, 1)
            now = next(now for old, now in zip(within(value), within(new), strict=True)
                       if old is one)
            new = with_inner(new, now, moved(now, later, later=0))
        assert fingerprint(new) == fingerprint(value), part


@dataclass(frozen=True)
class Inner(Configuration):
    rate: float = 1
    shape: str = "straight"


@dataclass(frozen=True)
class Outer(Configuration):
    SCHEMA = Schema(before={"inner": {"rate": 1.0, "shape": "straight"}, "pairs": [[1, 2]]})

    steps: int = 3
    inner: Inner = Inner(rate=2)
    pairs: tuple[tuple[int, int], ...] = ()


def test_the_value_before_is_frozen_apart_from_the_defaults():
    assert plain(Outer()) == {
        "steps": 3, "inner": {"rate": 2.0, "shape": "straight"}, "pairs": []}
    assert plain(Outer(inner=Inner(), pairs=((1, 2),))) == {"steps": 3}
    assert load(Outer, {"steps": 3}, CONFIG) == Outer(3, Inner(1.0, "straight"), ((1, 2),))
    with pytest.raises(TypeError, match=r"Frozen\.SCHEMA\.before is not JSON"):
        schema_of(make_dataclass(
            "Frozen", [("inner", Inner)], bases=(Configuration,), frozen=True,
            namespace={"SCHEMA": Schema(before={"inner": Inner()})},
        ))


# Defaults


@each_class
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # a name has but one value
def test_every_default_counts_in_the_fingerprint_of_what_used_it(kind):
    aside = schema_of(kind).aside
    for one in fields(kind):
        other = changed(EXAMPLES[kind], one.name)
        differs = fingerprint(other) != fingerprint(EXAMPLES[kind])
        assert differs == (one.name not in aside), one.name


@pytest.mark.parametrize("name", list(named_profiles()))
def test_every_option_of_a_profile_counts_in_the_fingerprint_of_its_part(name):
    for part, value in parts_of(named_profiles()[name]).items():
        own = fingerprint(value)
        for inner in within(value):
            for one in fields(inner):
                if one.name in schema_of(type(inner)).aside:
                    continue
                other = with_inner(value, inner, changed(inner, one.name))
                assert fingerprint(other) != own, f"{part}: {type(inner).__name__}.{one.name}"


def test_another_default_is_another_fingerprint():
    for default in (0.5, 2.0):
        other = variant(ModelConfig, {"encoder_lr": default})
        assert fingerprint(other()) != fingerprint(ModelConfig())
        assert fingerprint(other(encoder_lr=1.0)) == fingerprint(ModelConfig())


def test_whole_numbers_in_place_of_fractions_change_nothing():
    assert fingerprint(AlphaSchedule(30, 1, 1)) == fingerprint(AlphaSchedule(30.0, 1.0, 1.0))
    assert fingerprint(TrainConfig(lr=1)) == fingerprint(TrainConfig(lr=1.0))


# Names


@dataclass(frozen=True)
class Old(Configuration):
    name: Literal["one"] = "one"
    rate: float = 0.5
    inner: Inner = Inner()


@dataclass(frozen=True)
class Renamed(Configuration):
    SCHEMA = Schema(keys={"learning_rate": "rate", "nested": "inner"})

    name: Literal["one"] = "one"
    learning_rate: float = 0.5
    nested: Inner = Inner()


@dataclass(frozen=True)
class Two(Configuration):
    name: Literal["two"] = "two"
    rate: float = 0.5


@dataclass(frozen=True)
class Holder(Configuration):
    method: Old | Two
    second: Old | Two | None = None


@dataclass(frozen=True)
class NewHolder(Configuration):
    method: Renamed | Two
    second: Renamed | Two | None = None


def test_a_renamed_option_keeps_its_key_and_old_files_are_read():
    assert plain(Renamed(learning_rate=2)) == plain(Old(rate=2))
    assert load(Renamed, dump(Old(rate=2)), CONFIG) == Renamed(learning_rate=2.0)
    assert dump(Renamed()) == dump(Old())
    old, new = Holder(Old(rate=3), Old()), NewHolder(Renamed(learning_rate=3), Renamed())
    assert fingerprint(new) == fingerprint(old)
    assert load(NewHolder, dump(old), CONFIG) == new
    assert load(NewHolder, dump(Holder(Two(rate=2))), CONFIG) == NewHolder(Two(rate=2.0))


def test_keys_hold_wherever_a_class_is_met():
    """Once, again, in a tuple and in a mapping: the second meeting is no plain dataclass."""
    def holder(kind: type) -> Any:
        types = {"one": kind, "two": kind, "many": tuple[kind, ...], "named": Mapping[str, kind]}
        made = make_dataclass("Made", types.items(), bases=(Configuration,), frozen=True)
        option = {Old: "rate", Renamed: "learning_rate"}[kind]
        one, two, three = (kind(**{option: rate}) for rate in (1.0, 2.0, 3.0))
        return made(one, two, (three, one), {"a": two, "b": three})

    old, new = holder(Old), holder(Renamed)
    assert plain(new) == plain(old) and dump(new) == dump(old)
    assert load(type(new), dump(old), CONFIG) == new


@each_class
def test_a_class_may_be_renamed_and_moved(kind):
    other = type("Another", (variant(kind, {}),), {"__module__": "elsewhere"})
    other = dataclass(frozen=True)(other)
    assert fingerprint(moved(EXAMPLES[kind], other)) == fingerprint(EXAMPLES[kind])


def test_the_order_of_options_counts_for_nothing():
    one = make_dataclass("One", [("rate", float), ("steps", int)], frozen=True)
    two = make_dataclass("Two", [("steps", int), ("rate", float)], frozen=True)
    assert fingerprint(one(rate=0.1, steps=3)) == fingerprint(two(rate=0.1, steps=3))


# Versions, and what is set aside


def test_a_raised_version_changes_every_fingerprint_and_refuses_old_files():
    @dataclass(frozen=True)
    class Meant(Inner):
        SCHEMA = Schema(version=2)

    assert plain(Meant()) == {"schema": 2, **plain(Inner())}
    assert fingerprint(Meant()) != fingerprint(Inner())
    assert load(Meant, dump(Meant()), CONFIG) == Meant(1.0)
    with pytest.raises(ValueError, match=r"config\.json.*schema version 1, but Meant .*version 2"):
        load(Meant, dump(Inner()), CONFIG)

    @dataclass(frozen=True)
    class Further(Meant):
        SCHEMA = Schema(version=2)

    assert schema_of(Further).version == 3, "a base class and a subclass were both raised"


def test_options_that_decide_nothing_are_stored_but_not_counted():
    often = TrainConfig(checkpoint_seconds=1.0)
    assert fingerprint(often) == fingerprint(TrainConfig())
    assert "checkpoint_seconds" not in plain(often)
    assert load(TrainConfig, dump(often), CONFIG) == often
    counted = {one.name for one in fields(TrainConfig)} - {"checkpoint_seconds"}
    assert plain(often).keys() == counted


def test_where_a_file_lies_is_stored_but_not_counted():
    one, other = (ModelConfig("deeplab", encoder="resnet18", weights=path)
                  for path in ("a.pth", "moved/a.pth"))
    assert fingerprint(one) == fingerprint(other) and plain(one)["weights"] == "a file"
    assert load(ModelConfig, dump(other), CONFIG) == other
    for word in ("", "hub", "package"):
        assert fingerprint(replace(one, weights=word)) != fingerprint(one)


# Files


@pytest.mark.parametrize("name", list(named_profiles()))
def test_what_a_profile_holds_is_stored_and_read_back(name):
    for part, value in parts_of(named_profiles()[name]).items():
        stored = json.loads(json.dumps(dump(value)))
        read = load(type(value), stored, CONFIG)
        assert read == value and fingerprint(read) == fingerprint(value), part


@each_class
def test_every_class_is_stored_and_read_back(kind):
    value = EXAMPLES[kind]
    assert load(kind, json.loads(json.dumps(dump(value))), CONFIG) == value


def test_a_damaged_file_is_named_with_what_to_do():
    with pytest.raises(ValueError, match=r"runs/a/config\.json .*at rate: .*number.*create it"):
        load(Inner, {"rate": "fast"}, Path("runs/a/config.json"))
    with pytest.raises(ValueError, match=r"config\.json .*Inner has no option 'speed'"):
        load(Inner, {"rate": 1.0, "speed": 2}, CONFIG)
    with pytest.raises(ValueError, match=r"config\.json"):
        load(Inner, [1, 2], CONFIG)


def test_a_number_that_is_none_has_no_digest():
    with pytest.raises(ValueError, match="JSON"):
        digest(Inner(rate=float("nan")))


def test_a_class_that_is_no_configuration_may_be_part_of_one():
    @dataclass(frozen=True)
    class Foreign:
        rate: float = 1

    holder = make_dataclass("Foreigner", [("held", Foreign, Foreign())], frozen=True)
    assert plain(holder()) == {"held": {"rate": 1.0}}
    assert plain((holder(), {"a": holder()})) == [plain(holder()), {"a": plain(holder())}]
    assert len(digest(holder())) == 64 and digest(holder()).startswith(fingerprint(holder()))


@pytest.mark.parametrize(("schema", "message"), [
    (Schema(before={"missing": 0}), "names 'missing', but the class has no such field"),
    (Schema(aside=frozenset({"missing"})), "names 'missing'"),
    (Schema(keys={"missing": "rate"}), "names 'missing'"),
    (Schema(paths={"missing": ()}), "names 'missing'"),
    (Schema(keys={"shape": "rate"}), "have the stable key 'rate'"),
    (Schema(keys={"rate": "schema"}), "have the stable key 'schema'"),
])
def test_a_schema_that_does_not_fit_its_class_is_refused(schema, message):
    with pytest.raises(TypeError, match=message):
        schema_of(variant(Inner, {}, SCHEMA=schema))


# What is on record


DRIFT = (
    "differ from tests/helpers/fingerprints.json, so stored runs and records of them would no "
    "longer be used. An option was added: give its class a SCHEMA with the value that means as "
    "before (CONTRIBUTING.md, Adding an option). A number or a meaning was changed on purpose: run "
    "`python tests/helpers/remake_fingerprints.py`, and commit the file."
)


def test_the_profiles_have_the_fingerprints_on_record():
    stored, now = json.loads(STORED.read_text(encoding="utf-8")), fingerprints()
    differ = [f"{name}: {part}" for name in sorted(stored.keys() | now.keys())
              for part in sorted(stored.get(name, {}).keys() | now.get(name, {}).keys())
              if stored.get(name, {}).get(part) != now.get(name, {}).get(part)]
    assert not differ, f"{len(differ)} fingerprints ({', '.join(differ[:5])} ...) {DRIFT}"
