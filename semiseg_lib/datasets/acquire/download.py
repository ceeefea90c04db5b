"""Resumable downloads, and safe unpacking of archives.

A file is taken from the first mirror whose bytes have the known hash. A broken connection resumes
at the byte where it broke. An archive is unpacked to a temporary folder and moved when complete, so
that a partly unpacked folder never looks finished.
"""

from __future__ import annotations

import logging
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pooch
import requests
import urllib3
from pooch.hashes import hash_matches

from semiseg_lib.core.durable import atomic_folder
from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import progress_bar
from semiseg_lib.datasets.labels import LabelError, decoding

BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)
FETCH_AGAIN = "Delete it and download it again."
CHUNK = 1 << 20
BY_HAND = (
    "fetch {name} ({known_hash}) with a browser from {home} or from a copy that you trust, put it "
    "into {folder} and run the same command again: it unpacks from there."
)


@dataclass(frozen=True)
class Archive:
    """A file to download.

    Attributes:
        name: local file name.
        known_hash: ``algorithm:digits``, as published by its owner or a public library.
        urls: mirrors, tried in this order.
        by_hand: instructions if no mirror works; "{folder}" is replaced by the download folder,
            and so are "{name}", "{known_hash}" and "{home}".
        home: the page of its owner.
    """

    name: str
    known_hash: str
    urls: tuple[str, ...]
    by_hand: str = BY_HAND
    home: str = ""


class ResumingDownloader:
    """A downloader for :func:`pooch.retrieve` that resumes broken downloads.

    Received bytes are kept in ``part``, also for the next call; pooch checks the complete hash.

    Args:
        part: path of the partial file.
        tries: number of consecutive connections without data before giving up.
        wait: seconds before the second try; doubled before each further one.
        progress: show a progress bar.
        whole: hash of the complete file, to detect a download stopped after its last byte.
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
            before = self._received()
            try:
                self._resume(url, before)
                break
            except BROKEN as error:
                failed = 0 if self._received() > before else failed + 1
                refused = isinstance(error, requests.HTTPError) and error.response.status_code < 500
                if refused or failed >= self.tries:
                    raise
                time.sleep(self.wait * 2 ** max(failed - 1, 0))
        os.replace(self.part, output_file)

    def _received(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _resume(self, url: str, start: int) -> None:
        """Download the bytes from ``start`` on, or all if the server does not support ranges."""
        # identity: a compressed transfer has no byte positions to continue from.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if self.whole is not None and hash_matches(self.part, self.whole):
                    return  # the download was stopped after the last byte
                self.part.unlink()
                raise requests.ConnectionError("the unfinished file is longer than the whole one")
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                start = 0
            length = response.headers.get("Content-Length")
            with progress_bar(
                total=start + int(length) if length else None, initial=start, unit="B",
                unit_scale=True, desc=self.part.name, disable=None if self.progress else True,
            ) as bar, self.part.open("ab" if start else "wb") as file:
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    bar.update(len(chunk))


def fetch(
    archive: Archive, folder: Path, tries: int = 4, wait: float = 1.0, progress: bool = True
) -> Path:
    """Download an archive into ``folder`` unless it is there; check its hash either way.

    Raises:
        RuntimeError: all mirrors failed; the message has the reason of each and instructions.
    """
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{archive.name}.part"
    pooch.get_logger().setLevel(logging.WARNING)
    failures = []
    for url in archive.urls:
        for resumed in (part.is_file(), False):
            try:
                return Path(pooch.retrieve(
                    url, archive.known_hash, archive.name, folder,
                    downloader=ResumingDownloader(part, tries, wait, progress, archive.known_hash),
                ))
            except BROKEN as error:
                failures.append(f"{url}: {_reason(error)}")
                break
            except ValueError:
                # The partial file may be of another file; try the same mirror from byte 0.
                if not resumed:
                    failures.append(f"{url}: the file has another hash than {archive.known_hash}")
                    break
    raise RuntimeError(
        f"{visible(archive.name)} could not be downloaded.\n  "
        + "\n  ".join(failures)
        + (f"\n  {part.stat().st_size} bytes arrived; the same command continues there."
           if part.is_file() else "")
        + f"\nBy hand: {archive.by_hand.format(folder=shown(folder), **vars(archive))}"
    )


def _reason(error: Exception) -> str:
    """Return one line for a nested network exception."""
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

    The target appears only when complete; an existing target is left unchanged.

    Raises:
        LabelError: a name in the archive points outside it, it holds a link, it is damaged, or it
            has no folder ``inside``.
    """
    archive, target = Path(archive).expanduser(), Path(target).expanduser()
    if target.is_dir():
        return target
    read = _unzip if zipfile.is_zipfile(archive) else _untar
    with atomic_folder(target) as folder:
        members = read(archive, PurePosixPath(inside))
        for name, content in progress_bar(members, desc=f"unpack {archive.name}", unit=" files",
                                          disable=None if progress else True):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if not any(folder.iterdir()):
            raise LabelError(
                f"{shown(archive)} holds no folder {inside}. It is not the archive that its name "
                "says; delete it and download it again."
            )
    return target


def _untar(archive: Path, prefix: PurePosixPath) -> Iterator[tuple[str, bytes]]:
    """Yield name below ``prefix`` and content of each file."""
    with decoding(archive, FETCH_AGAIN), tarfile.open(archive) as tar:
        for member in tar:
            path = _below(member.name, prefix, archive)
            if not (member.isfile() or member.isdir()):
                raise LabelError(_refused(archive, member.name, "is a link or a device"))
            if path is not None and member.isfile():
                yield path, tar.extractfile(member).read()


def _unzip(archive: Path, prefix: PurePosixPath) -> Iterator[tuple[str, bytes]]:
    """Yield name below ``prefix`` and content of each file."""
    with decoding(archive, FETCH_AGAIN), zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            path = _below(member.filename, prefix, archive)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise LabelError(_refused(archive, member.filename, "is a link"))
            if path is not None and not member.is_dir():
                yield path, packed.read(member)


def _below(name: str, prefix: PurePosixPath, archive: Path) -> str | None:
    """Return a member's name below ``prefix``, or None; raise LabelError if it is unsafe."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise LabelError(_refused(archive, name, "points outside the folder"))
    return path.relative_to(prefix).as_posix() if path.is_relative_to(prefix) else None


def _refused(archive: Path, name: str, why: str) -> str:
    return (
        f"{shown(archive)} is refused: its member {name!r} {why}. No dataset needs that; delete "
        "the file and fetch it from its owner."
    )
