"""The page of the public names: all of them are on it, with what a reader needs to use them."""

from __future__ import annotations

import ast
import inspect
import itertools
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import ModuleType
from typing import Any

import jupytext
import pytest

from bookkit import api, load
from bookkit.build import SOURCES

PAGE = (SOURCES / f"{api.PAGE}.md").read_text(encoding="utf-8")
ONE_VALUE = r"(typing\.)?Literal\['[^']*'\]"
"""The annotation of a field that has nothing to choose, such as the name of a method."""


@cache
def entries() -> dict[str, Any]:
    """What has an entry on the page, by the name that is written there."""
    return {name: value for block in api.entries(PAGE).values() for name, value in block.items()}


CODE = {name: value for name, value in entries().items() if api.is_code(value)}


def documented(name: str, value: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, docstring and parameters of a function, or of a class and its methods."""
    if inspect.isfunction(value):
        yield name, inspect.getdoc(value) or "", parameters(value)
        return
    own = []
    if is_dataclass(value):
        own = [one.name for one in fields(value) if not re.fullmatch(ONE_VALUE, str(one.type))]
    elif getattr(value.__init__, "__module__", "").startswith("semiseg_lib"):
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


@pytest.mark.parametrize("name", CODE)
def test_an_entry_describes_what_it_does_and_each_of_its_arguments(name):
    assert gaps(name, CODE[name]) == []


def test_every_module_of_the_page_is_described():
    for name, value in entries().items():
        if isinstance(value, ModuleType):
            assert len((value.__doc__ or "").split()) > 1, name


def test_every_room_of_the_face_is_on_the_page_once():
    """Every name of the face has one entry, and nothing has two."""
    rooms = {origin.split(".")[0] for origin in api.public_names().values()}
    assert sorted(api.blocks(PAGE, "public-names")) == sorted(rooms)
    assert api.public_names().keys() <= entries().keys()
    code = [id(value) for value in CODE.values()]
    assert len(code) == len(set(code))
    filled = api.fill(PAGE)
    for name, value in CODE.items():
        kind = "autoclass" if inspect.isclass(value) else "autofunction"
        assert filled.count(f".. {kind}:: semiseg_lib.{name}\n") == 1, name
    assert "public-names" not in filled and "opened-files" not in filled


def opened(code: str) -> dict[str, Any]:
    """Return what code takes from the library, by the dotted name that it writes.

    ``datasets.labels.read_mask`` gives the room, the file and the function; what stands behind a
    function or a class belongs to it.
    """
    tree = ast.parse(code)
    known = {name.asname or name.name: f"{node.module}.{name.name}" for node in ast.walk(tree)
             if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("semiseg_lib")
             for name in node.names}
    written = {ast.unparse(node) for node in ast.walk(tree)
               if isinstance(node, ast.Name | ast.Attribute)}
    chains = sorted(one for one in written if re.fullmatch(r"[\w.]+", one))
    found = {}
    for first, *rest in (chain.split(".") for chain in chains):
        if first in known:
            value = pkgutil.resolve_name(known[first])
            name = known[first].removeprefix("semiseg_lib.")
            found[name] = value
            for part in rest:
                if not isinstance(value, ModuleType):
                    break
                value, name = getattr(value, part), f"{name}.{part}"
                found[name] = value
    return found


@pytest.mark.parametrize("chapter", [one.file for one in load().chapters])
def test_all_that_a_chapter_takes_from_the_library_is_on_the_page(chapter):
    cells = jupytext.read(SOURCES / f"{chapter}.py", fmt="py:percent").cells
    found = opened("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    rooms = {name.partition(".")[0] for name in api.public_names().values()}
    assert [name for name, value in found.items()
            if name not in rooms and not api.entry_of(value, name, entries())] == []


def test_what_is_not_on_the_page_would_be_noticed():
    code = "from semiseg_lib import core, VOID as v\ncore.durable.read_json(path)\n"
    found = opened(code + "from semiseg_lib.core import durable as d\nd.locked\nv")
    assert found.keys() == {"core", "core.durable", "core.durable.read_json", "VOID",
                            "core.durable.locked"}
    missing = [name for name, value in found.items()
               if name != "core" and not api.entry_of(value, name, entries())]
    assert set(missing) == {"core.durable", "core.durable.read_json", "core.durable.locked"}


def described_by_a_value() -> Iterator[tuple[str, str]]:
    """Yield the library's properties and the page's constants with their first paragraphs."""
    constants = {name.rpartition(".")[2] for name in entries()} - CODE.keys()
    for path in sorted(api.LIBRARY.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any(
                ast.unparse(one).endswith("property") for one in node.decorator_list
            ):
                yield node.name, (ast.get_docstring(node) or "").partition("\n\n")[0]
        for node, following in itertools.pairwise(tree.body):
            if isinstance(node, ast.Assign | ast.AnnAssign) and api.is_text(following):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                if ast.unparse(target) in constants:
                    yield target.id, following.value.value.partition("\n\n")[0]


def test_no_property_and_no_constant_says_its_text_after_a_colon():
    """What stands before the colon would be taken for a type, and the rest for the description."""
    found = list(described_by_a_value())
    assert {"mean_iou", "decoding", "WORLDS", "VOID"} <= {name for name, _ in found}
    assert [name for name, text in found
            if ":" in re.sub(r":\w+:`[^`]*`|``[^`]*``", "", text)] == []


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


def test_the_first_lines_of_the_page_run():
    lines = re.search(r"```python\n(.*?)```", PAGE, re.S)[1]
    subprocess.run([sys.executable, "-c", lines], check=True)
