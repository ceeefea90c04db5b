"""Where a value lies on disk, and the bytes of what it was made from."""

from __future__ import annotations

from pathlib import Path

from semiseg_lib.durable import Damaged
from semiseg_lib.experiments.identity import FOLDER_OF, Identity, Inputs
from semiseg_lib.experiments.values import Value
from semiseg_lib.fingerprint import digest
from semiseg_lib.paths import shared_roots, shown, work_root
from semiseg_lib.stores.store import MANIFEST, Stale, Store


def places(identity: Identity) -> list[Path]:
    """Return the folders in which a value may lie: in the work folder, then in shared ones."""
    below = Path(FOLDER_OF[type(identity.value)]) / identity.name
    return [root / below for root in (work_root(), *shared_roots())]


def own_place(identity: Identity) -> Path:
    """Return the folder of a value in the work folder."""
    return places(identity)[0]


def place(identity: Identity) -> Path:
    """Return the folder in which a value lies; its own one where it lies in none."""
    return next((path for path in places(identity) if (path / MANIFEST).exists()),
                own_place(identity))


def sources(inputs: Inputs, value: Value) -> dict[str, str]:
    """Return the digest of the bytes of everything that a value builds on; "" for what is gone."""
    return {name: _digest_of_bytes(place(inputs.identity(one)))
            for name, one in value.parents().items()}


def other_sources(inputs: Inputs, identity: Identity, store: Store) -> str:
    """Say what a store was made from has other bytes now; "" for none.

    A run that is trained anew keeps its identity, but not always its weights: after a change to the
    code, or on another machine.
    """
    try:
        recorded = store.notes.get("sources", {})
    except (Damaged, Stale):
        return ""
    others = [name for name, now in sources(inputs, identity.value).items()
              if now and recorded.get(name, now) != now]
    if not others:
        return ""
    return (f"{shown(store.folder)} was made from {' and '.join(others)} with other bytes than "
            "those that are there now.")


def _digest_of_bytes(folder: Path) -> str:
    """Return the digest of a store's weights or labels; "" where it is not there."""
    try:
        members = Store.open(folder).members
    except (FileNotFoundError, Damaged):
        return ""
    return digest({name: one["sha256"] for name, one in members.items()
                   if not name.endswith(".json")})
