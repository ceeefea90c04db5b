"""The records of a study: small JSON files that the chapters read their tables from.

Every row says what made it: the fingerprint of its arm's options, whose description stands in the
same file, the identity of the run and the digests of the images, commit, date and the state of the
machine. It also has the digest of all data that its arm draws from (``data``: whole lists, so it is
the same for every seed and number of labelled images), those of all arms of the study at that time
(``data of all arms``), and the files of encoder weights with the arms that started with them
(``weights``). A stored row is of one of three kinds:

- *current*: its ``config`` is the fingerprint of today's arm;
- *legacy*: made by the code of the commit that it names, before rows said all of this. Nothing
  makes it again, and no run alters it: the legacy rows of a file are sealed by a hash of their own;
- neither: it stays in the file but is left out, and reading says how many there are and why.

One read serves rows of one kind only, so that no table or interval mixes legacy and current rows.
Current rows may come from several versions of the code, as when seeds are added later, or states of
the machine: they are served together, and the mark says how many came from which.
Of the current rows it serves those that were made from the data and encoder weights that the newest
row has seen, and scored on the test images of the newest row of the same data: arms in two worlds
have two test sets. Rows of others are left out but stay in the file, under keys of their own, and
so do rows that do not say what data or weights they come from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from semiseg_lib.core.durable import Damaged, locked, read_json, write_json
from semiseg_lib.core.fingerprint import dump, fingerprint
from semiseg_lib.core.paths import in_checkout, shown, work_root
from semiseg_lib.core.provenance import code_version, is_tracked
from semiseg_lib.datasets.frozen_files import freeze_files
from semiseg_lib.experiments import Machine
from semiseg_lib.experiments.machine import AnyMachine
from semiseg_lib.recipes import Profile
from semiseg_lib.studies import marks
from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.catalogue import STUDIES
from semiseg_lib.studies.marks import Files
from semiseg_lib.studies.origins import (
    data_here,
    files_read,
    is_of_these_images,
    of_newest_data,
    of_newest_weights,
    origin_of,
    weights_by_arm,
)
from semiseg_lib.studies.rows import Records

MEASURED = Path(__file__).parent / "measured"
"""The records that come with the package."""
FORMAT = 2
"""Version of the files; increased when older ones can no longer be read."""
OTHER_SETTINGS = "made with other settings than today's"
NO_ARM = "of arms that the study no longer has"
OTHER_IMAGES = "made from other images than the newest row"
OTHER_WEIGHTS = "started with other encoder weights than the newest row"
OTHER_TEST = "scored on other test images than the newest row"
NOT_YET = "made by today's code, which do not cover the legacy rows yet"
FROM_VERSION_CONTROL = "Take the file from the version control again."
MAKE_AGAIN = "Delete it and make it again with `{}`."


@dataclass
class _File:
    """Content of a file: rows, the description of each arm's options, and sealed legacy rows."""

    profile: str = ""
    rows: list[dict] = field(default_factory=list)
    recipes: dict[str, Any] = field(default_factory=dict)
    legacy: list[dict] = field(default_factory=list)
    legacy_machine: dict[str, str] = field(default_factory=dict)


