"""The origin of a study's rows: the run, its images, all data and encoder weights of the arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.core.fingerprint import digest, plain
from semiseg_lib.datasets.digest import file_hash
from semiseg_lib.experiments import Inputs, Machine, Run
from semiseg_lib.experiments.identity import networks_of, weights_files
from semiseg_lib.recipes import Profile
from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.scores import images_read


def origin_of(
    arm_name: str, arms: Mapping[str, Arm], profile: Profile, seed: int, machine: Machine
) -> dict[str, Any]:
    """Return what a row of an arm stores of its run, its images, the present data and weights.

    Raises:
        FileNotFoundError: a dataset is not there.
    """
    data = _data_of(arms, profile, machine)
    return {**_inputs_of(arms[arm_name], profile, seed, machine), "data": data[arm_name],
            "data of all arms": sorted(set(data.values())), "weights": _weights_of(arms, profile)}


def files_read(rows: Sequence[Mapping[str, Any]], arm: Arm, profile: Profile) -> list[dict]:
    """Return what each current row of an arm read, as options, with the digest of its files.

    What two rows have in common has the same digest in both, unless a file changed in between.

    Args:
        rows: the rows.
        arm, profile: made them.
    """
    data = digest(sorted(digest(plain(one)) for one in _configs(arm, profile)))
    networks: dict[str, set[str]] = {}
    for run in arm.runs(profile):
        for name, one in networks_of(run).items():
            if one.weights:
                networks.setdefault(name, set()).add(digest(plain(one)))
    found = []
    for row in rows:
        files: dict[str, set[str]] = {}
        for file in weights_by_arm(row).get(row["arm"], []):
            name, _, sha256 = file.rpartition(" ")
            files.setdefault(name, set()).add(sha256)
        found.append({data: row["data"]} | {
            min(networks[name]): min(files[name]) for name in networks.keys() & files.keys()
            if len(networks[name]) == len(files[name]) == 1  # else nobody knows which is whose
        })
    return found


def data_here(arms: Mapping[str, Arm], profile: Profile, machine: Machine) -> dict[str, str]:
    """Return the digest of all data of each arm, by the arm's name; {} without images."""
    try:
        return _data_of(arms, profile, machine)
    except FileNotFoundError:
        return {}


def is_of_these_images(
    row: Mapping[str, Any], arm: Arm, profile: Profile, machine: Machine, here: Mapping[str, str]
) -> bool:
    """Return whether a row is of the present data; True without images.

    Args:
        row: a current row.
        arm, profile, machine: would make it again.
        here: the result of :func:`data_here`.
    """
    if here.get(row["arm"], row["data"]) != row["data"]:
        return False
    try:
        now = _inputs_of(arm, profile, row["seed"], machine)
    except FileNotFoundError:
        return True
    return all(row.get(key) == one for key, one in now.items())


def of_newest_data(rows: Sequence[dict]) -> list[dict]:
    """Return the rows of the same data as the newest one; rows without data digest are dropped."""
    known = [row for row in rows if "data" in row]
    seen = known[-1]["data of all arms"] if known else ()  # by position: a clock may be set back
    return [row for row in known if row["data"] in seen]


def of_newest_weights(rows: Sequence[dict]) -> list[dict]:
    """Return the rows that started with the encoder weights that the newest row has for the arm.

    A row that has none for an arm does not count: the files of that arm may not have been there.
    """
    newest = {arm: files for row in rows for arm, files in weights_by_arm(row).items()}
    return [row for row in rows
            if weights_by_arm(row).get(row["arm"]) == newest.get(row["arm"])]


def weights_by_arm(row: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the files of encoder weights that a row has for each arm."""
    weights = row.get("weights", {})
    return {arm: sorted(file for file, others in weights.items() if arm in others)
            for arms in weights.values() for arm in arms}


def _inputs_of(arm: Arm, profile: Profile, seed: int, machine: Machine) -> dict[str, Any]:
    """Return the identity of an arm's run, and the digests of all images that it reads."""
    value = arm.value(profile, seed)
    run = value if isinstance(value, Run) else value.first
    inputs = Inputs(machine.root)
    identity = inputs.identity(run)
    read = images_read(arm.score, value, inputs.data(run))
    return {"identity": identity.digest, "classes": list(identity.classes),
            "images": {**identity.images, **read}}


def _data_of(arms: Mapping[str, Arm], profile: Profile, machine: Machine) -> dict[str, str]:
    """Return the digest of all data that each arm draws from, by the arm's name.

    Lists that depend on the seed are drawn with seed 0, so all rows have the same digest.

    Raises:
        FileNotFoundError: a dataset is not there.
    """
    known: dict[DataConfig, str] = {}
    found = {}
    for name, arm in arms.items():
        configs = _configs(arm, profile)
        for config in configs - known.keys():
            known[config] = Data(config, 0, machine.root).digest_of_all
        found[name] = digest(sorted(known[config] for config in configs))
    return found


def _configs(arm: Arm, profile: Profile) -> set[DataConfig]:
    """Return the data configurations behind an arm, without the two that affect no digest."""
    return {replace(run.data, labelled=0, at_most=0) for run in arm.runs(profile)}


def _weights_of(arms: Mapping[str, Arm], profile: Profile) -> dict[str, list[str]]:
    """Return the arms that start with each file of encoder weights.

    The key of a file is the field that names it and its SHA-256. An arm whose files are not here
    is left out.
    """
    found: dict[str, list[str]] = {}
    for name, arm in arms.items():
        with suppress(FileNotFoundError, RuntimeError):
            files = {f"{field} {file_hash(path)}" for run in arm.runs(profile)
                     for field, path in weights_files(run).items()}
            for file in sorted(files):
                found.setdefault(file, []).append(name)
    return found
