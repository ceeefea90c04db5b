"""Every class of options that a run or a profile can hold, and what the profiles hold of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from semiseg_lib import datasets, methods, recipes
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.datasets.dataset import SHIPPED
from semiseg_lib.experiments import Run
from semiseg_lib.experiments import self_correction as story
from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.methods.pseudo_label import Selection
from semiseg_lib.models import ModelConfig
from semiseg_lib.recipes import Profile
from semiseg_lib.studies import Rounds


def option_classes() -> list[type]:
    """Return every dataclass that a run or a profile of the library can hold, by name."""
    roots = [Run, Profile, Rounds, *(one.options for one in methods.declared())]
    roots += [datasets.find(name).options for name in SHIPPED]
    found: set[type] = set()
    while roots:
        kind = roots.pop()
        if kind not in found:
            found.add(kind)
            hints = get_type_hints(kind, include_extras=True)
            roots += [one for field in fields(kind) for one in dataclasses_in(hints[field.name])]
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


def dataclasses_in(hint: Any) -> Iterator[type]:
    """Yield the dataclasses that a type hint names."""
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for argument in get_args(hint):
        yield from dataclasses_in(argument)


def named_profiles() -> dict[str, Profile]:
    """Return what every recipe of the library says, by profile and file name."""
    return {f"{name}/{one.path.stem}": one.profile
            for name in recipes.names() for one in recipes.of(name)}


def parts_of(profile: Profile) -> dict[str, Any]:
    """Return the configurations of a profile by the name of their field."""
    parts = {}
    for field in fields(profile):
        value = getattr(profile, field.name)
        if is_dataclass(value):
            parts[field.name] = value
        elif isinstance(value, Mapping):
            parts |= {f"{field.name}.{key}": one for key, one in value.items()}
    return parts


def within(value: Any) -> Iterator[Any]:
    """Yield every configuration in a value, itself included."""
    if is_dataclass(value):
        yield value
        for field in fields(value):
            yield from within(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from within(one)
    elif isinstance(value, tuple):
        for one in value:
            yield from within(one)


def examples() -> dict[type, Any]:
    """Return an instance of every class of options."""
    smoke = recipes.load("smoke")
    runs = [
        story.second_round(smoke, 0), story.conv_primary(smoke, 0, ConvPrimaryConfig()),
        Rounds.of(smoke, 0, Selection()), story.drawn_labels(smoke, 0),
    ]
    held = [*runs, *(DataConfig(name) for name in SHIPPED), *named_profiles().values()]
    found = {type(one): one for value in held for one in within(value)}
    return {kind: found[kind] if kind in found else kind() for kind in option_classes()}


EXAMPLES = examples()


def another(value: Any, hint: Any) -> Any:
    """Return a value that a field of this type can hold instead of ``value``."""
    if get_origin(hint) is Literal:
        return next((one for one in get_args(hint) if one != value), f"not {value}")
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, tuple):
        inner = get_args(hint)[0]
        return (*value[:-1], another(value[-1], inner)) if value else (
            EXAMPLES[inner] if inner in EXAMPLES else inner(3),
        )
    if isinstance(value, Mapping):
        return {**value, "further": next(iter(value.values()), EXAMPLES[ModelConfig])}
    if is_dataclass(value):
        name = next(one.name for one in fields(value)) if fields(value) else ""
        return changed(value, name) if name else EXAMPLES[ModelConfig]
    if value is None:
        return next(EXAMPLES[one] for one in get_args(hint) if is_dataclass(one))
    raise AssertionError(f"{value!r}: a value that this test cannot change; teach it")


def changed(value: Any, name: str) -> Any:
    """Return options that differ in one field; nothing is checked."""
    hint = get_type_hints(type(value))[name]
    found = copy(value)
    object.__setattr__(found, name, another(getattr(value, name), hint))
    return found
