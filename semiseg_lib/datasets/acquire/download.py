"""Downloads that survive a bad line, and archives that cannot write where they should not.

A file is taken from the first mirror that hands out the right bytes: its hash is known beforehand.
A connection that breaks is continued from the byte where it broke. An archive is unpacked beside
its place and moved there when it is whole, so that a half-unpacked folder never looks finished.
"""

from __future__ import annotations

import gzip
import logging
import os
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pooch
import requests
import urllib3
from pooch.hashes import hash_matches
from tqdm.auto import tqdm

from semiseg_lib.core.durable import atomic_folder
from semiseg_lib.core.paths import shown

BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)
CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A file to download.

    Attributes:
        name: the file's name on this disk.
        known_hash: ``algorithm:digits``, as its owner or a public library published it.
        urls: where it lies; tried in this order.
        by_hand: what to do where none of them answers; "{folder}" becomes the download folder.
    """

    name: str
    known_hash: str
    urls: tuple[str, ...]
    by_hand: str


class ResumingDownloader:
    """A downloader for :func:`pooch.retrieve` that goes on where a broken connection stopped.

    What has arrived waits in ``part``, also for the next call; pooch checks the hash of the whole.

    Args:
        part: where the unfinished file waits.
        tries: how often in a row a connection may bring nothing before it counts as down.
        wait: seconds before the second try; twice as long before each further one.
        progress: show a progress bar.
        whole: hash of the whole file, by which one that was stopped after its last byte is known.
    """

    def __init__(
        self, part: Path, tries: int = 4, wait: float = 1.0, progress: bool = True,
        whole: str | None = None,
    ) -> None:
        self.part, self.tries, self.wait, self.progress = Path(part), tries, wait, progress
        self.whole = whole

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        failed = 0
        while True:
            before = self._arrived()
            try:
                self._go_on(url, before)
                break
            except BROKEN as error:
                failed = 0 if self._arrived() > before else failed + 1
                refused = isinstance(error, requests.HTTPError) and error.response.status_code < 500
                if refused or failed >= self.tries:
                    raise
                time.sleep(self.wait * 2 ** max(failed - 1, 0))
        os.replace(self.part, output_file)

    def _arrived(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _go_on(self, url: str, start: int) -> None:
        """Fetch the bytes from ``start`` on; a server that cannot do so sends all of them."""
        # identity: a compressed transfer has no byte positions to continue from.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if self.whole is not None and hash_matches(self.part, self.whole):
                    return  # it was stopped after the last byte
                self.part.unlink()
                raise requests.ConnectionError("the unfinished file is longer than the whole one")
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                start = 0
            length = response.headers.get("Content-Length")
            with tqdm(
                total=start + int(length) if length else None, initial=start, unit="B",
                unit_scale=True, desc=self.part.name, disable=None if self.progress else True,
            ) as bar, self.part.open("ab" if start else "wb") as file:
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    bar.update(len(chunk))


def fetch(
    archive: Archive, folder: Path, tries: int = 4, wait: float = 1.0, progress: bool = True
) -> Path:
    """Download an archive into ``folder``, or find it there; its hash is checked either way.

    Raises:
        RuntimeError: no mirror has it; the message names them, what each said, and the way by hand.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{archive.name}.part"
    pooch.get_logger().setLevel(logging.WARNING)
    said = []
    for url in archive.urls:
        for resumed in (part.is_file(), False):
            try:
                return Path(pooch.retrieve(
                    url, archive.known_hash, archive.name, folder,
                    downloader=ResumingDownloader(part, tries, wait, progress, archive.known_hash),
                ))
            except BROKEN as error:
                said.append(f"{url}: {_reason(error)}")
                break
            except ValueError:
                # A part of another file may have been continued; try the same mirror from byte 0.
                if not resumed:
                    said.append(f"{url}: the file has another hash than {archive.known_hash}")
                    break
    raise RuntimeError(
        f"{archive.name} could not be downloaded.\n  "
        + "\n  ".join(said)
        + (f"\n  {part.stat().st_size} bytes arrived; the same command continues there."
           if part.is_file() else "")
        + f"\nBy hand: {archive.by_hand.format(folder=shown(folder))}"
    )


def _reason(error: Exception) -> str:
    """A line on what went wrong, in place of three nested exceptions."""
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    host = urlsplit(error.request.url).hostname if getattr(error, "request", None) else "the server"
    if isinstance(error, requests.Timeout):
        return f"{host} does not answer"
    if isinstance(error, requests.ConnectionError):
        return f"{host} cannot be reached"
    return f"the connection broke ({type(error).__name__})"


def unpack(archive: Path, inside: str, target: Path, progress: bool = True) -> Path:
    """Unpack the folder ``inside`` of a .tar, .tgz or .zip as the folder ``target``.

    Nothing is there until all of it is; a target that exists stays as it is.

    Raises:
        ValueError: a name in the archive leads out of it, it holds a link, it is damaged, or there
            is no folder ``inside``.
    """
    archive, target = Path(archive), Path(target)
    if target.is_dir():
        return target
    steps = _unzip if zipfile.is_zipfile(archive) else _untar
    with atomic_folder(target) as folder:
        try:
            members = steps(archive, PurePosixPath(inside), folder)
            for _ in tqdm(members, desc=f"unpack {archive.name}", unit=" files",
                          disable=None if progress else True):
                pass
        except DAMAGED as error:
            raise ValueError(
                f"{shown(archive)} cannot be unpacked ({error}). Delete it and download it again."
            ) from error
        if not any(folder.iterdir()):
            raise ValueError(
                f"{shown(archive)} holds no folder {inside}. It is another archive than its name "
                "says; delete it and download it again."
            )
    return target


def _untar(archive: Path, prefix: PurePosixPath, folder: Path) -> Iterator[str]:
    with tarfile.open(archive) as tar:
        for member in tar:
            path = _below(member.name, prefix, archive)
            if not (member.isfile() or member.isdir()):
                raise ValueError(_refused(archive, member.name, "is a link or a device"))
            if path is not None and member.isfile():
                tar.extract(member.replace(name=path, deep=False), folder, filter="data")
                yield member.name


def _unzip(archive: Path, prefix: PurePosixPath, folder: Path) -> Iterator[str]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            path = _below(member.filename, prefix, archive)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise ValueError(_refused(archive, member.filename, "is a link"))
            if path is not None and not member.is_dir():
                member.filename = path
                packed.extract(member, folder)
                yield path


def _below(name: str, prefix: PurePosixPath, archive: Path) -> str | None:
    """A member's name below ``prefix``, None outside it; names that lead out are refused."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise ValueError(_refused(archive, name, "leads out of the folder"))
    return path.relative_to(prefix).as_posix() if path.is_relative_to(prefix) else None


def _refused(archive: Path, name: str, why: str) -> str:
    return (
        f"{shown(archive)} is refused: its member {name!r} {why}. No dataset needs that; delete "
        "the file and fetch it from its owner."
    )
