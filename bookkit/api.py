"""The page of the public names: ``notebooks/api.md`` names rooms, Sphinx's autodoc fills them in.

A block ```` ```{public-names} datasets batches ```` of the page stands
for the public names of these rooms: those that ``semiseg_lib/__init__.pyi`` imports from there.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import semiseg_lib

PAGE = "api"
BLOCK = re.compile(r"^```\{public-names\} (?P<rooms>[\w ]+)\n```$", re.MULTILINE)
LIBRARY = Path(semiseg_lib.__file__).parent


def public_names() -> dict[str, str]:
    """Return the dotted origin of each public name, such as ``evaluation.metrics.evaluate``."""
    stub = ast.parse((LIBRARY / "__init__.pyi").read_text(encoding="utf-8"))
    return {alias.name: ".".join(filter(None, [node.module, alias.name]))
            for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def rooms_of(page: str) -> list[str]:
    """Return the rooms that the blocks of a page name, in its order."""
    return [room for block in BLOCK.finditer(page) for room in block["rooms"].split()]


def fill(page: str) -> str:
    """Return the page with each block replaced by the entries of its rooms.

    Raises:
        ValueError: a room has no public names.
    """
    return BLOCK.sub(lambda block: "\n".join(_entries(block["rooms"].split())), page)


def _entries(rooms: Sequence[str]) -> Iterator[str]:
    """Yield the Markdown of the public names of rooms: functions and classes, then modules."""
    names = {room: [name for name, origin in public_names().items()
                    if origin.split(".")[0] == room] for room in rooms}
    if missing := [room for room, found in names.items() if not found]:
        raise ValueError(f"{PAGE}.md: there are no public names in {', '.join(missing)}.")
    values = {name: getattr(semiseg_lib, name) for found in names.values() for name in found}
    for name, value in values.items():
        if not isinstance(value, ModuleType):
            yield _directive(name, value)
    for name, value in values.items():
        if isinstance(value, ModuleType):
            yield f"### `{name}`\n\n" + _rst(inspect.getdoc(value))
            for member in members(value):
                yield _directive(f"{name}.{member}", getattr(value, member))


def members(module: ModuleType) -> list[str]:
    """Return the functions and classes of a public module that are not public names themselves."""
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    values = {name: getattr(module, name) for name in names if name not in public_names()}
    return [name for name, value in values.items()
            if inspect.isfunction(value) or inspect.isclass(value)]


def _directive(name: str, value: Any) -> str:
    """Return the entry of a name, with a link to the file that it stands in."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return _rst(f".. autodata:: semiseg_lib.{public_names()[name]}")
    lines = [f".. {'autoclass' if inspect.isclass(value) else 'autofunction'}:: semiseg_lib.{name}"]
    if inspect.isclass(value):
        lines += ["   :members:"]
    if is_dataclass(value):  # a field whose default is a function is not a method
        lines += [f"   :exclude-members: {', '.join(one.name for one in fields(value))}"]
    file = Path(import_module(value.__module__).__file__).relative_to(LIBRARY)
    page = f"_modules/{value.__module__.replace('.', '/')}.html"
    return _rst(*lines, "", f"   *In* `{file.as_posix()} <{page}>`__.")


def _rst(*lines: str) -> str:
    """Return reStructuredText as a block of a Markdown page."""
    return "\n".join(["```{eval-rst}", *lines, "```", ""])
