"""Downloads against a server on this machine that breaks, lies or is down; archives that attack."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from semiseg_lib.datasets.acquire.download import Archive, fetch, unpack

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Hands out ``CONTENT``; breaks off after ``breaks[i]`` bytes of its i-th answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.breaks, self.ranges, self.asked = CONTENT, [], True, []
        self.headers: dict[str, str] = {}
        self.encodings: set[str | None] = set()

    def url(self, path: str = "file") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        server.encodings.add(self.headers.get("Accept-Encoding"))
        if self.path != "/file":
            return self.send_error(404)
        start = int(asked[6:-1]) if asked and server.ranges else 0
        if start >= len(server.content):
            return self.send_error(416)
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        cut = server.breaks.pop(0) if server.breaks else len(body)
        self.wfile.write(body[:cut])

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server():
    one = Server()
    thread = threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield one
    one.shutdown()
    one.server_close()
    thread.join()


def dead_url() -> str:
    """An address where nobody listens: bound once, then freed."""
    one = Server()
    one.server_close()
    return one.url()


def archive(*urls: str, known_hash: str = MD5) -> Archive:
    return Archive("data.bin", known_hash, urls, "Fetch it with a browser from its owner's page.")


def get(wanted: Archive, folder: Path, tries: int = 2) -> Path:
    return fetch(wanted, folder, tries=tries, wait=0.0, progress=False)


def test_a_broken_connection_goes_on_where_it_broke(server, tmp_path):
    server.breaks = [100_000, 0, 50_000]
    path = get(archive(server.url()), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert server.encodings == {"identity"}, "a compressed transfer has no place to go on from"
    assert [p.name for p in tmp_path.iterdir()] == ["data.bin"]


def test_what_arrived_waits_for_the_next_call(server, tmp_path):
    server.breaks = [100_000, 0, 0]
    with pytest.raises(RuntimeError, match="100000 bytes arrived; the same command continues"):
        get(archive(server.url()), tmp_path)
    assert not (tmp_path / "data.bin").exists()
    assert get(archive(server.url()), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=100000-"


def test_a_server_that_cannot_resume_starts_over(server, tmp_path):
    server.ranges, server.breaks = False, [100_000]
    assert get(archive(server.url()), tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_file_is_not_kept(server, tmp_path):
    """A longer part makes the server answer 416, a shorter one gives a wrong hash: both heal."""
    for size in (len(CONTENT) + 5, 1000):
        (tmp_path / ".data.bin.part").write_bytes(bytes(size))
        assert get(archive(server.url()), tmp_path).read_bytes() == CONTENT
        (tmp_path / "data.bin").unlink()


def test_a_part_that_was_stopped_after_its_last_byte_is_not_fetched_again(server, tmp_path):
    (tmp_path / ".data.bin.part").write_bytes(CONTENT)
    assert get(archive(server.url()), tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_wrong_hash_is_refused_and_leaves_nothing(server, tmp_path):
    wrong = "md5:" + "0" * 32
    with pytest.raises(RuntimeError, match="another hash") as said:
        get(archive(server.url(), known_hash=wrong), tmp_path)
    assert "By hand: Fetch it" in str(said.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_checked_and_not_fetched_again(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(CONTENT)
    get(archive(server.url()), tmp_path)
    assert server.asked == []
    (tmp_path / "data.bin").write_bytes(CONTENT[:-1])
    assert get(archive(server.url()), tmp_path).read_bytes() == CONTENT


def test_the_second_mirror_serves_when_the_first_is_down(server, tmp_path):
    path = get(archive(dead_url(), server.url("gone"), server.url()), tmp_path)
    assert path.read_bytes() == CONTENT


def test_when_all_mirrors_fail_each_is_named_with_its_reason(server, tmp_path):
    dead = dead_url()
    with pytest.raises(RuntimeError) as said:
        get(archive(dead, server.url("gone")), tmp_path)
    lines = str(said.value).splitlines()
    assert lines[1].strip() == f"{dead}: 127.0.0.1 cannot be reached"
    assert lines[2].strip() == f"{server.url('gone')}: the server answers 404 Not Found"
    assert len(server.asked) == 1, "what is not there is not asked for again"


def test_a_server_that_calls_a_tgz_an_encoding_does_not_unpack_it(server, tmp_path):
    """Some servers send .tgz files as ``Content-Encoding: gzip``; the hash is of the file."""
    server.headers = {"Content-Encoding": "gzip"}
    assert get(archive(server.url()), tmp_path).read_bytes() == CONTENT


def tar(path: Path, members: dict[str, bytes], link: str | None = None) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo("top/link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            packed.addfile(info)
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


@pytest.mark.parametrize("pack, name", [(tar, "a.tgz"), (zipped, "a.zip")], ids=["tar", "zip"])
def test_one_folder_of_an_archive_is_unpacked(tmp_path, pack, name):
    packed = pack(tmp_path / name, {"top/in/a.txt": b"a", "top/in/b/c.txt": b"c", "top/x": b"x"})
    unpack(packed, "top/in", tmp_path / "made" / "out", progress=False)
    made = tmp_path / "made"
    files = {p.relative_to(made).as_posix(): p.read_bytes() for p in made.rglob("*.*")}
    assert files == {"out/a.txt": b"a", "out/b/c.txt": b"c"}
    with pytest.raises(ValueError, match="holds no folder other"):
        unpack(packed, "other", tmp_path / "made" / "second", progress=False)


@pytest.mark.parametrize("evil", ["../evil.txt", "top/../../evil.txt", "/evil.txt", "C:/evil.txt",
                                  "top\\..\\..\\evil.txt"])
@pytest.mark.parametrize("pack, name", [(tar, "a.tgz"), (zipped, "a.zip")], ids=["tar", "zip"])
def test_names_that_lead_out_are_refused_and_nothing_stays(tmp_path, pack, name, evil):
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    packed = pack(folder / name, {"top/a.txt": b"a", evil: b"evil"})
    with pytest.raises(ValueError, match="points outside the folder"):
        unpack(packed, "top", folder / "out", progress=False)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [name]
    assert not Path("/evil.txt").exists()


def test_links_are_refused(tmp_path):
    packed = tar(tmp_path / "a.tgz", {"top/a.txt": b"a"}, link="/etc")
    with pytest.raises(ValueError, match="is a link"):
        unpack(packed, "top", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pack, name, damage", [
    (tar, "a.tgz", "cut"), (zipped, "a.zip", "cut"), (zipped, "a.zip", "spoil"),
])
def test_a_damaged_archive_leaves_nothing_that_looks_finished(tmp_path, pack, name, damage):
    """A .zip has a checksum per file; a spoilt .tgz is caught by its hash, before it comes here."""
    content = np.random.default_rng(1).bytes(50_000)
    packed = pack(tmp_path / name, {"top/a.bin": content, "top/b.bin": content[::-1]})
    whole = packed.read_bytes()
    cut, spoilt = whole[: len(whole) * 3 // 4], whole[:60_000] + bytes(500) + whole[60_500:]
    packed.write_bytes(cut if damage == "cut" else spoilt)
    with pytest.raises(ValueError, match=rf"{name} cannot be read.*Delete it and download"):
        unpack(packed, "top", tmp_path / "out", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_interrupted_unpack_leaves_nothing_that_looks_finished(tmp_path, monkeypatch):
    packed = tar(tmp_path / "a.tgz", {"top/a.txt": b"a", "top/b.txt": b"b"})
    extract = tarfile.TarFile.extractfile

    def stop_at_the_second(self, member):
        if member.name == "top/b.txt":
            raise KeyboardInterrupt
        return extract(self, member)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tarfile.TarFile, "extractfile", stop_at_the_second)
        unpack(packed, "top", tmp_path / "out", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tgz"]
    unpack(packed, "top", tmp_path / "out", progress=False)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.txt", "b.txt"]


KILLED = """
import os, signal, sys, time
from pathlib import Path
from semiseg_lib.datasets.acquire import download

