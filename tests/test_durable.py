"""Files appear whole or not at all, are checked before use, and leave nothing behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from flips import each_flip, flipped
from power_loss import Recorder, put_on_disk

from semiseg_lib.core import durable


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


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    path = tmp_path / "file.txt"
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=r"could not write .*file\.txt is a folder: move"), \
            durable.atomic_write(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [durable.atomic_write, durable.atomic_folder])
@pytest.mark.parametrize("name", ["work", "work/runs", "work/runs/run"])
def test_a_file_in_place_of_a_folder_is_named(tmp_path, write, name):
    other = tmp_path / name
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("other", encoding="utf-8")
    with pytest.raises(OSError, match=rf"could not write .*/{name} is not a folder: move it"), \
            write(tmp_path / "work" / "runs" / "run" / "new"):
        pass
    assert other.read_text(encoding="utf-8") == "other"


def test_a_file_in_place_of_the_folder_that_is_written_is_named(tmp_path):
    (tmp_path / "images").write_text("other", encoding="utf-8")
    with pytest.raises(OSError, match=r"images is not a folder: move it away"), \
            durable.atomic_folder(tmp_path / "images"):
        pass


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_may_not_be_written_is_named_with_the_mend(tmp_path, monkeypatch, number):
    def refuse(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable.os, "replace", refuse)
    with pytest.raises(OSError, match=r"file\.txt .*Make its folder writable, or") as caught, \
            durable.atomic_write(tmp_path / "file.txt") as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert "disk space" not in str(caught.value)


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


CONTENT = {"kind": "thing", "members": {"a": {"bytes": 3}, "ü": [1.5, None, True]}, "nothing": {}}


def test_sealed_json_comes_back_and_reads_as_json(tmp_path):
    for content in (CONTENT, {}, {"one": float("inf"), "two": -0.1}):
        durable.write_json(tmp_path / "a.json", content)
        assert durable.read_json(tmp_path / "a.json") == content
        plain = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
        assert list(plain) == ["sha256", *content]
    with pytest.raises(ValueError, match="sha256 is the seal's own"):
        durable.write_json(tmp_path / "a.json", {"sha256": "0"})
    with pytest.raises(FileNotFoundError):
        durable.read_json(tmp_path / "b.json")


def test_a_folder_is_no_sealed_json_and_below_a_file_there_is_none(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(durable.Damaged, match=r"a\.json is damaged: it is a folder"):
        durable.read_json(tmp_path / "a.json")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"file.a\.json"):
        durable.read_json(tmp_path / "file" / "a.json")


def test_each_flipped_bit_of_sealed_json_is_noticed(tmp_path):
    path = tmp_path / "a.json"
    durable.write_json(path, CONTENT)
    with each_flip(path) as flips:
        for _ in flips:
            with pytest.raises(durable.Damaged, match=r"a\.json is damaged: .* Delete it and run"):
                durable.read_json(path)
    assert durable.read_json(path) == CONTENT


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"a": 1}',
                                     b"[" * 10_000, b'{"sha256": "0"}'])
def test_other_content_is_no_sealed_json(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(durable.Damaged, match=r"a\.json"):
        durable.read_json(tmp_path / "a.json")


def test_each_flipped_bit_and_each_cut_of_sealed_bytes_is_noticed():
    content = bytes(range(40))
    sealed = durable.seal(content)
    assert durable.unseal(sealed, Path("a.pt")) == content
    assert durable.unseal(durable.seal(b""), Path("a.pt")) == b""
    cut = (sealed[:end] for end in range(len(sealed)))
    for changed in (*flipped(sealed), *cut, sealed + b"\n"):
        with pytest.raises(durable.Damaged, match=r"a\.pt is damaged: .* Delete it and run"):
            durable.unseal(changed, Path("a.pt"))


def rewritten(path: Path, recorder: Recorder, monkeypatch, syncs: bool) -> set[str | None]:
    """Write a file twice; return what it may hold in any state that a power loss leaves."""
    with recorder.recording(monkeypatch, syncs):
        for text in ("first", "second"):
            with durable.atomic_write(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            recorder.mark(text)
    found = set()
    for marks, files in recorder.states():
        text = files.get("a.txt", b"").decode() if "a.txt" in files else None
        if syncs:
            assert text in {marks[-1] if marks else None, "first" if not marks else "second"}
        found.add(text)
    return found


def test_a_file_is_old_or_new_whenever_the_power_is_lost(tmp_path, monkeypatch):
    found = rewritten(tmp_path / "a.txt", Recorder(tmp_path), monkeypatch, syncs=True)
    assert found == {None, "first", "second"}


def test_a_writer_that_does_not_sync_would_be_noticed(tmp_path, monkeypatch):
    found = rewritten(tmp_path / "a.txt", Recorder(tmp_path), monkeypatch, syncs=False)
    assert {"", "fi", "sec"} <= found


def test_all_of_a_folder_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path)
    with recorder.recording(monkeypatch), durable.atomic_folder(tmp_path / "new") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "one.txt").write_text("1", encoding="utf-8")
        (folder / "two.txt").write_text("2", encoding="utf-8")
    kinds = [step[0] for step in recorder.steps]
    assert kinds[-2:] == ["move", "sync folder"] and kinds.count("move") == 1
    synced = [Path(step[1]).name for step in recorder.steps[:-2] if step[0] == "sync"]
    assert sorted(synced) == ["one.txt", "two.txt"]
    folders = {Path(step[1]).name for step in recorder.steps[:-2] if step[0] == "sync folder"}
    assert {"sub", folder.name} <= folders


def test_the_newer_of_two_sealed_files_survives_whenever_the_power_is_lost(tmp_path, monkeypatch):
    """As for checkpoints that are written in turns."""
    def newest(folder: Path) -> int:
        found = [0]
        for path in folder.glob("[ab]"):
            with contextlib.suppress(durable.Damaged):
                found.append(int(durable.unseal(path.read_bytes(), path)))
        return max(found)

    recorder = Recorder(tmp_path / "run")
    (tmp_path / "run").mkdir()
    with recorder.recording(monkeypatch):
        for step in range(1, 5):
            with durable.atomic_write(tmp_path / "run" / "ab"[step % 2]) as temporary:
                temporary.write_bytes(durable.seal(str(step).encode()))
            recorder.mark(step)
    for number, (marks, files) in enumerate(recorder.states()):
        done = marks[-1] if marks else 0
        assert newest(put_on_disk(files, tmp_path / f"state{number}")) in (done, done + 1)


KILLED = """
import os, signal, sys, time
from pathlib import Path
from semiseg_lib.core import durable

