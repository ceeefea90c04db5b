"""The records of a study: small JSON files that the chapters draw their tables from.

A stored row is of one of three kinds:

- *current*: its ``config`` is the fingerprint of today's arm;
- *legacy*: it has a key ``legacy``, the commit whose code made it, and the study still has an arm
  of its name. Nothing makes it again, and no run alters it;
- neither: it is left out.

One read serves rows of one kind only, so that no table or interval mixes two versions of the code.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from semiseg_lib.durable import atomic_write, held
from semiseg_lib.launch import Machine
from semiseg_lib.paths import CHECKOUT
from semiseg_lib.profiles import Profile
from semiseg_lib.studies.catalogue import STUDIES
from semiseg_lib.studies.scores import run_arm

SIGN = "†"
"""What stands behind the name of a legacy row."""


@dataclass(frozen=True)
class Records:
    """The scores of one study, all current or all legacy.

    Attributes:
        rows: one dict for each arm and seed: ``arm``, ``seed``, ``config`` and the scores.
        profile: the profile that made them.
        machine: where the last stored row was made: processor, threads, versions.
        legacy: the commits that made legacy rows, sorted; () for current rows.
        left_out: how many stored rows are neither current nor legacy.
    """

    rows: list[dict]
    profile: str
    machine: dict[str, str]
    legacy: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def sign(self) -> str:
        """What a row's name ends with: `` †`` for legacy rows, else nothing."""
        return f" {SIGN}" if self.legacy else ""

    @property
    def mark(self) -> str:
        """What to show under a table of these rows; "" for current rows."""
        return mark_of(self.legacy)

    def scores(self, arm: str, score: str = "test") -> list[float]:
        """One score of an arm in percent, seeds ascending."""
        rows = sorted((r for r in self.rows if r["arm"] == arm), key=lambda r: r["seed"])
        return [row[score] for row in rows if score in row]

    def seeds(self, arm: str) -> list[int]:
        """The seeds of an arm, ascending."""
        return sorted(row["seed"] for row in self.rows if row["arm"] == arm)


def run(
    name: str,
    profile: Profile,
    seeds: tuple[int, ...] | None = None,
    machine: Machine | str | None = None,
    only: tuple[str, ...] = (),
) -> Records:
    """Run what a study's records still lack, and store them after each arm.

    Legacy rows count for nothing here: their arms are run again, the new rows are stored beside
    them, and the current rows alone are returned.

    Args:
        name: the study.
        profile: the numbers.
        seeds: None takes the profile's.
        machine: what to compute on.
        only: names of arms; none given: all.

    Raises:
        KeyError: there is no such study.
        ValueError: it has no arm of a name in ``only``.
    """
    arms, path = STUDIES[name], record_path(name, profile.name)
    if unknown := [arm for arm in only if arm not in arms]:
        raise ValueError(f"{name!r} has no arm {unknown[0]!r}; it has {', '.join(arms)}.")
    rows = _current(_stored(path).rows, name, profile)
    for seed in seeds or profile.seeds:
        for arm_name, arm in arms.items():
            if only and arm_name not in only:
                continue
            if any(r["arm"] == arm_name and r["seed"] == seed for r in rows):
                continue
            scores = run_arm(arm, profile, seed, machine)
            config = arm.fingerprint(profile)
            with held(path):
                stored = _stored(path).rows  # read again: another study may run beside
                rows = [row for row in _current(stored, name, profile)
                        if (row["arm"], row["seed"]) != (arm_name, seed)]
                rows.append({"arm": arm_name, "seed": seed, "config": config, **scores})
                kept = [row for row in stored if "legacy" in row]
                _store(path, Records([*kept, *rows], profile.name, this_machine()))
    return current(name, profile)


def read(name: str, profile: Profile) -> Records:
    """Read a study's records: its current rows or its legacy rows, never both.

    Current rows are served once they cover the legacy ones: every arm that has legacy rows, with
    at least their seeds. Until then, the legacy rows are. Rows that are neither are left out.

    Raises:
        FileNotFoundError: nothing is stored yet, or only what other settings gave.
    """
    stored = _stored(record_path(name, profile.name))
    fresh, old = _current(stored.rows, name, profile), _legacy(stored.rows, name)
    return _served(fresh if _covers(fresh, old) else old, stored, name, profile)


