"""A folder of files with a manifest: their description, their inputs, and the SHA-256 of each.

The manifest is written last. A store is finished if its manifest says so, is intact and matches the
files; writing to an unfinished store may continue. Bytes are verified before use.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import semiseg_lib
from semiseg_lib.core.durable import (
    MAKE_AGAIN,
    Damaged,
    atomic_write,
    damaged,
    move,
    read_json,
    remove,
    sha256,
    sweep,
    write_json,
)
from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.digest import file_status

MANIFEST = "manifest.json"
ASIDE = ".damaged"  # suffix of a folder that was set aside
FORMAT = 1  # increase it whenever older manifests can no longer be read
LONGEST_VALUE = 60  # characters of a value in a message


class Stale(RuntimeError):
    """Error for a store that does not match what is requested.

    Args:
        message: what differs, and how to fix it.
        key: the first entry that differs, such as ``description.source``.
        stored, asked: its stored and requested value; None if absent.
    """

    def __init__(self, message: str, key: str = "", stored: Any = None, asked: Any = None) -> None:
        super().__init__(message)
        self.key, self.stored, self.asked = key, stored, asked


class Store:
    """A folder of files with a manifest.

    Reading writes nothing, so a read-only folder can have many readers. Only one process may write
    at a time: lock the folder (:func:`semiseg_lib.core.durable.locked`).

    Args:
        folder: holds the members and ``manifest.json``; it may hold other files.
        kind: the kind of store, such as ``logits``.
        description: everything that determines the content, JSON.
        parents: {input: its digest}.
        fix: a sentence that tells how to fix a damaged store; "" for a generic one.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        description: Mapping[str, Any],
        parents: Mapping[str, str] | None = None,
        fix: str = "",
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.fix = fix
        self.kind = kind
        self.description: dict[str, Any] = json.loads(json.dumps(dict(description)))
        self.parents = dict(parents or {})
        self._unsaved: dict[str, Any] | None = None
        self._known: tuple[tuple[int, ...], dict[str, Any]] | None = None

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Return the store in a folder, described by its own manifest.

        Raises:
            FileNotFoundError: there is no manifest.
            Damaged: the manifest is damaged.
        """
        path = Path(folder).expanduser() / MANIFEST
        manifest = _read_manifest(path)
        if manifest is None:
            raise FileNotFoundError(
                f"{shown(path)} is missing: the folder is not a store, or nothing was written yet."
            )
        return cls(folder, manifest["kind"], manifest["description"], manifest["parents"])

    @property
    def manifest_path(self) -> Path:
        """Return the path of the manifest."""
        return self.folder / MANIFEST

    @property
    def finished(self) -> bool:
        """Return whether the manifest is valid and finished, and every member has its size.

        The bytes of the members are checked by :meth:`read` and :meth:`verify` only.
        """
        try:
            manifest = self._stored(anew=True)
            return manifest is not None and manifest["finished"] and all(
                (self.folder / name).stat().st_size == entry["bytes"]
                for name, entry in manifest["members"].items()
            )
        except (Damaged, Stale, OSError):
            return False

    @property
    def members(self) -> Mapping[str, dict[str, Any]]:
        """Return the manifest entry of each member, ``sha256``, ``bytes``, extras of :meth:`put`.

        Raises:
            Damaged: the manifest is damaged.
            Stale: the store holds something else.
        """
        manifest = self._unsaved or self._stored()
        return MappingProxyType(manifest["members"] if manifest else {})

    @property
    def content(self) -> str:
        """Return the digest of the members that are not JSON, weights or labels but no metadata.

        Raises:
            Damaged, Stale: as for :attr:`members`.
        """
        hashes = {name: one["sha256"] for name, one in self.members.items()
                  if not name.endswith(".json")}
        return sha256(json.dumps(hashes, sort_keys=True).encode("ascii"))

    def put(self, name: str, content: bytes, save: bool = True, **extra: Any) -> None:
        """Write a member and then the manifest; the store becomes unfinished.

        Args:
            name: the member's path in the folder; it may contain slashes.
            content: its bytes.
            save: False defers the manifest to a later :meth:`save`. A crash before that loses the
                member.
            extra: further entries of the member in the manifest, JSON.

        Raises:
            ValueError: the name points outside the folder, or is the manifest's.
            Damaged: the manifest is damaged; see :meth:`set_aside`.
            Stale: the store holds something else.
        """
        path = member_path(self.folder, name)
        self._begin(name)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
        entry = {"sha256": sha256(content), "bytes": len(content), **extra}
        self._writable()["members"][name] = entry
        if save:
            self.save()

    def drop(self, name: str) -> None:
        """Remove a member, if it exists, from the manifest and then from the folder.

        Args:
            name: the member's path in the folder.

        Raises:
            Damaged, Stale: as for :meth:`put`.
        """
        path = member_path(self.folder, name)
        if self._writable()["members"].pop(name, None) is not None:
            self._writable()["finished"] = False
            self.save()
        remove(path)

    def save(self) -> None:
        """Write the manifest.

        Raises:
            Damaged, Stale: as for :meth:`put`.
        """
        write_json(self.manifest_path, self._writable())
        self.reload()

    def finish(self) -> None:
        """Mark the store as finished, and remove the leftovers of dead writers.

        Raises:
            Damaged: a member is missing or has another size, or the manifest is damaged.
            Stale: the store holds something else.
        """
        manifest = self._writable()
        for name, entry in manifest["members"].items():
            self._check_size(name, entry)
        folders = {member_path(self.folder, name).parent for name in manifest["members"]}
        for folder in {self.folder, *folders}:
            sweep(folder)
        manifest["finished"] = True
        self.save()

    def read(self, name: str) -> bytes:
        """Return the bytes of a member; check its size before reading, then its SHA-256.

        Args:
            name: the member's path in the folder.

        Raises:
            Damaged: the member or the manifest is missing or damaged.
            Stale: the store holds something else.
            OSError: it cannot be read, so that nothing is known of its bytes.
        """
        path = member_path(self.folder, name)
        entry = self.members.get(name)
        if entry is None:
            said = f"{visible(name)} is not among its members"
            raise damaged(self.manifest_path, said, self._fix)
        self._check_size(name, entry)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:  # removed meanwhile
            raise damaged(path, "it is missing", self._fix) from error
        if sha256(content) != entry["sha256"]:
            raise damaged(path, "its bytes do not have the SHA-256 of the manifest", self._fix)
        return content

    def holds(self, name: str) -> bool:
        """Return whether a member is present and intact.

        Args:
            name: the member's path in the folder.

        Raises:
            Damaged: the manifest is damaged.
            Stale: the store holds something else.
        """
        if name not in self.members:
            return False
        try:
            self.read(name)
        except Damaged:
            return False
        return True

    def annotate(self, **notes: Any) -> None:
        """Add notes to the manifest: JSON that does not affect whether the store matches.

        Raises:
            Damaged, Stale: as for :meth:`put`.
        """
        manifest = self._writable()
        manifest["notes"] = {**manifest.get("notes", {}), **notes}
        self.save()

    @property
    def notes(self) -> Mapping[str, Any]:
        """Return the notes added by :meth:`annotate`; empty without a manifest.

        Raises:
            Damaged, Stale: as for :attr:`members`.
        """
        manifest = self._stored()
        return MappingProxyType(manifest.get("notes", {}) if manifest else {})

    def verify(self) -> None:
        """Check every member.

        Raises:
            Damaged: a member is missing or damaged; the message names the first.
            Stale: the store holds something else.
        """
        manifest = self._stored(anew=True)
        for name in manifest["members"] if manifest else ():
            self.read(name)

    def set_aside(self) -> Path:
        """Rename the folder, so that the store can be recreated; return the new path."""
        number, target = 1, self.folder.with_name(f"{self.folder.name}{ASIDE}")
        while target.exists():
            number += 1
            target = self.folder.with_name(f"{self.folder.name}{ASIDE}-{number}")
        move(self.folder, target)
        self.reload()
        return target

    def delete(self) -> None:
        """Delete the folder; see :func:`delete_store`."""
        delete_store(self.folder)
        self.reload()

    def reload(self) -> None:
        """Discard unsaved changes, and read the manifest again when it is needed.

        For a process that starts writing after another one may have written.
        """
        self._unsaved = self._known = None

    @property
    def _fix(self) -> str:
        return self.fix or (
            f"Delete the folder {shown(self.folder)} and run the same command again to recreate "
            "it."
        )

    def _check_size(self, name: str, entry: Mapping[str, Any]) -> None:
        path = member_path(self.folder, name)
        try:
            size = path.stat().st_size if path.is_file() else None
        except FileNotFoundError:
            size = None
        if size is None:
            problem = "it is a folder" if path.is_dir() else "it is missing"
            raise damaged(path, problem, self._fix)
        if size != entry["bytes"]:
            raise damaged(path, f"it has {size} bytes, not {entry['bytes']}", self._fix)

    def _begin(self, name: str) -> None:
        """Mark the manifest unfinished before one of its members changes."""
        manifest = self._writable()
        if manifest["finished"]:
            manifest["finished"] = False
            manifest["members"].pop(name, None)
            self.save()

    def _writable(self) -> dict[str, Any]:
        """Return the manifest to be saved next."""
        if self._unsaved is None:
            self._unsaved = self._stored(anew=True) or {
                "format": FORMAT, "kind": self.kind, "description": self.description,
                "parents": self.parents, "finished": False, "members": {},
            }
            self._unsaved["code"] = semiseg_lib.__version__
        return self._unsaved

    def _stored(self, anew: bool = False) -> dict[str, Any] | None:
        """Return the manifest on disk, or None if there is none.

        It is cached, and read again only if ``anew`` or if the file was replaced.
        """
        status = status_of(self.manifest_path)
        if anew or self._known is None or self._known[0] != status:
            manifest = _read_manifest(self.manifest_path)
            if manifest is None:
                return None
            self._check_match(manifest)
            self._known = (status, manifest)
        return self._known[1]

    def _check_match(self, manifest: Mapping[str, Any]) -> None:
        """Raise Stale if a manifest belongs to another store."""
        for part in ("kind", "description", "parents"):
            stored, asked = _deciding(manifest[part]), _deciding(getattr(self, part))
            found = _first_difference(stored, asked, part)
            if found is not None:
                key, stored, asked = found
                raise Stale(
                    f"{shown(self.folder)} does not match what is requested: {key} is "
                    f"{_short(stored)}, not {_short(asked)}. {self._fix}", key, stored, asked,
                )


def member_path(folder: Path, name: str) -> Path:
    """Return the path of a member; raise ValueError if the name leads out of the folder."""
    path = PurePosixPath(name)
    leads_out = not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name
    if leads_out or name == MANIFEST or path.as_posix() != name:
        raise ValueError(f"{name!r} cannot be the name of a file in {shown(folder)}.")
    return folder / path


def delete_store(folder: Path) -> None:
    """Delete the folder of a store, manifest first, so that the rest never looks finished.

    If the folder is a symbolic link, only the link is deleted.
    """
    if folder.is_symlink():
        folder.unlink()
        return
    if (folder / MANIFEST).is_file():
        remove(folder / MANIFEST)
    shutil.rmtree(folder, ignore_errors=True)


def is_set_aside(folder: Path) -> bool:
    """Return whether a folder was renamed by :meth:`Store.set_aside`."""
    return ASIDE in folder.name


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """Return a manifest, or None if there is none.

    Raises:
        Damaged: it is damaged, or from a later version.
    """
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        return None
    if manifest.get("format") != FORMAT:
        raise damaged(
            path, f"its format is {manifest.get('format')}, but this version reads {FORMAT}",
            f"Update semiseg_lib, or: {MAKE_AGAIN}",
        )
    return manifest


def status_of(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written or replaced; () if it is missing."""
    with suppress(OSError):
        return file_status(path)
    return ()


def _deciding(part: Any) -> Any:
    """Return the entries that two stores must share: with an ``identity``, without its ``value``.

    The values of one identity may differ in options that do not affect the result, and in options
    added since that have their value ``before``.
    """
    if isinstance(part, dict) and "identity" in part:
        return {key: one for key, one in part.items() if key != "value"}
    return part


def _first_difference(stored: Any, asked: Any, key: str) -> tuple[str, Any, Any] | None:
    """Return the first entry that differs as (key path, stored, requested); None if none does."""
    if not (isinstance(stored, dict) and isinstance(asked, dict)):
        return None if stored == asked else (key, stored, asked)
    for name in {**asked, **stored}:
        found = _first_difference(stored.get(name), asked.get(name), f"{key}.{name}")
        if found is not None:
            return found
        if (name in stored) != (name in asked):
            return f"{key}.{name}", stored.get(name), asked.get(name)
    return None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE - 4]} ..."
