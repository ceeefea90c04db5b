"""The origin of a study's rows: the run, its images, and all data of the study's arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from semiseg_lib.batches.data import Data
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.core.fingerprint import digest
from semiseg_lib.experiments import Inputs, Machine, Run
from semiseg_lib.recipes import Profile
from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.scores import images_read


def origin_of(
    arm_name: str, arms: Mapping[str, Arm], profile: Profile, seed: int, machine: Machine
) -> dict[str, Any]:
    """Return what a row of an arm stores of its run, its images and the present data.

    Raises:
        FileNotFoundError: a dataset is not there.
    """
    data = _data_of(arms, profile, machine)
    return {**_inputs_of(arms[arm_name], profile, seed, machine), "data": data[arm_name],
            "data of all arms": sorted(set(data.values()))}


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
        # These two affect no digest: arms that differ by them share one reading of the files.
        configs = {replace(run.data, labelled=0, at_most=0) for run in arm.runs(profile)}
        for config in configs - known.keys():
            known[config] = Data(config, 0, machine.root).digest_of_all
        found[name] = digest(sorted(known[config] for config in configs))
    return found