folder, kills = Path(sys.argv[1]), int(sys.argv[2])

def killed(write):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with write() as temporary:
            if temporary.is_dir():
                (temporary / "half").write_bytes(b"half")
            else:
                temporary.write_bytes(b"half")
            os.write(writing, b"!")
            time.sleep(600)
    os.read(reading, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

for number in range(kills):
    killed(lambda: durable.atomic_write(folder / f"file{number % 3}.txt"))
    killed(lambda: durable.atomic_folder(folder / f"folder{number % 3}"))
print(len(list(folder.iterdir())))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork and no SIGKILL")
def test_the_next_writer_removes_what_killed_ones_have_left_and_no_more(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / ".archive.zip.part").write_bytes(b"half a download")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), "10"], text=True,
                          capture_output=True, check=True, timeout=120)
    # Children of one process are told apart from each other: each sweeps once, before it writes.
    assert int(done.stdout) <= 3
    with durable.atomic_write(folder / "ours.txt") as ours:
        ours.write_text("1", encoding="utf-8")
        durable.sweep(folder)
        assert {p.name for p in folder.iterdir()} == {ours.name, ".archive.zip.part"}
    assert {p.name for p in folder.iterdir()} == {"ours.txt", ".archive.zip.part"}


def test_temporaries_of_another_host_and_of_a_reused_process_number(tmp_path):
    with durable.atomic_write(tmp_path / "a.txt") as ours:
        ours.write_text("1", encoding="utf-8")
        host, pid, started = durable.TEMPORARY.fullmatch(ours.name).groups()[:3]
        reused = tmp_path / ours.name.replace(f"-{started}-", f"-{int(started) - 1}-")
        fresh = tmp_path / ours.name.replace(host, "0" * 8)
        old = tmp_path / fresh.name.replace(f"-{pid}-", "-1-")
        for path in (reused, fresh, old):
            path.write_bytes(b"half")
        os.utime(old, (0, 0))
        durable.sweep(tmp_path)
        assert set(tmp_path.iterdir()) == {ours, fresh}
    durable.sweep(tmp_path / "nowhere")
