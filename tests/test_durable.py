"""Files appear whole or not at all, are checked before use, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from semiseg_lib import durable


def no_space(*_args, **_options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_written_file_is_new_whole_and_alone(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    for text in ("first", "second"):
        with durable.atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
            assert temporary.parent == path.parent and temporary.suffix == ".txt"
            assert not path.exists() or path.read_text(encoding="utf-8") == "first"
    assert path.read_text(encoding="utf-8") == "second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("half way")])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(error if isinstance(error, type) else ValueError), \
            durable.atomic_write(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise error
    assert path.read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["while writing", "while renaming"])
def test_no_space_names_the_file_and_the_mend_and_keeps_the_old_one(tmp_path, monkeypatch, where):
    path = tmp_path / "file.txt"
    path.write_text("old", encoding="utf-8")
    if where == "while renaming":
        monkeypatch.setattr(durable.os, "replace", no_space)
    with pytest.raises(OSError, match=r"file\.txt.*No space.*Free some disk space") as caught, \
            durable.atomic_write(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        if where == "while writing":
            no_space()
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["while writing", "while renaming"])
def test_no_space_in_a_folder_names_it_and_the_mend(tmp_path, monkeypatch, where):
    path = tmp_path / "images"
    if where == "while renaming":
        monkeypatch.setattr(durable.os, "replace", no_space)
    with pytest.raises(OSError, match=r"images.*No space left.*Free some disk space"), \
            durable.atomic_folder(path) as temporary:
        (temporary / "one.txt").write_text("1", encoding="utf-8")
        if where == "while writing":
            no_space()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "images"
    with durable.atomic_folder(path) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "one.txt").write_text("1", encoding="utf-8")
        assert not path.exists()
    assert (path / "sub" / "one.txt").is_file() and list(path.parent.iterdir()) == [path]


def test_an_interrupted_folder_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), durable.atomic_folder(tmp_path / "images") as temporary:
        (temporary / "one.txt").write_text("1", encoding="utf-8")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_make_the_same_folder_the_first_stays(tmp_path):
    path = tmp_path / "images"
    with durable.atomic_folder(path) as ours:
        (ours / "one.txt").write_text("ours", encoding="utf-8")
        with durable.atomic_folder(path) as theirs:
            (theirs / "one.txt").write_text("theirs", encoding="utf-8")
    assert (path / "one.txt").read_text(encoding="utf-8") == "theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask for files")
def test_what_is_written_is_readable_as_the_umask_says(tmp_path):
    """A lecturer's shared folder: the class must be able to read what was made in it."""
    old = os.umask(0o022)
    try:
        with durable.atomic_write(tmp_path / "file.txt") as temporary:
            temporary.write_text("new", encoding="utf-8")
        with durable.atomic_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(old)

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert (mode(tmp_path / "file.txt"), mode(tmp_path / "folder")) == (0o644, 0o755)
