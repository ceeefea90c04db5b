"""The records of a study: small JSON files that the chapters draw their tables from."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from semiseg_lib.launch import Machine
from semiseg_lib.paths import CHECKOUT, atomic_write, held
from semiseg_lib.profiles import Profile
from semiseg_lib.studies.arms import PhotoArm
from semiseg_lib.studies.catalogue import STUDIES
from semiseg_lib.studies.scores import run_arm


@dataclass(frozen=True)
class Records:
    """The scores of one study.

    Attributes:
        rows: one dict for each arm and seed: ``arm``, ``seed``, ``config`` and the scores.
        profile: the profile that made them.
        machine: where they were made: processor, threads, versions.
    """

    rows: list[dict]
    profile: str
    machine: dict[str, str]

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
    rows = _current(_stored_rows(path), name, profile)
    for seed in seeds or profile.seeds:
        for arm_name, arm in arms.items():
            if only and arm_name not in only:
                continue
            if any(r["arm"] == arm_name and r["seed"] == seed for r in rows):
                continue
            scores = run_arm(arm, profile, seed, machine)
            config = arm.fingerprint(profile)
            with held(path):
                rows = [  # read again: another study may run beside
                    row for row in _current(_stored_rows(path), name, profile)
                    if (row["arm"], row["seed"]) != (arm_name, seed)
                ]
                rows.append({"arm": arm_name, "seed": seed, "config": config, **scores})
                _store(path, Records(rows, profile.name, this_machine()))
    return read(name, profile)


def read(name: str, profile: Profile) -> Records:
    """Read a study's records; rows made with another configuration are left out.

    Raises:
        FileNotFoundError: nothing is stored yet, or only what other settings gave.
    """
    path = record_path(name, profile.name)
    mend = f"Make it: semiseg study {name!r} --profile {profile.name}"
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is not there yet. {mend}")
    stored = Records(**json.loads(path.read_text(encoding="utf-8")))
    rows = _current(stored.rows, name, profile)
    if stored.rows and not rows:
        raise FileNotFoundError(f"{path.name} was made with other settings than now. {mend}")
    return replace(stored, rows=rows)


def _current(rows: list[dict], name: str, profile: Profile) -> list[dict]:
    """The rows that today's arms would give again."""
    fingerprints = {arm: recipe.fingerprint(profile) for arm, recipe in STUDIES[name].items()}
    return [row for row in rows if fingerprints.get(row["arm"]) == row["config"]]


def _stored_rows(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []


def dataset_of(name: str) -> str:
    """The dataset whose profile a study runs with."""
    first = next(iter(STUDIES[name].values()))
    return first.dataset if isinstance(first, PhotoArm) else "minivoc"


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
        temporary.write_text(json.dumps(vars(records), indent=1), encoding="utf-8")
