"""The records of a study in rows and words, for tables."""

from __future__ import annotations

from typing import Any

from semiseg_lib.recipes import Profile
from semiseg_lib.studies.catalogue import STUDIES
from semiseg_lib.studies.marks import NO_SETTINGS
from semiseg_lib.studies.rows import Records

PHOTOGRAPHS = "photographs"
"""The study of self-correction on real images; the others on real images have no boxes."""

COSTS = {"minutes": "minutes", "images a second": "images a second", "memory GB": "memory (GB)"}
"""Titles of the columns of costs, by the score in a record."""


def score_rows(records: Records, study: str) -> list[dict[str, Any]]:
    """Return a row for each arm of a study that has records: scores in percent, and costs.

    Args:
        records: the records of the study.
        study: its name in :data:`semiseg_lib.studies.STUDIES`.

    Raises:
        KeyError: there is no such study.
    """
    rows, labels = [], any("labels" in row for row in records.rows)
    for key, arm in STUDIES[study].items():
        if not records.seeds(key):
            continue
        row = {"masks": str(arm.labelled), "model": arm.text + records.sign,
               "mIoU on test (%)": records.scores(key)}
        if labels:
            row["mIoU of the labels (%)"] = records.scores(key, "labels") or None
        row |= {title: records.scores(key, score) or None for score, title in COSTS.items()}
        rows.append({**row, "seeds": str(len(records.seeds(key)))})
    return rows


def conditions(records: Records, profile: Profile, study: str) -> str:
    """Return a plain sentence on the size and the machine of the runs of a study.

    The size is that of the profile, so it is left out for legacy rows.

    Args:
        records: the records of the study.
        profile: the profile that made them.
        study: its name in :data:`semiseg_lib.studies.STUDIES`.
    """
    seeds = sorted({row["seed"] for row in records.rows})
    kind = "Run on a graphics card" if records.on_gpu else "Reduced run, no graphics card"
    unlabelled = f"at most {profile.data.at_most}" if profile.data.at_most else "all"
    if study == PHOTOGRAPHS:
        train, whose = profile.train_primary, "for the primary"
    else:
        train, whose = profile.train_unlabelled, "after the supervised ones"
    size = f"{NO_SETTINGS} " if records.legacy else (
        f"{profile.augment.crop}-px crops, {profile.model.architecture} on "
        f"{profile.model.encoder}, {train.steps} steps of {train.images} images {whose}, "
        f"{unlabelled} unlabelled images, "
    )
    return (
        f"{kind}; profile {profile.name} ({profile.purpose}). {size}"
        f"{len(seeds)} seed{'s' * (len(seeds) > 1)} ({', '.join(map(str, seeds))}). Mean ± sd "
        "over the seeds" + ("" if len(seeds) > 1 else "; one seed has no spread")
        + f". Machine: {records.made_with}."
    )
