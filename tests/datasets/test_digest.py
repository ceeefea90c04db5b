"""Digests of image sets: every change is seen, no folder enters, and no file is read in vain."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from flips import each_flip

from semiseg_lib.core.durable import read_json, write_json
from semiseg_lib.datasets import digest
from semiseg_lib.datasets.digest import FileHashes, image_set_digest, image_set_hashes

SECOND = 1_000_000_000
FIELDS = ("size", "modified", "changed", "inode", "recorded", "sha256")


@dataclass(frozen=True)
class FakeReader:
    """Images, masks and boxes in three folders, or bytes that stand for them."""

    root: Path
    names: tuple[str, ...] = ("one", "two", "three")
    classes: tuple[str, ...] = ("background", "cat", "dog")
    masks: object = "masks"
    boxes: bool = True
    canonical: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def files(self, name: str) -> list[Path]:
        return [self.root / kind / f"{name}.bin" for kind in ("images", "masks", "boxes")]

    def content(self, index: int) -> Iterator[Path | bytes]:
        image, mask, boxes = self.files(self.names[index])
        yield image
        if self.masks is not None:
            yield mask
        if self.boxes:
            yield boxes


class BytesReader(FakeReader):
    """The same images, in memory."""

    def content(self, index: int) -> Iterator[Path | bytes]:
        for path in super().content(index):
            yield path.read_bytes()


class SharedReader(FakeReader):
    """Every image has its boxes in one file of all."""

    def content(self, index: int) -> Iterator[Path | bytes]:
        yield self.files(self.names[index])[0]
        yield self.root / "boxes" / "one.bin"


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch) -> Path:
    """A work folder of its own."""
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path / "work"))
    return tmp_path / "work"


@pytest.fixture
def reader(tmp_path) -> FakeReader:
    reader = FakeReader(tmp_path / "set")
    for name in reader.names:
        for path in reader.files(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{path.parent.name} of {name}".encode() * 50)
    return reader


@pytest.fixture
def later(monkeypatch) -> None:
    """Records are made a minute later, so that no time stamp leaves a doubt."""
    monkeypatch.setattr(
        digest, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 60 * SECOND)
    )


@pytest.fixture
def hashed(monkeypatch) -> list[Path]:
    """The files that were read, as they are read."""
    read, inner = [], digest._sha256
    monkeypatch.setattr(digest, "_sha256", lambda path: read.append(path) or inner(path))
    return read


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of(reader: FakeReader, *indices: int, extra=()) -> str:
    """The digest with what is remembered of the reader's folder, by default of all images."""
    return image_set_digest(
        reader, indices or range(len(reader)), FileHashes(reader.root), extra
    )


def shared_hashes(folder: Path, work: Path) -> Path:
    return work / "digests" / f"{sha(folder.resolve().as_posix().encode())}.json"


def test_the_digest_is_the_documented_one(reader):
    """Recomputed from the bytes, letter by letter."""
    reader = replace(reader, classes=("void", "kät\"ze"), boxes=False)

    def entry(name):
        image, mask, _ = (path.read_bytes() for path in reader.files(name))
        return f'["{name}",["{sha(image)}","{sha(mask)}"]]'

    text = (r'["semiseg image set 1",["void","k\u00e4t\"ze"],'
            f'[{entry("three")},{entry("one")}],["seed 0"]]')
    assert image_set_digest(reader, (2, 0), extra=["seed 0"]) == sha(text.encode())
    assert digest_of(reader, 2, 0, extra=["seed 0"]) == sha(text.encode())


def test_hashes_stand_by_name_in_the_order_of_the_list(reader):
    found = image_set_hashes(reader, [2, 0], FileHashes(reader.root))
    assert list(found.items()) == [
        (name, tuple(sha(path.read_bytes()) for path in reader.files(name)))
        for name in ("three", "one")
    ]


