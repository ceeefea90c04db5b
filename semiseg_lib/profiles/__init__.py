"""Profiles: the same code, other numbers. A profile is data; nothing branches on its name."""

from __future__ import annotations

import os
from collections.abc import Mapping

from semiseg_lib.profiles import drawn, photographs
from semiseg_lib.profiles.profile import Profile

__all__ = ["DATASETS", "PROFILES", "Profile", "for_dataset", "load"]

PROFILES: Mapping[str, Mapping[str, Profile]] = {
    "smoke": {"minivoc": drawn.SMOKE, **photographs.SMOKE},
    "laptop": {"minivoc": drawn.LAPTOP, **photographs.LAPTOP},
    "gpu": photographs.GPU,
    "paper": photographs.PAPER,
}
"""Every profile, by name and by the dataset that it is for."""

DATASETS = tuple(dict.fromkeys(name for chosen in PROFILES.values() for name in chosen))


def load(name: str | None = None, dataset: str = "minivoc") -> Profile:
    """The profile of that name for a dataset.

    Args:
        name: smoke, laptop, gpu or paper; None asks ``SEMISEG_PROFILE``, and failing that means
            laptop.
        dataset: minivoc (drawn, the default), voc, cityscapes, camvid or folder.

    Raises:
        ValueError: there is no such profile, or none for this dataset.
    """
    name = name or os.environ.get("SEMISEG_PROFILE") or "laptop"
    if name not in PROFILES:
        raise ValueError(f"there is no profile {name!r}; there are {', '.join(PROFILES)}.")
    if dataset not in PROFILES[name]:
        those = ", ".join(key for key, chosen in PROFILES.items() if dataset in chosen)
        raise ValueError(
            f"the profile {name!r} has nothing for {dataset!r}. "
            + (f"Profiles that have: {those}." if those else f"Datasets: {', '.join(DATASETS)}.")
        )
    return PROFILES[name][dataset]


def for_dataset(dataset: str) -> dict[str, Profile]:
    """Every profile that there is for a dataset, by name."""
    return {name: chosen[dataset] for name, chosen in PROFILES.items() if dataset in chosen}