def run(
    name: str,
    profile: Profile,
    seeds: tuple[int, ...] | None = None,
    machine: AnyMachine = None,
    only: tuple[str, ...] = (),
    anew: bool = False,
    path: Path | None = None,
) -> Records:
    """Run the arms and seeds missing in a study's records; store them after each arm.

    A row of other data or weights than the present ones counts as missing. The new row is stored
    beside it, and a training whose inputs did not change is loaded. Legacy rows count as missing,
    too: their arms are run again, the new rows are stored beside them, and only current rows are
    returned.

    Args:
        name: the study.
        profile: the profile to run with.
        seeds: the seeds; None for those of each arm.
        machine: the machine to compute on.
        only: names of arms; () for all.
        anew: measure stored rows again.
        path: the file of the records; None for :func:`record_path`.

    Raises:
        KeyError: ``name`` is not a study.
        ValueError: a name in ``only`` is not an arm of it.
        Damaged: the stored records are not what was written.
    """
    arms, path = STUDIES[name], path or record_path(name, profile.name)
    if unknown := [arm for arm in only if arm not in arms]:
        raise ValueError(f"{unknown[0]!r} is not an arm of {name!r}; it has {', '.join(arms)}.")
    machine = Machine.of(machine)
    done = {(row["arm"], row["seed"]): row for row in _current(_stored(path), name, profile)}
    here = data_here(arms, profile, machine) if done else {}
    wanted = {name: arm for name, arm in arms.items() if not only or name in only}
    of_arms = {name: seeds or arm.seeds_in(profile) for name, arm in wanted.items()}
    for seed in sorted({seed for some in of_arms.values() for seed in some}):
        for arm_name, arm in wanted.items():
            if seed not in of_arms[arm_name]:
                continue
            row = done.get((arm_name, seed))
            if row and not anew and is_of_these_images(row, arm, profile, machine, here):
                continue
            _store_row(path, name, profile, _row(arm_name, arms, profile, seed, machine))
    stored = _stored(path)
    return _served(_current(stored, name, profile), stored, name, profile)


def read(name: str, profile: Profile) -> Records:
    """Return a study's records: its current rows or its legacy rows, never both.

    Current rows are returned once they cover the legacy ones: every arm that has legacy rows, with
    at least their seeds. Until then, the legacy rows are. Rows that are neither are left out.

    Args:
        name: the study.
        profile: the profile that made the records.

    Raises:
        KeyError: there is no such study.
        FileNotFoundError: nothing is stored yet, or only rows of other settings.
        Damaged: the file is not what was written.
    """
    stored = _stored(record_path(name, profile.name))
    fresh, old = _current(stored, name, profile), _legacy(stored, name)
    return _served(fresh if _covers(fresh, old) else old, stored, name, profile)


def current(name: str, profile: Profile) -> Records:
    """Return a study's current rows, whether or not legacy rows are stored beside them.

    Args:
        name: the study.
        profile: the profile that made the records.

    Raises:
        FileNotFoundError: no current row is stored.
        Damaged: the file is not what was written.
    """
    stored = _stored(record_path(name, profile.name))
    return _served(_current(stored, name, profile), stored, name, profile)