def test_bytes_in_memory_are_worth_as_much_as_a_file(reader):
    assert digest_of(BytesReader(reader.root)) == digest_of(reader)


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["image", "mask", "boxes"])
def test_one_byte_of_any_file_changes_the_digest(reader, later, kind):
    before = digest_of(reader)
    path = reader.files("two")[kind]
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    assert digest_of(reader) != before
    assert digest_of(reader) == image_set_digest(reader, range(3))


def test_classes_names_order_lists_and_what_is_read_change_the_digest(reader):
    copy = reader.root / "images" / "four.bin"
    for path, other in zip(reader.files("two"), reader.files("four"), strict=True):
        shutil.copy(path, other)
    assert copy.read_bytes() == reader.files("two")[0].read_bytes()
    found = [
        digest_of(reader),
        digest_of(replace(reader, classes=("background", "cat", "hound"))),
        digest_of(replace(reader, classes=("background", "dog", "cat"))),
        digest_of(replace(reader, names=("one", "four", "three"))),
        digest_of(replace(reader, names=(*reader.names, "four"))),
        digest_of(reader, 0, 1),
        digest_of(reader, 1, 0, 2),
        digest_of(reader, 0, 1, 2, 2),
        digest_of(replace(reader, masks=None)),
        digest_of(replace(reader, boxes=False)),
        digest_of(reader, extra=["one"]),
        digest_of(reader, extra=["one", "two"]),
        digest_of(reader, extra=["onetwo"]),
        digest_of(reader, extra=["two", "one"]),
    ]
    assert len(set(found)) == len(found)


def test_parts_cannot_run_into_each_other(tmp_path):
    """What moves from one part to its neighbour is seen."""
    shared = {"root": tmp_path, "masks": None, "boxes": False}
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.bin").write_bytes(b"same")
    found = [
        digest_of(FakeReader(names=("a", "b"), classes=("x", "y"), **shared)),
        digest_of(FakeReader(names=("a", "b"), classes=("x,y",), **shared)),
        digest_of(FakeReader(names=("a", "b"), classes=('x","y',), **shared)),
        digest_of(FakeReader(names=("a", "b"), classes=("x",), **shared), extra=["y"]),
        digest_of(FakeReader(names=("a", "b"), classes=("x", "y"), **shared), 0, extra=["b"]),
    ]
    assert len(set(found)) == len(found)


def test_the_folder_does_not_enter(reader, tmp_path):
    copy = tmp_path / "elsewhere" / "moved"
    shutil.copytree(reader.root, copy)
    assert digest_of(replace(reader, root=copy)) == digest_of(reader)


def test_drawn_images_count_by_what_was_drawn(reader):
    """Two encoders write different bytes; the reader knows what they show."""
    path = reader.files("one")[0]
    drawn = sha(b"pixels")
    first = replace(reader, canonical={sha(path.read_bytes()): drawn})
    before = digest_of(first)
    assert image_set_hashes(first, [0], FileHashes())["one"][0] == drawn
    assert before != digest_of(reader)
    path.write_bytes(b"another encoder")
    assert digest_of(replace(reader, canonical={sha(b"another encoder"): drawn})) == before
    assert digest_of(first) != before, "nobody knows what these bytes show"


def test_the_second_time_no_file_is_read(reader, later, hashed, work):
    before = digest_of(reader)
    assert len(hashed) == 9
    table = shared_hashes(reader.root, work)
    written = table.stat()
    hashed.clear()
    assert digest_of(reader) == before
    assert hashed == []
    after = table.stat()
    assert (after.st_mtime_ns, after.st_ino) == (written.st_mtime_ns, written.st_ino)


def test_without_a_table_every_file_is_read_once_and_nothing_is_written(
    reader, later, hashed, work
):
    for _ in range(2):
        hashed.clear()
        image_set_digest(reader, (0, 1, 2), FileHashes())
        assert len(hashed) == 9
    assert not work.exists()


