"""Inventory of the work folder: what is stored, in which state, and what can be removed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from semiseg_lib.core.durable import Damaged, leftovers, locked
from semiseg_lib.core.fingerprint import load
from semiseg_lib.core.paths import shared_roots, work_root, working_in
from semiseg_lib.experiments.identity import FOLDER_OF, KINDS, NAME, SCHEMA, Inputs
from semiseg_lib.experiments.lists import (
    LOST,
    compare_with_stored,
    has_lost_manifest,
    is_of_earlier_version,
)
from semiseg_lib.experiments.places import MADE_ANEW, other_sources, stored_lists
from semiseg_lib.experiments.trained import with_published_list
from semiseg_lib.experiments.values import Value
from semiseg_lib.stores.store import (
    ASIDE,
    MANIFEST,
    Store,
    delete_store,
    is_set_aside,
    status_of,
)
from semiseg_lib.training.run_folder import CONFIG, read_description

FOLDERS = tuple(dict.fromkeys(FOLDER_OF.values()))
State = Literal[
    "fresh", "unfinished", "stale", "orphaned", "damaged", "set aside", "earlier version",
    "left over", "unknown",
]
PRUNABLE: tuple[State, ...] = (
    "stale", "orphaned", "damaged", "set aside", "earlier version", "left over"
)
"""States of what can be removed; ``unknown`` may belong to data that are not here now."""
EARLIER = "it does not say what it was made from"
NAME_OR_ASIDE = re.compile(rf"{NAME}({re.escape(ASIDE)}(-[0-9]+)?)?")
"""The name of a result, or of one that was set aside."""
NAME_BEFORE = re.compile(r"(.+-)?[0-9a-f]{10}")
"""The name of a result of an earlier version."""


@dataclass(frozen=True)
class Item:
    """A stored result or file.

    Attributes:
        path: its folder or file.
        state: see :data:`State`.
        why: the reason for the state; "" if it needs none.
        size: bytes on disk.
        identity: the identity of its content; "" if that cannot be read.
        parents: the identities of what it was made from.
        stamp: changes when it is written again.
    """

    path: Path
    state: State
    why: str
    size: int
    identity: str = ""
    parents: tuple[str, ...] = ()
    stamp: tuple[int, ...] = ()


def inventory(root: Path | None = None) -> list[Item]:
    """Return everything stored in the work folder, read and checked.

    This includes the folders of ``semiseg study --anew``.

    Args:
        root: the folder that holds the datasets; None asks ``SEMISEG_DATA``.
    """
    inputs = cache(Inputs)  # the images of one folder are opened once
    roots = [work_root(), *sorted((work_root() / "anew").glob("*/"))]
    begun_anew, items = work_root() / MADE_ANEW, []
    for stored in roots:
        alone = stored not in (work_root(), begun_anew)
        with working_in(stored) if alone else nullcontext():
            items += [_item(path, [inputs(one) for one in _roots_of(path, root)])
                      for path in _stored_folders(stored)]
    items = [replace(item, state="left over", why="--no-resume was interrupted")
             if item.state == "unfinished" and begun_anew in item.path.parents else item
             for item in items]
    with suppress(OSError):  # a shared folder that is not mounted or not readable
        for root in shared_roots():
            root.stat()
        there = _names_of_identities([*roots, *shared_roots()])
        needed = {parent for item in items for parent in item.parents
                  if item.state in ("fresh", "unfinished")}
        items = [_orphaned(item, there, needed) for item in items]
    return [*items, *(_seen(path, "left over", "a writer that died")
                      for path in leftovers_in(work_root()))]


def prunable(items: Sequence[Item]) -> list[Item]:
    """Return what can be removed: no command would use it as it is, or its source is gone.

    The content of a returned folder is not returned again.
    """
    found = [item for item in items if item.state in PRUNABLE]
    folders = {item.path for item in found}
    return [item for item in found if folders.isdisjoint(item.path.parents)]


def remove(item: Item) -> bool:
    """Remove a stored item; wait for a process that works on it.

    Returns:
        False if it was written again meanwhile: then it is kept.
    """
    with locked(item.path):
        if status_of(item.path) != item.stamp:
            return False
        if item.path.is_dir():
            delete_store(item.path)
        else:
            item.path.unlink(missing_ok=True)
    return True


def leftovers_in(root: Path) -> Iterator[Path]:
    """Yield the files that killed writers left below a folder."""
    for folder, *_ in os.walk(root):
        yield from leftovers(Path(folder))


def _roots_of(path: Path, root: Path | None) -> list[Path | None]:
    """Return the folders that may hold the images of a stored result.

    First ``root``; then the folder that the result names, so that runs on datasets elsewhere, which
    may not be mounted now, are not reported as stale.
    """
    with suppress(Damaged, OSError, KeyError):
        folder = stored_lists(path)["lies in"]
        if folder:
            return list(dict.fromkeys([root, Path(folder)]))
    return [root]


def _names_of_identities(roots: Sequence[Path]) -> set[str]:
    """Return the first ten digits of the identity of each result, in any state."""
    found = [NAME_OR_ASIDE.fullmatch(path.name) for root in roots for path in _stored_folders(root)
             if not is_set_aside(path)]
    return {name[1] for name in found if name is not None}


def _stored_folders(root: Path) -> Iterator[Path]:
    for kind in FOLDERS:
        folder = root / kind
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir() and not path.name.startswith("."):
                yield path


def _item(path: Path, candidates: Sequence[Inputs]) -> Item:
    """Return the item at a path, judged on the images that it would be used with.

    An item that is valid for one of the candidates is needed there. If it is valid for none, the
    last one, which the result itself names, gives the reason.
    """
    if _is_of_earlier_version(path):
        return _seen(path, "earlier version", EARLIER)
    if NAME_OR_ASIDE.fullmatch(path.name) is None:
        return _seen(path, "unknown", "it is not a result of this library")
    if is_set_aside(path):
        return _seen(path, "set aside", "it was damaged")
    try:
        description, parents, finished = _described(path)
    except Damaged as error:
        later = "Update semiseg_lib" in str(error)
        return _seen(path, "unknown" if later else "damaged", error.problem)
    except FileNotFoundError:
        return _seen(path, "left over", "it has no description")
    except OSError as error:
        return _seen(path, "unknown", f"it cannot be read ({error.strerror or error})")
    for inputs in candidates:
        state, why = _state(description, finished, inputs, path)
        if state in ("fresh", "unfinished"):
            break
    identity = description.get("identity", "")
    return replace(_seen(path, state, why), identity=identity, parents=tuple(parents.values()))


def _is_of_earlier_version(path: Path) -> bool:
    """Return whether a result is of an earlier version, which did not store its inputs."""
    if NAME_BEFORE.fullmatch(path.name) is None:
        return False
    labels = any(path.glob("index.json")) or any(path.glob("train_pseudoIt*/index.json"))
    return labels or is_of_earlier_version(path)


def _seen(path: Path, state: State, why: str) -> Item:
    """Return the item at a path, as it is now."""
    return Item(path, state, why, _size(path), stamp=status_of(path))


def _described(path: Path) -> tuple[dict[str, Any], dict[str, str], bool]:
    """Return the description in a folder, its parents' identities, and whether it is finished.

    Raises:
        Damaged: a file is not what was written.
        FileNotFoundError: there is no description.
        OSError: it cannot be read.
    """
    if (path / MANIFEST).exists():
        store = Store.open(path)
        store.verify()
        return store.description, store.parents, store.finished
    description = read_description(path / CONFIG)
    return description, description.get("inputs", {}).get("parents", {}), False


def _state(
    description: dict[str, Any], finished: bool, inputs: Inputs, path: Path
) -> tuple[State, str]:
    """Return the state of a stored result, and the reason."""
    schema = description.get("schema", 0)
    if schema != SCHEMA:
        state = "unknown" if schema > SCHEMA else "earlier version"
        return state, f"its schema is {schema}; this version reads {SCHEMA}"
    try:
        value = _value(description, path)
        identity = inputs.identity(value)
    except FileNotFoundError as error:
        return "unknown", f"its data are not here: {error}"
    except (ValueError, RuntimeError, OSError) as error:
        return "unknown", str(error)
    if identity.digest == description["identity"]:
        if has_lost_manifest(path):
            return "damaged", f"it {LOST}"
        if not finished:
            return "unfinished", "the same command continues it"
        said = other_sources(inputs, identity, path)
        return ("stale", said) if said else ("fresh", "")
    return "stale", compare_with_stored(description, path, identity, inputs)


def _value(description: dict[str, Any], path: Path) -> Value:
    kinds = {name: kind for kind, name in KINDS.items()}
    if description.get("kind") not in kinds:
        raise ValueError(f"its kind is {description.get('kind')!r}, unknown to this version")
    options = with_published_list(description["value"], path)
    return load(kinds[description["kind"]], options, path)


def _orphaned(item: Item, there: set[str], needed: set[str]) -> Item:
    """Return the item, as orphaned if its source is gone and nothing was made from it."""
    gone = [one for one in item.parents if one[:10] not in there]
    in_runs = item.path.parent.name == "runs"
    if item.state != "fresh" or not gone or in_runs or item.identity in needed:
        return item
    return replace(item, state="orphaned", why="what it was made from is gone")


def _size(path: Path) -> int:
    inside = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    statuses = map(status_of, inside if path.is_dir() else [path])
    return sum(status[0] for status in statuses if status)