def read_together(names: Iterable[str], profile: Profile) -> dict[str, Records]:
    """Return the records of several studies for one table: all current or all legacy.

    If :func:`read` would return legacy rows for one of them, the legacy rows of all are returned.
    Studies without such rows are left out.

    Args:
        names: the studies.
        profile: the profile that made the records.

    Raises:
        FileNotFoundError: none of them has rows.
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
        return _with_other_files(found, profile)
    together = {}
    for name in found:
        stored = _stored(record_path(name, profile.name))
        if old := _legacy(stored, name):
            together[name] = _served(old, stored, name, profile)
    return together


def files_of(rows: Iterable[Mapping[str, Any]], name: str, profile: Profile) -> dict[int, Files]:
    """Return the files behind rows of one arm, by seed; legacy rows say nothing.

    Args:
        rows: rows of one arm.
        name, profile: the study, and the profile of its records.
    """
    current = [row for row in rows if "legacy" not in row]
    if not current:
        return {}
    read = files_read(current, STUDIES[name][current[0]["arm"]], profile)
    return {row["seed"]: Files(row["images"]["test"], one)
            for row, one in zip(current, read, strict=True)}


def _with_other_files(found: Mapping[str, Records], profile: Profile) -> dict[str, Records]:
    """Return records that say which others read what they read, when files of it were others."""
    read: dict[str, list[Files]] = {}
    for name, records in found.items():
        of_arms = [files_of((row for row in records.rows if row["arm"] == arm), name, profile)
                   for arm in dict.fromkeys(row["arm"] for row in records.rows)]
        read[name] = [one for files in of_arms for one in files.values()]
    return {name: replace(records, of_other_files=tuple(
        other for other in found
        if any(one.changed(two) for one in read[name] for two in read[other])
    )) for name, records in found.items()}


def legacy_hash(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of legacy rows, which must never change, in any file."""
    text = json.dumps(list(rows), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def dataset_of(name: str) -> str:
    """Return the name of the dataset whose profile a study uses."""
    return next(arm.dataset for arm in STUDIES[name].values())


def record_path(name: str, profile: str) -> Path:
    """Return the path of a study's records: the package's file, until others are made outside it.

    In the book's checkout the package's own file is written. A library installed from a wheel
    writes to the work folder, and reads there first.

    Args:
        name: the study.
        profile: the name of the profile.
    """
    file = f"{name.replace(' ', '_')}-{profile}.json"
    return MEASURED / file if in_checkout() else work_root() / "records" / file


def read_costs(path: Path) -> dict[str, Any]:
    """Read the measured costs of a step of each method, as ``benchmarks/methods.py`` stores them.

    Args:
        path: the file, :func:`record_path` of ``cost``; until it is there, the package's is read.

    Raises:
        FileNotFoundError: nothing is stored yet.
        Damaged: the file is not what was written.
    """
    return _content(_there(Path(path).expanduser()), "python benchmarks/methods.py")


def _row(
    arm_name: str, arms: Mapping[str, Arm], profile: Profile, seed: int, machine: Machine
) -> dict[str, Any]:
    """Run an arm with one seed and return its row."""
    arm = arms[arm_name]
    with freeze_files():
        before = origin_of(arm_name, arms, profile, seed, machine)
        scores = arm.run(profile, seed, machine)
        now = origin_of(arm_name, arms, profile, seed, machine)
    if now != before:
        changed = [key for key, one in now["images"].items() if before["images"].get(key) != one]
        changed += ["encoder weights"] * (now["weights"] != before["weights"])
        raise ValueError(
            f"the {' and '.join(changed) or 'data'} of {arm_name!r} changed while it ran. "
            "Nothing was stored; run the same command again."
        )
    return {
        "arm": arm_name, "seed": seed, "config": arm.fingerprint(profile), **scores, **before,
        "commit": code_version(), "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _store_row(path: Path, name: str, profile: Profile, row: dict[str, Any]) -> None:
    """Append a row to a file; it replaces the one with the same key, if any."""
    with locked(path, beside=True):  # processes with other work folders may share the records
        stored = _stored(path)  # read again: another study may run at the same time
        stored.rows = [*(one for one in stored.rows if _key(one) != _key(row)), row]
        stored.recipes[row["config"]] = dump(STUDIES[name][row["arm"]].options(profile))
        stored.profile = profile.name
        _store(path, stored)


def _served(rows: list[dict], stored: _File, name: str, profile: Profile) -> Records:
    """Return rows of one kind as :class:`Records`.

    Raises:
        FileNotFoundError: there are none.
    """
    path = record_path(name, profile.name)
    fix = f"Make it: semiseg study {name!r} --profile {profile.name}"
    if not stored.rows and not stored.legacy:
        raise FileNotFoundError(f"{path.name} is not there yet. {fix}")
    if not rows:
        raise FileNotFoundError(f"{path.name} was made with other settings than now. {fix}")
    left_out = _left_out(stored, name, profile)
    if (commits := marks.commits_of(rows)) and (fresh := _current(stored, name, profile)):
        left_out[NOT_YET] = len(fresh)
    return Records(rows, stored.profile, commits, left_out)


def _left_out(stored: _File, name: str, profile: Profile) -> dict[str, int]:
    """Return the number of rows that are neither current nor legacy, by reason."""
    arms = STUDIES[name]
    matching = _matching(stored, name, profile)
    of_data = of_newest_data(matching)
    of_weights = of_newest_weights(of_data)
    gone = [row for row in (*stored.rows, *stored.legacy) if row["arm"] not in arms]
    counts = {
        NO_ARM: len(gone),
        OTHER_SETTINGS: sum(row["arm"] in arms for row in stored.rows) - len(matching),
        OTHER_IMAGES: len(matching) - len(of_data),
        OTHER_WEIGHTS: len(of_data) - len(of_weights),
        OTHER_TEST: len(of_weights) - len(_current(stored, name, profile)),
    }
    return {why: count for why, count in counts.items() if count}


def _matching(stored: _File, name: str, profile: Profile) -> list[dict]:
    """Return the rows with the options of today's arms."""
    fingerprints = {arm: recipe.fingerprint(profile) for arm, recipe in STUDIES[name].items()}
    return [row for row in stored.rows if fingerprints.get(row["arm"]) == row["config"]]


def _current(stored: _File, name: str, profile: Profile) -> list[dict]:
    """Return the rows of today's arms, of one state of data and weights, and one test set each."""
    rows = of_newest_weights(of_newest_data(_matching(stored, name, profile)))
    newest = {row["data"]: row["images"]["test"] for row in rows}
    return [row for row in rows if row["images"]["test"] == newest[row["data"]]]


def _legacy(stored: _File, name: str) -> list[dict]:
    """Return the legacy rows whose arms the study still has."""
    return [row for row in stored.legacy if row["arm"] in STUDIES[name]]


def _covers(fresh: Sequence[dict], old: Sequence[dict]) -> bool:
    """Return whether the current rows hold every arm and seed of the legacy ones."""
    pairs = [{(row["arm"], row["seed"]) for row in rows} for rows in (fresh, old)]
    return pairs[0] >= pairs[1]


def _stored(path: Path) -> _File:
    """Return the content of a file; an empty one if there is no file.

    Raises:
        Damaged: the file or its legacy rows are not what was written.
    """
    path = _there(path)
    if not path.is_file():
        return _File()
    content = _content(path)
    if content.get("format") != FORMAT:
        raise Damaged(
            f"{shown(path)} has format {content.get('format')}, but this version reads {FORMAT}.",
            _fix(path),
        )
    legacy = content["legacy"]
    if legacy_hash(legacy["rows"]) != legacy["hash"]:
        raise Damaged(
            f"the legacy rows of {shown(path)} are not those that were sealed.", _fix(path)
        )
    rows = list(content["rows"].values())
    return _File(content["profile"], rows, content["recipes"], legacy["rows"], legacy["machine"])


def _there(path: Path) -> Path:
    """Return the file, or the package's of the same name until it is there."""
    return path if path.is_file() else MEASURED / path.name


def _content(path: Path, command: str = "semiseg study") -> dict[str, Any]:
    """Return the content of a sealed file, which the command makes.

    Raises:
        Damaged: the file is not what was written.
        FileNotFoundError: it is missing.
    """
    try:
        return read_json(path)
    except Damaged as error:
        raise Damaged(error.problem, _fix(path, command)) from error


def _store(path: Path, stored: _File) -> None:
    write_json(path, {
        "format": FORMAT, "profile": stored.profile,
        "rows": {_key(row): row for row in stored.rows},
        "recipes": stored.recipes,
        "legacy": {"hash": legacy_hash(stored.legacy), "machine": stored.legacy_machine,
                   "rows": stored.legacy},
    })


def _key(row: Mapping[str, Any]) -> str:
    """Return the name of a row in its file: one for each arm, seed, options, data and weights."""
    test, data = row["images"]["test"][:10], row.get("data", "unknown")[:10]
    weights = weights_by_arm(row).get(row["arm"])
    return (f"{row['arm']}, seed {row['seed']}, config {row['config']}, test images {test}, "
            f"data {data}" + (f", weights {fingerprint(weights)}" if weights else ""))


def _fix(path: Path, command: str = "semiseg study") -> str:
    """Return the fix for a damaged file; deleting one tracked by git would lose legacy rows."""
    return FROM_VERSION_CONTROL if is_tracked(path) else MAKE_AGAIN.format(command)
