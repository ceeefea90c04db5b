"""The version of the code that stands beside every result."""

from __future__ import annotations

import re
import subprocess

import pytest

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
    release = provenance._version("semiseg_lib")
    assert all(one.startswith(f"{release}+") for one in found)
