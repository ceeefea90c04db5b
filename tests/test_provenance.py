"""The version of the code that stands beside every result."""

from __future__ import annotations

import linecache
import re
import subprocess
from typing import Any

import pytest

import semiseg_lib
from semiseg_lib.core import provenance


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of two files in a checkout of its own."""
    folder = tmp_path / "checkout" / "semiseg_lib"
    (folder / "methods").mkdir(parents=True)
    (folder / "__init__.py").write_text("one = 1\n", encoding="utf-8")
    (folder / "methods" / "losses.py").write_text("two = 2\n", encoding="utf-8")
    (folder / "record.json").write_text("{}", encoding="utf-8")
    (folder.parent / ".gitignore").write_text("private.py\n", encoding="utf-8")
    monkeypatch.setattr(provenance, "LIBRARY", folder)
    monkeypatch.setattr(provenance, "in_checkout", lambda: True)
    return folder


def version() -> str:
    """The version that a new process would see."""
    provenance.code_version.cache_clear()
    try:
        return provenance.code_version()
    finally:
        provenance.code_version.cache_clear()


def commit(library) -> None:
    """Commit everything."""
    for arguments in (["init", "-q"], ["add", "-A"],
                      ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(library.parent), *arguments], check=True)


def test_the_code_of_a_commit_is_the_commit(library):
    """Whatever else changes in the checkout, a stored record above all."""
    commit(library)
    clean = version()
    assert re.fullmatch("[0-9a-f]{10}", clean)
    (library / "record.json").write_text('{"rows": {}}', encoding="utf-8")
    (library.parent / "README.md").write_text("words", encoding="utf-8")
    assert version() == clean


@pytest.mark.parametrize("name", ["methods/losses.py", "methods/another.py", "private.py"])
def test_two_edits_of_one_commit_are_two_versions(library, name):
    """Of a file that git knows, of a new one, and of one that it ignores."""
    commit(library)
    path, clean = library / name, version()
    before = path.read_bytes() if path.is_file() else None
    found = [clean]
    for text in ("two = -2\n", "two = -5\n"):
        path.write_text(text, encoding="utf-8")
        found.append(version())
    assert len(set(found)) == 3
    assert all(re.fullmatch(rf"{clean}\+[0-9a-f]{{10}}", one) for one in found[1:])
    if before is None:
        path.unlink()
    else:
        path.write_bytes(before)
    assert version() == clean


@pytest.mark.parametrize("checkout", [True, False])
def test_without_git_the_files_are_the_version(library, monkeypatch, checkout):
    """In an archive of the checkout, and installed from a wheel."""
    monkeypatch.setattr(provenance, "in_checkout", lambda: checkout)
    found = [version()]
    (library / "methods" / "losses.py").write_text("two = -2\n", encoding="utf-8")
    found.append(version())
    assert len(set(found)) == 2
    assert all(one.startswith(f"{semiseg_lib.__version__}+") for one in found)


METHOD = """
import numpy as np
from torch import nn, no_grad
class Base:
    def begin(self):
        return 0
class Mine(Base, nn.Module):
    weight = 1.0
    def loss(self, x):
        return scale * squared(x) + self.seed
    @no_grad()
    def taught(self, x):
        return [sharpened(one) for one in x]
    @property
    def share(self):
        return 0.5
    @staticmethod
    def rate(t):
        return t
"""
HELPERS = """
def squared(x):
    return x ** 2
def sharpened(x):
    return squared(x) / scale
def unread(x):
    return x
scale, seed, table = 2.0, 5, np.ones(3)
"""


class Notebook:
    """Cells that are run one after the other; a class of a notebook has no source of its own."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "notebook"}
        self.count = 0

    def run(self, cell: str) -> str:
        """Run a cell; return the version of the class that is there."""
        self.count += 1
        file = f"<cell {self.count}>"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        exec(compile(cell, file, "exec"), self.names)
        return provenance.source_version(self.names["Mine"])


@pytest.mark.parametrize("before, after, changes", [
    ("scale * squared(x)", "-scale * squared(x)", True), ("return 0\n", "return 1\n", True),
    ("weight = 1.0", "weight = 2.0", True), ("sharpened(one)", "-sharpened(one)", True),
    ("return 0.5", "return 0.6", True), ("return t", "return 1 - t", True),
    ("x ** 2", "x ** 3", True), ("/ scale", "/ scale / 2", True),
    ("scale, seed, table = 2.0", "scale, seed, table = 3.0", True),
    ("2.0, 5", "2.0, 6", False), ("return x\n", "return 1\n", False), ("ones", "zeros", False),
    ("import numpy", "import math, numpy", False),
])
def test_a_changed_cell_of_a_notebook_is_another_version_of_the_class(before, after, changes):
    """Of what the class reads, wherever it stands; an attribute is no global of the same name."""
    notebook, cells = Notebook(), METHOD + HELPERS
    first = notebook.run(cells)
    assert re.fullmatch("[0-9a-f]{10}", first) and notebook.run(cells) == first
    assert cells.count(before) == 1
    assert (notebook.run(cells.replace(before, after)) != first) == changes
    assert notebook.run(cells) == first


def test_what_surrounds_a_class_counts_as_it_is_read():
    """The same source, with another value in the function around it."""
    def made(sign: float) -> type:
        class Mine:
            def loss(self, x):
                return sign * x

        return Mine

    one, again, other = (provenance.source_version(made(sign)) for sign in (1.0, 1.0, -50.0))
    assert one == again != other


def test_a_class_without_source_has_no_version():
    names: dict[str, Any] = {"__name__": "nowhere"}
    exec("class Mine:\n    def loss(self): return 1", names)
    assert provenance.source_version(names["Mine"]) == ""


def test_only_libraries_that_both_states_name_are_compared():
    """Runs of before timm was noted say nothing of it."""
    made = {"threads": 1, "libraries": {"torch": "2.8", "numpy": "2.0"}}
    here = {"threads": 1, "libraries": {"torch": "2.8", "numpy": "2.0", "timm": "1.0"}}
    assert provenance.compare_machines(made, here) == []
    here["libraries"]["numpy"] = "2.1"
    assert len(provenance.compare_machines(made, here)) == 1
    assert "timm" in provenance.state_of_machine()["libraries"]
