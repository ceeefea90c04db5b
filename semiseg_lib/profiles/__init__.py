"""Profiles: the same code, other numbers. A profile is data; nothing branches on its name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from semiseg_lib import datasets
from semiseg_lib.batches.data import DataConfig
from semiseg_lib.profiles import drawn, photographs, small_images
from semiseg_lib.profiles.profile import Profile
from semiseg_lib.profiles.published import RECIPES

__all__ = ["PROFILES", "RECIPES", "Profile", "for_dataset", "load", "unlabelled_names"]

PROFILES: Mapping[str, Mapping[str, Profile]] = {
    "smoke": {"minivoc": drawn.SMOKE, **photographs.SMOKE, **small_images.SMOKE},
    "laptop": {"minivoc": drawn.LAPTOP, **photographs.LAPTOP, **small_images.LAPTOP},
    "gpu": {**photographs.GPU, **small_images.GPU},
    "paper": {
        **photographs.PAPER, "camvid": RECIPES["pseudo-label"]["camvid"], **small_images.PAPER
    },
}
"""Every profile, by name and by the dataset that it is for."""

GENERAL = "folder"
"""The dataset whose profiles serve every dataset that has none of its own."""

_RECIPES_OF = {"paper": RECIPES}


def load(name: str | None = None, dataset: str = "minivoc", method: str = "") -> Profile:
    """The profile of that name for a dataset.

    Args:
        name: smoke, laptop, gpu or paper; None asks ``SEMISEG_PROFILE``, and failing that means
            laptop.
        dataset: the name of a dataset; one that the book has no numbers for runs with those of a
            folder of one's own.
        method: ``paper`` has a recipe of its own for each method of ``RECIPES``; every other
            profile serves all methods.

    Raises:
        ValueError: there is no such profile, or none for this dataset.
    """
    name = name or os.environ.get("SEMISEG_PROFILE") or "laptop"
    if name not in PROFILES:
        raise ValueError(f"there is no profile {name!r}; there are {', '.join(PROFILES)}.")
    if method in _RECIPES_OF.get(name, {}):
        return _recipe(method, dataset)
    found = for_dataset(dataset)
    if name not in found:
        raise ValueError(
            f"the profile {name!r} has nothing for {dataset!r}. Profiles that have: "
            f"{', '.join(found)}."
        )
    return found[name]


def for_dataset(dataset: str) -> dict[str, Profile]:
    """Return every profile that there is for a dataset, by name.

    Raises:
        ValueError: there is no such dataset.
    """
    datasets.find(dataset)
    found = {name: chosen[dataset] for name, chosen in PROFILES.items() if dataset in chosen}
    return found or {
        name: replace(chosen[GENERAL], data=DataConfig(dataset))
        for name, chosen in PROFILES.items() if GENERAL in chosen
    }


def unlabelled_names() -> tuple[str, ...]:
    """Return the names that any profile gives to options of methods with unlabelled images."""
    by_dataset = [*PROFILES.values(), *RECIPES.values()]
    return tuple(dict.fromkeys(
        name for profiles in by_dataset for one in profiles.values() for name in one.unlabelled
    ))


def _recipe(method: str, dataset: str) -> Profile:
    recipes = RECIPES[method]
    if dataset not in recipes:
        raise ValueError(
            f"no recipe of {method} was published for {dataset!r}; the profile 'paper' has one "
            f"for {', '.join(recipes)}."
        )
    return recipes[dataset]