archive, root = Path(sys.argv[1]), Path(sys.argv[2])
steps = download._untar
for _ in range(int(sys.argv[3])):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        def stopped(*arguments):
            for member in steps(*arguments):
                os.write(writing, b"!")
                time.sleep(600)
                yield member
        download._untar = stopped
        download.unpack(archive, "data", root / "data", progress=False)
    os.read(reading, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(len(list(root.rglob("*"))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork and no SIGKILL")
def test_unpacking_again_removes_what_a_killed_one_has_left(tmp_path):
    archive, root = tmp_path / "data.tar", tmp_path / "datasets"
    with tarfile.open(archive, "w") as tar:
        for number in range(5):
            member = tarfile.TarInfo(f"data/{number}.txt")
            member.size = 1
            tar.addfile(member, io.BytesIO(b"1"))
    root.mkdir()
    (root / ".data.tar.part").write_bytes(b"half a download")
    done = subprocess.run([sys.executable, "-c", KILLED, str(archive), str(root), "5"], text=True,
                          capture_output=True, check=True, timeout=120)
    assert int(done.stdout) > 1, "something was left behind"
    unpack(archive, "data", root / "data", progress=False)
    assert sorted(path.name for path in root.iterdir()) == [".data.tar.part", "data"]
    assert len(list((root / "data").iterdir())) == 5