def test_by_default_the_table_of_the_dataset_is_kept_and_shared(reader, later, hashed, work):
    first = image_set_digest(reader, range(3))
    assert len(hashed) == 9 and shared_hashes(reader.root, work).is_file()
    hashed.clear()
    assert image_set_digest(reader, range(3)) == first and hashed == []
    image = reader.files("one")[0]
    image.write_bytes(image.read_bytes()[::-1])
    assert image_set_digest(reader, range(3)) != first, "what is shared is checked at every use"


def test_a_file_that_images_share_is_read_once(reader, later, hashed):
    shared = SharedReader(reader.root)
    image_set_digest(shared, range(3))
    assert len(hashed) == 4
    boxes = (reader.root / "boxes" / "one.bin").read_bytes()
    assert {one[1] for one in image_set_hashes(shared, range(3), FileHashes()).values()} == {
        sha(boxes)
    }


def test_many_files_are_hashed_as_one_by_one(tmp_path, later):
    """Threads finish in any order; big files and small ones alternate."""
    paths = [tmp_path / f"{i}.bin" for i in range(3 * digest.PART)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i % 256, i // 256]) * (50_000 if i % 3 else 2))
    found = FileHashes(tmp_path).get_all([*paths, *reversed(paths)])
    assert found == {path: sha(path.read_bytes()) for path in paths}


def test_a_touched_file_is_read_again_and_keeps_its_digest(reader, later, hashed):
    before = digest_of(reader)
    path = reader.files("two")[1]
    os.utime(path, ns=(0, path.stat().st_mtime_ns - 5 * SECOND))
    hashed.clear()
    assert digest_of(reader) == before
    assert hashed == [path]
    hashed.clear()
    assert digest_of(reader) == before
    assert hashed == [], "the new time is on record"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no change time")
def test_a_restored_modification_time_hides_nothing(reader, later):
    before = digest_of(reader)
    path = reader.files("two")[1]
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        status.st_size, status.st_mtime_ns, status.st_ino
    )
    assert digest_of(reader) != before


def test_a_file_that_takes_the_place_of_another_is_seen(reader, later):
    before = digest_of(reader)
    path = reader.files("two")[1]
    status, other = path.stat(), path.with_suffix(".new")
    other.write_bytes(b"x" * status.st_size)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, path)
    assert digest_of(reader) != before


def record_of(path: Path, **changes) -> dict[str, object]:
    """A record of the file as it is, long settled, with the hash of something else."""
    status = path.stat()
    newest = max(status.st_mtime_ns, status.st_ctime_ns)
    record = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino,
              newest + 60 * SECOND, "f" * 64)
    return dict(zip(FIELDS, record, strict=True)) | changes


def write_table(folder: Path, work: Path, files: Mapping[Path, dict]) -> Path:
    table = shared_hashes(folder, work)
    table.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": 1, "folder": folder.resolve().as_posix(),
               "files": {str(path): list(record.values()) for path, record in files.items()}}
    write_json(table, content)
    return table


@pytest.mark.parametrize("name", [None, "size", "modified", "changed", "inode"])
def test_a_record_is_believed_only_where_the_whole_stat_agrees(reader, work, name):
    path = reader.files("one")[0]
    record = record_of(path)
    if name:
        record[name] -= 1
    write_table(reader.root, work, {path: record})
    expected = sha(path.read_bytes()) if name else "f" * 64
    assert FileHashes(reader.root).get(path) == expected


@pytest.mark.parametrize("young", ["modified", "changed"])
@pytest.mark.parametrize(("seconds", "believed"), [(-1, False), (0, False), (2, False), (3, True)])
def test_a_record_made_within_the_tick_of_a_change_is_not_believed(
    reader, work, young, seconds, believed
):
    """The file may have changed again, right after it was recorded, with the same time stamps."""
    path = reader.files("one")[0]
    changed = path.stat().st_ctime_ns
    age = -1000 if young == "changed" else 1000
    os.utime(path, ns=(0, changed + age * SECOND))
    record = record_of(path)
    record["recorded"] = max(record["modified"], record["changed"]) + seconds * SECOND
    write_table(reader.root, work, {path: record})
    hashes = FileHashes(reader.root)
    assert hashes.get(path) == ("f" * 64 if believed else sha(path.read_bytes()))


