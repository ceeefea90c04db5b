"""The page of the library: ``notebooks/api.md`` names rooms and files, Sphinx fills them in.

A block ```` ```{public-names} datasets batches ```` of the page stands for the public names of
these rooms, those that ``semiseg_lib/__init__.pyi`` imports from there. A block
```` ```{opened-files} batches.boxes ```` stands for what is in these files.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

import semiseg_lib

PAGE = "api"
BLOCK = re.compile(
    r"^```\{(?P<kind>public-names|opened-files)\} (?P<names>[\w.\s]+?)\n```$", re.MULTILINE
)
LIBRARY = Path(semiseg_lib.__file__).parent
PLAIN = int | float | str | frozenset
"""Types of the constants whose values are shown; a path would be one of this machine."""


def public_names() -> dict[str, str]:
    """Return the dotted origin of each public name, such as ``evaluation.metrics.evaluate``."""
    stub = ast.parse((LIBRARY / "__init__.pyi").read_text(encoding="utf-8"))
    return {alias.name: ".".join(filter(None, [node.module, alias.name]))
            for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def blocks(page: str, kind: str) -> list[str]:
    """Return the rooms or files that the blocks of one kind name, in the order of the page."""
    return [name for block in BLOCK.finditer(page) if block["kind"] == kind
            for name in block["names"].split()]


def fill(page: str) -> str:
    """Return the page with each block replaced by the entries of its rooms or files.

    Raises:
        ValueError: a room has no public names.
    """
    all_entries = entries(page)

    def filled(block: re.Match) -> str:
        return "\n".join(_markdown(name, value) for name, value in all_entries[block[0]].items())

    return BLOCK.sub(filled, page)


def entries(page: str) -> dict[str, dict[str, Any]]:
    """Return what has an entry in each block of a page, by the names that are written there.

    Nothing has two entries: what is a public name has its entry under that name.

    Raises:
        ValueError: a room has no public names.
    """
    known = {name: getattr(semiseg_lib, name) for name in public_names()}
    found: dict[str, dict[str, Any]] = {}
    for block in BLOCK.finditer(page):
        names, here = block["names"].split(), {}
        if block["kind"] == "public-names":
            public = _public_names_in(names)
            names = [name for name, value in public.items() if isinstance(value, ModuleType)]
            here = {name: value for name, value in public.items() if name not in names}
        for name in names:
            module = import_module(f"semiseg_lib.{public_names().get(name, name)}")
            own = {f"{name}.{one}": getattr(module, one) for one in members(module)}
            here |= {name: module}
            here |= {one: value for one, value in own.items() if not entry_of(value, one, known)}
            known |= here
        found[block[0]] = here
    return found


def entry_of(value: Any, name: str, known: Mapping[str, Any]) -> str:
    """Return the name among ``known`` that a value has its entry under, or "".

    Args:
        value: what the library has under ``name``.
        name: dotted; its last part is that of the entry, so that equal numbers are not mixed up.
        known: the values of entries, by name.
    """
    last = name.rpartition(".")[2]
    return next((one for one, other in known.items()
                 if other is value and one.rpartition(".")[2] == last), "")


def _public_names_in(rooms: Sequence[str]) -> dict[str, Any]:
    """Return the public names of rooms with their values.

    Raises:
        ValueError: a room has none.
    """
    found = {room: [name for name, origin in public_names().items()
                    if origin.split(".")[0] == room] for room in rooms}
    if missing := [room for room, names in found.items() if not names]:
        raise ValueError(f"{PAGE}.md: there are no public names in {', '.join(missing)}.")
    return {name: getattr(semiseg_lib, name) for names in found.values() for name in names}


def members(module: ModuleType) -> list[str]:
    """Return the public functions, classes and described constants of a room or a file."""
    names = getattr(module, "__all__", None) or _defined(Path(module.__file__))
    return [name for name in names if not name.startswith("_")
            and (is_code(getattr(module, name)) or home(module, name))]


def is_code(value: Any) -> bool:
    """Return whether a value is a function or a class."""
    return inspect.isfunction(value) or inspect.isclass(value)


def home(module: ModuleType, name: str) -> str:
    """Return where a constant is assigned and described, as ``batches.options.DRAWS``, or "".

    Args:
        module: the room or file that has it.
        name: its name there.
    """
    file = Path(module.__file__)
    for one in sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]:
        place = ".".join(one.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__")
        if _defined(one).get(name) == "constant" and (
            getattr(import_module(f"semiseg_lib.{place}"), name) is getattr(module, name)
        ):
            return f"{place}.{name}"
    return ""


@cache
def _defined(file: Path) -> dict[str, str]:
    """Return what a file defines, "code" or "constant": one is described by a string below it."""
    found = {}
    body = ast.parse(file.read_text(encoding="utf-8")).body
    for one, following in zip_longest(body, body[1:]):
        if isinstance(one, ast.FunctionDef | ast.ClassDef):
            found[one.name] = "code"
        elif isinstance(one, ast.Assign | ast.AnnAssign) and is_text(following):
            target = one.target if isinstance(one, ast.AnnAssign) else one.targets[0]
            found[ast.unparse(target)] = "constant"
    return found


def is_text(node: ast.stmt | None) -> bool:
    """Return whether a statement is a string, such as a description."""
    return (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str))


def _markdown(name: str, value: Any) -> str:
    """Return the entry of a name; that of code has a link to the file that it stands in."""
    if isinstance(value, ModuleType):
        text = inspect.getdoc(value)  # the head of a method's file is in its chapter
        return f"### `{name}`\n\n" + _rst(
            text if name in public_names() else text.partition("\n\n")[0]
        )
    if not is_code(value):
        room, _, last = public_names().get(name, name).rpartition(".")
        module = import_module(f"semiseg_lib.{public_names().get(room, room)}")
        line = f".. autodata:: semiseg_lib.{home(module, last)}"
        return _rst(line, *[] if isinstance(value, PLAIN) else ["   :no-value:"])
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
