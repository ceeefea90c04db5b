"""The page of the public names: all of them are on it, with what a reader needs to use them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from types import ModuleType
from typing import Any

import pytest

import semiseg_lib
from bookkit import api

ONE_VALUE = r"(typing\.)?Literal\['[^']*'\]"
"""The annotation of a field that has nothing to choose, such as the name of a method."""


def entries() -> dict[str, Any]:
    """The functions and classes that have an entry on the page, by their names there."""
    found = {}
    for name in api.public_names():
        value = getattr(semiseg_lib, name)
        if isinstance(value, ModuleType):
            found |= {f"{name}.{member}": getattr(value, member) for member in api.members(value)}
        elif inspect.isfunction(value) or inspect.isclass(value):
            found[name] = value
    return found


def documented(name: str, value: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, docstring and parameters of a function, or of a class and its methods."""
    if inspect.isfunction(value):
        yield name, inspect.getdoc(value) or "", parameters(value)
        return
    own = [one.name for one in fields(value) if not re.fullmatch(ONE_VALUE, str(one.type))
           ] if is_dataclass(value) else []
    if "__init__" in vars(value) and not own:
        own = parameters(value.__init__)
    yield name, value.__doc__ or "", own
    for member, content in vars(value).items():
        function = content.fget if isinstance(content, property) else content
        function = getattr(function, "func", getattr(function, "__func__", function))
        if not member.startswith("_") and member not in own and inspect.isfunction(function):
            text = inspect.getdoc(function) or inspect.getdoc(getattr(value, member)) or ""
            yield f"{name}.{member}", text, parameters(function)


def parameters(function: Callable) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def gaps(name: str, value: Any) -> list[str]:
    """What a reader of the page would miss of an entry."""
    found = []
    for one, text, names in documented(name, value):
        if len(text.split()) < 2:
            found.append(f"{one} has no docstring")
        missing = [name for name in names if not re.search(rf"\b{name}\b", text)]
        found += [f"{one} does not describe {', '.join(missing)}"] if missing else []
    return found


@pytest.mark.parametrize("name", entries())
def test_an_entry_describes_what_it_does_and_each_of_its_arguments(name):
    assert gaps(name, entries()[name]) == []


def test_every_module_and_value_of_the_face_is_described():
    for name, origin in api.public_names().items():
        value = getattr(semiseg_lib, name)
        if isinstance(value, ModuleType):
            assert len((value.__doc__ or "").split()) > 1, name
        elif not (inspect.isfunction(value) or inspect.isclass(value)):
            source = (api.LIBRARY / f"{origin.rpartition('.')[0].replace('.', '/')}.py").read_text(
                encoding="utf-8"
            )
            assert re.search(rf'^{name} = .*\n"""\w+ ', source, re.MULTILINE), name


def test_every_room_of_the_face_is_on_the_page_once(checkout):
    page = (checkout / "notebooks" / f"{api.PAGE}.md").read_text(encoding="utf-8")
    rooms = {origin.split(".")[0] for origin in api.public_names().values()}
    assert sorted(api.rooms_of(page)) == sorted(rooms)
    filled = api.fill(page)
    for name, value in entries().items():
        kind = "autoclass" if inspect.isclass(value) else "autofunction"
        assert filled.count(f".. {kind}:: semiseg_lib.{name}\n") == 1, name
    assert "public-names" not in filled


def test_a_room_without_public_names_is_refused():
    with pytest.raises(ValueError, match=r"api\.md: there are no public names in nonsense"):
        api.fill("```{public-names} methods nonsense\n```\n")


@dataclass
class Undescribed:
    """Some class.

    Attributes:
        one: a number.
    """

    one: int
    two: int

    def method(self, three: int) -> None:
        pass

    @property
    def other(self) -> int:
        """Number."""
        return 2


def test_what_is_not_described_would_be_noticed():
    def short(first: int, second: int) -> None:
        """Return the first one, of ``first``."""

    assert gaps("short", short) == ["short does not describe second"]
    assert gaps("One", Undescribed) == [
        "One does not describe two", "One.method has no docstring",
        "One.method does not describe three", "One.other has no docstring",
    ]