def test_files_written_just_now_are_read_again_until_they_have_settled(
    reader, hashed, monkeypatch
):
    now = time.time_ns()
    for seconds, count in ((0.5, 9), (1, 9), (5, 9), (6, 0)):
        clock = SimpleNamespace(time_ns=lambda seconds=seconds: now + int(seconds * SECOND))
        monkeypatch.setattr(digest, "time", clock)
        hashed.clear()
        digest_of(reader)
        assert len(hashed) == count, f"after {seconds} s"


def test_a_file_that_changes_while_it_is_read_is_read_again(reader, monkeypatch, later):
    path, inner, left = reader.files("one")[0], digest._sha256, [1]

    def spoil(one):
        found = inner(one)
        if left:
            left.pop()
            one.write_bytes(b"written meanwhile")
        return found

    monkeypatch.setattr(digest, "_sha256", spoil)
    assert FileHashes(reader.root).get(path) == sha(b"written meanwhile")


def test_a_file_that_never_rests_is_refused_by_name(reader, monkeypatch):
    inner = digest._sha256

    def spoil(path):
        found = inner(path)
        if path.parent.name == "masks" and path.stem == "two":
            with path.open("ab") as file:
                file.write(b"more")
        return found

    monkeypatch.setattr(digest, "_sha256", spoil)
    with pytest.raises(OSError, match=r"masks/two\.bin changes while it is read\. Wait until"):
        digest_of(reader)


def test_a_missing_file_is_named_with_what_to_do(reader, later, hashed):
    path = reader.files("two")[1]
    digest_of(reader)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"masks/two\.bin is missing\. Put it back, or"):
        digest_of(reader)
    with pytest.raises(FileNotFoundError, match=r"masks/two\.bin"):
        image_set_digest(reader, range(3))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
@pytest.mark.parametrize("kind", ["folder", "loop"])
def test_what_is_no_file_is_named_with_what_to_do(reader, kind):
    path = reader.files("two")[1]
    path.unlink()
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with pytest.raises(OSError, match=r"masks/two\.bin cannot be read as a file \(.*\)\. Put a "):
        digest_of(reader)


def test_two_images_of_one_name_must_be_the_same(reader):
    class TwoFolders(FakeReader):
        def content(self, index):
            yield reader.files(("one", "two")[index])[0]

    same_name = TwoFolders(reader.root, names=("same", "same"))
    assert len(image_set_hashes(reader, [0, 0], FileHashes())) == 1
    with pytest.raises(ValueError, match="'same'"):
        image_set_hashes(same_name, [0, 1], FileHashes())
    assert digest_of(same_name, 0, 1) != digest_of(same_name, 1, 0)


@pytest.mark.parametrize("content", [
    b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"version": 1}', b'{"version": 2}', "files",
    "record", "number", "hash", "short hash", "folder",
])
def test_an_unreadable_or_foreign_table_is_an_empty_one(reader, work, content):
    path = reader.files("one")[0]
    table = write_table(reader.root, work, {path: record_of(path)})
    assert FileHashes(reader.root).get(path) == "f" * 64, "what is spoiled below was in order"
    spoiled = read_json(table)
    record = spoiled["files"][str(path)]
    if content == "files":
        spoiled["files"] = [record]
    elif content == "record":
        record.pop()
    elif content == "number":
        record[4] = "late"
    elif content == "hash":
        record[5] = 5
    elif content == "short hash":
        record[5] = "f" * 63
    elif content == "folder":
        spoiled["folder"] = "/somewhere/else"
    if isinstance(content, bytes):
        table.write_bytes(content)
    else:
        write_json(table, spoiled)
    hashes = FileHashes(reader.root)
    assert hashes.get(path) == sha(path.read_bytes())
    hashes.save()
    assert list(json.loads(table.read_text(encoding="utf-8"))["files"]) == [str(path)]


