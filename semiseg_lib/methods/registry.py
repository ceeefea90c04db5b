"""Which methods are known: those of this folder, and those that a notebook registers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter

from semiseg_lib.methods.base import Method

METHODS: dict[type, type[Method]] = {}
"""The class of each known method, by the dataclass of its options."""

_shipped: set[tuple[str, str]] = set()


class UnknownMethod(RuntimeError):
    """A stored run of a method that this process does not know."""


def ship(methods: Mapping[type, type[Method]]) -> None:
    """Make the methods of this folder known; nothing may replace them."""
    METHODS.update(methods)
    _shipped.update(map(_defined_at, methods))


def kind(config: Any) -> type[Method]:
    """The class of the method that these are options of.

    Raises:
        ValueError: they are no method's.
    """
    if type(config) not in METHODS:
        name = type(config).__name__
        raise ValueError(
            f"{name} are options of no method that is known here: call "
            f"methods.register({name}, ...) with the class of your method first."
        )
    return METHODS[type(config)]


def register(config: type, method: type[Method]) -> None:
    """Make a method known, for as long as this process lives: from a notebook or a file of yours.

    Its options can then be trained, scored and stored like those of the methods in this folder. A
    notebook cell that is run again replaces what it had registered. A run is known by its options,
    not by its code: after a change to the class, change an option too, or make the run ``anew``.

    Args:
        config: the frozen dataclass of its options, with a field ``name`` that says what the method
            is called.
        method: ``method.of(config, build, num_classes)`` makes the method.

    Raises:
        ValueError: one of them is not as described, or the name is another method's.
    """
    is_frozen = (
        isinstance(config, type) and is_dataclass(config) and config.__dataclass_params__.frozen
    )
    if not is_frozen or "name" not in {field.name for field in fields(config)}:
        raise ValueError(
            f"{config!r} is no frozen dataclass with a field name. Options look like this: "
            '@dataclass(frozen=True) class MyConfig: name: Literal["mine"] = "mine" ...'
        )
    name = getattr(config, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(
            f"the name of {config.__name__} is {name!r}; run folders are called after it, so give "
            "it a default of small letters, digits and hyphens."
        )
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ValueError(f"{method!r} is no class that is made from Method (methods/base.py).")
    for known in list(METHODS):
        if known.name == name:
            if _defined_at(known) != _defined_at(config) or _defined_at(known) in _shipped:
                owner = ".".join(_defined_at(known))
                raise ValueError(f"{name!r} is the name of {owner} already; choose another.")
            del METHODS[known]
    METHODS[config] = method


def _defined_at(config: type) -> tuple[str, str]:
    return config.__module__, config.__qualname__


def read(value: Any, read_shipped: Callable[[Any], Any]) -> Any:
    """Stored options as those of the method that they name; for pydantic's ``WrapValidator``.

    Args:
        value: options, or a dict of them.
        read_shipped: reads those of a method of this folder.

    Raises:
        UnknownMethod: they name a method that is not known.
    """
    if type(value) in METHODS:
        return value
    name = value.get("name") if isinstance(value, dict) else None
    by_name = {config.name: config for config in METHODS}
    if isinstance(name, str) and name not in by_name:
        raise UnknownMethod(
            f"this run is one of the method {name!r}, which is not known here. Run the code that "
            "calls methods.register with its options first. A command knows the methods in "
            "semiseg_lib/methods alone: to use one there, give it a file and a line there."
        )
    if name in by_name and _defined_at(by_name[name]) not in _shipped:
        return TypeAdapter(by_name[name]).validate_python(value)
    return read_shipped(value)
