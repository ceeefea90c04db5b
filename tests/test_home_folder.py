"""Every public function that takes a path takes ``~`` for the home folder."""

from __future__ import annotations

import builtins
import importlib
import inspect
import io
import os
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import semiseg_lib

ROOMS = ["semiseg_lib", *(one.name for one in pkgutil.walk_packages(
    semiseg_lib.__path__, "semiseg_lib.") if one.ispkg and ".cli" not in one.name)]
GIVEN = {int: 2, str: "x", bool: False, np.ndarray: np.zeros((4, 4), np.uint8)}


def is_code(value: object) -> bool:
    return inspect.isfunction(value) or inspect.isclass(value)


def functions(name: str, value: Any) -> Iterator[tuple[str, Callable]]:
    """A function; of a class its constructor and its public class methods."""
    yield name, value
    if inspect.isclass(value):
        yield from ((f"{name}.{key}", getattr(value, key)) for key, one in vars(value).items()
                    if isinstance(one, classmethod | staticmethod) and not key.startswith("_"))


def public() -> dict[str, Callable]:
    """What takes a path among the public names of all rooms and the files that they name."""
    found: dict[str, Callable] = {}
    for room in map(importlib.import_module, ROOMS):
        for key in getattr(room, "__all__", []):
            value = getattr(room, key)
            named = {key: value} if is_code(value) else {
                one: inner for one, inner in vars(value).items()
                if getattr(inner, "__module__", "") == value.__name__ and is_code(inner)
                and not one.startswith("_")
            } if inspect.ismodule(value) else {}
            for one, inner in named.items():
                found |= {f"{inner.__module__}.{inside}": function
                          for inside, function in functions(one, inner) if takes_path(function)}
    return found


def takes_path(function: Callable) -> bool:
    with suppress(ValueError):  # an exception has no signature
        return any(str(one.annotation) in ("Path", "Path | None", "Path | str")
                   for one in inspect.signature(function).parameters.values())
    return False


@pytest.mark.parametrize("name", sorted(public()))
def test_the_home_folder_is_meant(name, tmp_path, monkeypatch):
    """No file or folder whose name begins with ``~`` is looked for."""
    asked: list[str] = []

    def watched(call):
        def watch(path=".", *arguments, **named):
            if isinstance(path, str | Path):
                asked.append(str(path))
            return call(path, *arguments, **named)
        return watch

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    function, given = public()[name], {}
    for one in inspect.signature(function).parameters.values():
        if "Path" in str(one.annotation):
            given[one.name] = Path("~/there")
        elif one.default is inspect.Parameter.empty and one.kind is not one.VAR_KEYWORD:
            given[one.name] = next((value for kind, value in GIVEN.items()
                                    if kind.__name__ in str(one.annotation)), None)
    with monkeypatch.context() as patch:
        for module, call in ((os, "stat"), (os, "mkdir"), (os, "scandir"), (os, "listdir"),
                             (os, "open"), (io, "open"), (builtins, "open")):
            patch.setattr(module, call, watched(getattr(module, call)))
        with suppress(Exception):
            found = function(**given)
            if hasattr(found, "gen"):  # a context manager looks when it is entered
                found.__enter__()
    assert [one for one in asked if one.startswith("~") or "/~" in one] == []
    assert not list(tmp_path.glob("~*"))