@pytest.mark.parametrize("trouble", ["a file in its place", "locked", "write_json"])
def test_a_work_folder_that_cannot_be_written_is_no_error(
    reader, work, later, hashed, monkeypatch, trouble
):
    def refuse(path, *_, **__):
        raise PermissionError(30, "Read-only file system", str(path))

    expected = image_set_digest(reader, range(3), FileHashes())
    if trouble == "a file in its place":
        work.write_text("no folder", encoding="utf-8")
    else:
        monkeypatch.setattr(digest, trouble, refuse)
    for _ in range(2):
        hashed.clear()
        assert digest_of(reader) == expected
        assert len(hashed) == 9
    assert not shared_hashes(reader.root, work).exists()


def test_saving_drops_files_that_are_gone_and_keeps_the_others(reader, work, later):
    digest_of(reader)
    for path in reader.files("three"):
        path.unlink()
    table = shared_hashes(reader.root, work)
    before = table.read_bytes()
    digest_of(reader, 0)
    assert table.read_bytes() == before, "nothing new, so nothing is written"
    os.utime(reader.files("one")[0], ns=(0, 0))
    digest_of(reader, 0)
    names = [str(path) for name in ("one", "two") for path in reader.files(name)]
    assert sorted(json.loads(table.read_text(encoding="utf-8"))["files"]) == sorted(names)


def test_what_was_hashed_before_a_file_failed_is_not_hashed_again(
    reader, later, hashed, monkeypatch
):
    broken, inner = reader.files("three")[2], digest._sha256

    def fail(path):
        if path == broken:
            raise OSError(5, "Input/output error", str(path))
        return inner(path)

    with monkeypatch.context() as patched:
        patched.setattr(digest, "_sha256", fail)
        with pytest.raises(OSError, match="Input/output error"):
            digest_of(reader)
    hashed.clear()
    digest_of(reader)
    assert hashed == [broken]


def test_every_folder_tree_has_its_own_table(reader, work, later):
    copy = reader.root.with_name("copy")
    shutil.copytree(reader.root, copy)
    digest_of(reader)
    digest_of(replace(reader, root=copy))
    for folder in (reader.root, copy):
        files = json.loads(shared_hashes(folder, work).read_text(encoding="utf-8"))["files"]
        assert len(files) == 9 and all(Path(one).is_relative_to(folder) for one in files)
    assert len(list((work / "digests").iterdir())) == 2


SAVE = """
import sys
from pathlib import Path
from semiseg_lib.datasets.digest import FileHashes
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for path in sorted(folder.glob(f"{sys.argv[2]}*")):
    hashes = FileHashes(folder)
    hashes.get(path)
    hashes.save()
"""


def test_two_processes_that_save_at_the_same_time_lose_nothing(tmp_path, work):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in (f"{letter}{i}" for letter in "ab" for i in range(25)):
        (folder / name).write_text(name, encoding="utf-8")
    processes = [
        subprocess.Popen([sys.executable, "-c", SAVE, str(folder), letter], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for letter in "ab"
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    files = json.loads(shared_hashes(folder, work).read_text(encoding="utf-8"))["files"]
    assert {Path(path).name: record[5] for path, record in files.items()} == {
        path.name: sha(path.read_bytes()) for path in folder.iterdir()
    }
    assert len(files) == 50


def test_a_table_with_a_flipped_bit_is_not_believed(reader, work):
    path = reader.files("one")[0]
    table = write_table(reader.root, work, {path: record_of(path)})
    assert FileHashes(reader.root).get(path) == "f" * 64, "what is flipped below was in order"
    with each_flip(table, 200) as flips:
        for _ in flips:
            assert FileHashes(reader.root).get(path) == sha(path.read_bytes())