def current(name: str, profile: Profile) -> Records:
    """Read a study's current rows, whether or not legacy rows are stored beside them.

    Raises:
        FileNotFoundError: no current row is stored.
    """
    stored = _stored(record_path(name, profile.name))
    return _served(_current(stored.rows, name, profile), stored, name, profile)


def read_together(names: Iterable[str], profile: Profile) -> dict[str, Records]:
    """Read several studies for one table: all current or all legacy.

    Where :func:`read` would serve legacy rows for one of them, it is the legacy rows of all that
    are served. Studies that have no such rows are left out.

    Raises:
        FileNotFoundError: none of them has any.
    """
    found, missing = {}, None
    for name in names:
        try:
            found[name] = read(name, profile)
        except FileNotFoundError as error:
            missing = missing or error
    if missing and not found:
        raise missing
    if not any(records.legacy for records in found.values()):
        return found
    together = {}
    for name in found:
        stored = _stored(record_path(name, profile.name))
        if old := _legacy(stored.rows, name):
            together[name] = _served(old, stored, name, profile)
    return together


def mark_of(commits: Collection[str]) -> str:
    """What to show under a table with legacy rows of these commits; "" for none."""
    if not commits:
        return ""
    return (f"{SIGN} legacy rows, made by commit{'s' * (len(commits) > 1)} "
            f"{', '.join(sorted(commits))}: numbers of code before this version, never in one "
            "interval with new ones.")


def commits_of(rows: Iterable[dict]) -> tuple[str, ...]:
    """The commits that made the legacy rows among these, sorted."""
    return tuple(sorted({row["legacy"] for row in rows if "legacy" in row}))


def _served(rows: list[dict], stored: Records, name: str, profile: Profile) -> Records:
    """Rows of one kind as records.

    Raises:
        FileNotFoundError: there are none.
    """
    path = record_path(name, profile.name)
    mend = f"Make it: semiseg study {name!r} --profile {profile.name}"
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is not there yet. {mend}")
    if stored.rows and not rows:
        raise FileNotFoundError(f"{path.name} was made with other settings than now. {mend}")
    known = len(_current(stored.rows, name, profile)) + len(_legacy(stored.rows, name))
    return Records(rows, stored.profile, stored.machine, commits_of(rows),
                   len(stored.rows) - known)


def _current(rows: Sequence[dict], name: str, profile: Profile) -> list[dict]:
    """The rows that today's arms would give again."""
    fingerprints = {arm: recipe.fingerprint(profile) for arm, recipe in STUDIES[name].items()}
    return [row for row in rows
            if "legacy" not in row and fingerprints.get(row["arm"]) == row["config"]]


def _legacy(rows: Sequence[dict], name: str) -> list[dict]:
    """The rows of earlier code whose arms the study still has."""
    return [row for row in rows if "legacy" in row and row["arm"] in STUDIES[name]]


def _covers(fresh: Sequence[dict], old: Sequence[dict]) -> bool:
    """Whether the current rows hold every arm and seed of the legacy ones."""
    pairs = [{(row["arm"], row["seed"]) for row in rows} for rows in (fresh, old)]
    return pairs[0] >= pairs[1]


def _stored(path: Path) -> Records:
    """Everything that a file holds, of every kind; no rows where there is no file."""
    if not path.is_file():
        return Records([], "", {})
    content = json.loads(path.read_text(encoding="utf-8"))
    return Records(content["rows"], content["profile"], content["machine"])


def dataset_of(name: str) -> str:
    """The dataset whose profile a study runs with."""
    first = next(iter(STUDIES[name].values()))
    return first.dataset


def record_path(name: str, profile: str) -> Path:
    """Where a study's records lie."""
    return CHECKOUT / "notebooks" / "records" / f"{name.replace(' ', '_')}-{profile}.json"


def this_machine() -> dict[str, str]:
    """What a reader needs to know about the machine behind a number."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": platform.machine(), "gpu": gpu, "threads": str(torch.get_num_threads()),
        "torch": torch.__version__, "semiseg_lib": version("semiseg_lib"),
    }


def _store(path: Path, records: Records) -> None:
    with atomic_write(path) as temporary:
        content = {key: getattr(records, key) for key in ("rows", "profile", "machine")}
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
