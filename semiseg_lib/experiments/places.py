"""The folders of a value on disk, and the bytes of what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semiseg_lib.core.durable import Damaged, move, read_json
from semiseg_lib.core.paths import shared_roots, shown, work_root
from semiseg_lib.experiments.identity import FOLDER_OF, Identity, Inputs
from semiseg_lib.experiments.values import Value
from semiseg_lib.stores.store import Store, delete_store
from semiseg_lib.training.run_folder import LISTS, RECORD, RunFolder

MADE_ANEW = "anew/no-resume"
"""The folder below the work folder for values that are being made anew."""


def places(identity: Identity) -> list[Path]:
    """Return the folders that may hold a value: in the work folder, then in shared ones."""
    below = Path(FOLDER_OF[type(identity.value)]) / identity.name
    return [root / below for root in (work_root(), *shared_roots())]


def own_place(identity: Identity) -> Path:
    """Return the folder of a value in the work folder."""
    return places(identity)[0]


def place_anew(identity: Identity) -> Path:
    """Return the folder in which a value is made anew; the one before it stays until then."""
    return work_root() / MADE_ANEW / FOLDER_OF[type(identity.value)] / identity.name


def install(identity: Identity) -> None:
    """Put a value that was made anew, if it is finished, into its own place.

    The caller has locked that place. A command that is killed in between is carried on by the next
    one that asks for the value.
    """
    if digest_of_bytes(place_anew(identity)):
        delete_store(own_place(identity))
        move(place_anew(identity), own_place(identity))


def place(identity: Identity) -> Path:
    """Return the folder that holds the finished value; its own folder if there is none."""
    return next((path for path in places(identity) if digest_of_bytes(path)), own_place(identity))


def stored_lists(folder: Path) -> Mapping[str, Any]:
    """Return the stored lists of a result's inputs; see ``lists.lists_of``.

    Raises:
        FileNotFoundError, KeyError: nothing is stored.
        Damaged: it is not what was written.
    """
    if (folder / LISTS).is_file():
        return read_json(folder / LISTS)
    return Store.open(folder).notes["lists"]


def stored_states(folder: Path) -> list[dict[str, Any]]:
    """Return the states of machine and code that made a result; [] if it does not say.

    Raises:
        OSError, Damaged: it cannot be read.
    """
    if (folder / RECORD).is_file():
        return RunFolder.open(folder).read_record()["made with"]
    return Store.open(folder).notes.get("made with", [])


def sources_of(parts: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of the bytes of everything a result depends on, as they were read.

    The keys are paths of parents: ``unlabelled logits``, ``unlabelled logits / run``. The sources
    of a part are those in its own record.

    Args:
        parts: what the result builds on, opened, by the names of ``parents()``.
    """
    found = {}
    for name, part in parts.items():
        in_run = isinstance(part.folder, RunFolder)
        folder = part.folder.path if in_run else part.folder
        found[name] = part.stored if in_run else digest_of_bytes(folder)
        found |= {f"{name} / {inner}": one for inner, one in _recorded_sources(folder).items()}
    return found


def other_sources(inputs: Inputs, identity: Identity, folder: Path) -> str:
    """Return which sources of a result have other bytes now; "" for none.

    A run that is trained anew keeps its identity, but not always its weights: after a change to the
    code, or on another machine. A source that is gone does not invalidate the result.
    """
    recorded = _recorded_sources(folder)
    others = [name for name, now in _present(inputs, identity.value).items()
              if now and recorded.get(name) != now]
    if not others:
        return ""
    return (f"{shown(folder)} was made from {' and '.join(others)} with other bytes than those "
            "that are there now.")


def _present(inputs: Inputs, value: Value) -> dict[str, str]:
    """Return the digest of the bytes of each present source of a value, by its path."""
    found = {}
    for name, one in value.parents().items():
        found[name] = digest_of_bytes(place(inputs.identity(one)))
        found |= {f"{name} / {inner}": now for inner, now in _present(inputs, one).items()}
    return found


def _recorded_sources(folder: Path) -> Mapping[str, str]:
    """Return the digests of a result's sources from its record; {} if it cannot be read."""
    try:
        return stored_lists(folder).get("sources", {})
    except (OSError, KeyError, Damaged):
        return {}


def digest_of_bytes(folder: Path) -> str:
    """Return the digest of a finished store's weights or labels; "" if there is none."""
    try:
        store = Store.open(folder)
        return store.content if store.finished else ""
    except (OSError, Damaged):
        return ""
