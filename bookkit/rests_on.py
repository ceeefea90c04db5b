"""What the stored outputs of a chapter rest on: its code, the library's files that it opened, and
the tests that it handed to another process.

A chapter's metadata hold a hash of each, ``{"semiseg": {"rests_on": {name: hash}}}``. Of Python the
code counts, without comments and docstrings, unless the chapter shows source; of YAML what it says,
of ``book.yml`` its parts; of anything else every byte. Stubs (``.pyi``) are
left out: they say where names are, and what the names stand for is counted.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import jupytext
import yaml
from nbformat import NotebookNode

from bookkit.launch import INSTALL_TAG
from semiseg_lib.core.paths import CHECKOUT

METADATA, KEY = "semiseg", "rests_on"
LIBRARY, TESTS, BOOK = CHECKOUT / "semiseg_lib", CHECKOUT / "tests", "book.yml"
SHOWS_SOURCE = re.compile(
    r"\bget(?:source|sourcelines|doc)\(|\bhelp\(|\b__doc__\b|^\?+[\w.]+$|^[\w.]+\?+$", re.MULTILINE
)
ABSENT, UNKNOWN = "absent", "unknown"
DIGITS = 8
LAYOUT = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
UNCOUNTED = {tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER}
# Since Python 3.12 an f-string is many tokens, before it was one.
STARTS, ENDS = ({getattr(tokenize, f"{kind}STRING_{edge}", None) for kind in "FT"} - {None}
                for edge in ("START", "END"))


def hashes(source: Path, opened: Iterable[str], since_ns: int) -> dict[str, str]:
    """Return the hash of everything that the outputs of a chapter rest on, by its name.

    Args:
        source: the chapter.
        opened: the paths that its kernel opened, compiled modules among them, or handed to another
            process.
        since_ns: the clock when the kernel was started, in nanoseconds. The hash of a file that
            has changed since is unknown, for the chapter may have read it before.
    """
    places = LIBRARY.name, TESTS.name, BOOK
    paths = {_source_of(one) for one in opened if any(place in one for place in places)}
    for path in [path for path in paths if path.is_relative_to(TESTS)]:
        paths |= set(_rests_with(path))
    names = {path.relative_to(CHECKOUT).as_posix() for path in paths
             if path == CHECKOUT / BOOK or (
                 _is_code(path) and path.suffix != ".pyi"
                 and "__pycache__" not in path.parts and not path.name.startswith("."))}
    found, is_shown = {}, shows_source(source)
    for name in [source.name, *sorted(names)]:
        path = _path(name, source.parent)
        is_new = path.is_file() and path.stat().st_mtime_ns >= since_ns
        found[name] = UNKNOWN if is_new else _hash(path, is_shown)
    return found


def shows_source(source: Path) -> bool:
    """Return whether a chapter shows source or docstrings, as by ``inspect.getsource``."""
    return SHOWS_SOURCE.search(_code_cells(source)) is not None


def changed(notebook: NotebookNode, source: Path) -> list[str] | None:
    """Return the names of the files that are not as they were when a chapter was run.

    Args:
        notebook: the executed chapter.
        source: its source.

    Returns:
        The names, or None if it is not known what the outputs rest on.
    """
    stored = notebook.metadata.get(METADATA, {}).get(KEY)
    if not stored:
        return None
    is_shown = shows_source(source)
    return [name for name, then in stored.items()
            if _hash(_path(name, source.parent), is_shown) != then]


def problem(notebook: NotebookNode, source: Path) -> str:
    """Return the sentence on outputs that are older than the code, with the fix, or ""."""
    found = changed(notebook, source)
    if found == []:
        return ""
    fix = f"python -m bookkit sync {source.name[:2]}"
    if found is None:
        return f"what its outputs rest on is not known: {fix}"
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"its outputs are older than {found[0]}{more}: {fix}"


def _path(name: str, folder: Path) -> Path:
    return CHECKOUT / name if "/" in name or name == BOOK else folder / name


def _source_of(opened: str) -> Path:
    """Return a path that was opened; of a compiled module its source."""
    path = Path(opened).resolve()
    return Path(importlib.util.source_from_cache(path)) if path.suffix == ".pyc" else path


def _rests_with(test: Path) -> Iterator[Path]:
    """Yield what a test runs with, the helpers and every conftest.py above it.

    Another process opens them, so that the chapter's kernel does not.
    """
    yield from (TESTS / "helpers").glob("*.py")
    for folder in test.parents:
        if folder.is_relative_to(TESTS) and (folder / "conftest.py").is_file():
            yield folder / "conftest.py"


def _is_code(path: Path) -> bool:
    return path.is_relative_to(LIBRARY) or path.is_relative_to(TESTS)


def _hash(path: Path, is_shown: bool = False) -> str:
    """Return the hash of what counts of a file; of one whose source is shown all of it counts."""
    if not path.is_file():
        return ABSENT
    if path == CHECKOUT / BOOK:  # a chapter shows the table of contents, and its minutes
        return _hash_of(_parsed(path, "parts"), False)
    if _is_code(path):
        content = _parsed(path) if path.suffix == ".yml" else path.read_bytes()
        return _hash_of(content, path.suffix == ".py" and not is_shown)
    return _hash_of(_code_cells(path).encode("utf-8"), not is_shown)


def _code_cells(source: Path) -> str:
    """Return the code of a chapter without the cell that installs, in which an address stands."""
    cells = jupytext.read(source, fmt="py:percent").cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code"
                     and INSTALL_TAG not in cell.metadata.get("tags", []))


def _parsed(path: Path, key: str = "") -> bytes:
    """Return what a YAML file says, or says under a key, without its comments."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return json.dumps(content[key] if key else content, default=str).encode("utf-8")


@cache
def _hash_of(content: bytes, is_python: bool) -> str:
    if is_python:
        content = "\0".join(code(content.decode("utf-8"))).encode("utf-8")
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def code(text: str) -> Iterator[str]:
    """Yield the words of a Python file, the same ones under every version of Python.

    Comments, blank lines and statements that are a string alone, such as docstrings, are left out,
    and so is where a line is broken within brackets.
    """
    lines = text.split("\n")
    statement, is_text, starts = [], True, []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in STARTS:
            starts.append(token.start)
        elif token.type in ENDS:
            start = starts.pop()
            if not starts:
                statement.append(_between(lines, start, token.end))
                is_text = False
        elif starts or token.type in UNCOUNTED:
            continue
        elif token.type in LAYOUT:
            if token.type != tokenize.NEWLINE or not is_text:
                yield from (*statement, tokenize.tok_name[token.type])
            statement, is_text = [], True
        else:
            statement.append(token.string)
            # A formatted string is one token here before Python 3.12: it is no docstring.
            is_text = is_text and token.type == tokenize.STRING and "f" not in (
                token.string.split(token.string[-1])[0].lower())


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text between two places, each a line from 1 and a column from 0."""
    found = lines[start[0] - 1:end[0]]
    found[-1] = found[-1][:end[1]]
    found[0] = found[0][start[1]:]
    return "\n".join(found)
