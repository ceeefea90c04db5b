"""Recipes: the numbers of a run, one file per recipe; a profile is a named set of them.

``laptop/voc.yml`` is the recipe of the profile ``laptop`` for VOC. A file in one of the folders is
found without being named anywhere; nothing branches on the name of a profile.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from semiseg_lib import datasets
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.methods import named_options
from semiseg_lib.recipes.profile import Profile
from semiseg_lib.recipes.recipe import SOURCES, STAGES, Recipe, read

__all__ = [
    "FOLDER", "SOURCES", "STAGES", "Profile", "Recipe", "find", "for_dataset", "load", "names",
    "of",
]

FOLDER = Path(__file__).parent
"""The folder of the recipes: a folder per profile, in it a file per recipe."""

ORDER = ("smoke", "laptop", "gpu", "paper")
"""The order in which profiles are named; others follow."""

GENERAL = "folder"
"""The dataset whose recipes serve every dataset that has none of its own."""

STORYLINE = "primary"
"""The method that is meant where none is named: the storyline of self-correction."""


def names() -> list[str]:
    """Return the names of the profiles."""
    found = {path.parent.name for path in FOLDER.glob("*/*.yml")}
    return [*(name for name in ORDER if name in found), *sorted(found - {*ORDER})]


def of(name: str) -> list[Recipe]:
    """Return the recipes of a profile, in the order of its file names.

    Args:
        name: the profile.

    Raises:
        ValueError: there is no such profile, or a file cannot be read as a recipe.
    """
    if name not in names():
        raise ValueError(f"there is no profile {name!r}; there are {', '.join(names())}.")
    return [read(path, FOLDER) for path in sorted((FOLDER / name).glob("*.yml"))]


def load(name: str | None = None, dataset: str = "minivoc", method: str = "") -> Profile:
    """Return the numbers of a profile for a dataset.

    Args:
        name: smoke, laptop, gpu or paper; None asks ``SEMISEG_PROFILE``, and failing that means
            laptop.
        dataset: the name of a dataset; one that the book has no numbers for runs with those of a
            folder of one's own.
        method: the method that is to be trained: some recipes are for certain methods only.
            "" means self-correction where there are several recipes.

    Raises:
        ValueError: there is no such profile, or it has nothing for this dataset and method.
    """
    recipe = find(name or os.environ.get("SEMISEG_PROFILE") or "laptop", dataset, method)
    if recipe.profile.data.dataset == dataset:
        return recipe.profile
    return replace(recipe.profile, data=DataConfig(dataset))


def find(name: str, dataset: str, method: str = "") -> Recipe:
    """Return the recipe that :func:`load` takes.

    Args:
        name: the profile.
        dataset, method: as for :func:`load`.

    Raises:
        ValueError: as for :func:`load`; or two recipes fit.
    """
    recipes = of(name)
    datasets.find(dataset)
    known = {one.profile.data.dataset for profile in names() for one in of(profile)}
    wanted = dataset if dataset in known else GENERAL
    there = [one for one in recipes if one.profile.data.dataset == wanted]
    if not there:
        raise ValueError(
            f"the profile {name!r} has nothing for {dataset!r}. Profiles that have: "
            f"{', '.join(for_dataset(dataset))}."
        )
    serving = [one for one in there if method in one.methods]  # before one for every method
    serving = serving or [one for one in there if one.serves(method or STORYLINE)]
    if not serving and not method:
        serving = there
    if not serving:
        raise ValueError(
            f"the profile {name!r} has no recipe of {method} for {dataset!r}. It has recipes of "
            f"{_listed(recipes)}."
        )
    if len(serving) > 1:
        files = " and ".join(f"{name}/{one.path.name}" for one in serving)
        raise ValueError(
            f"{files} are both for {dataset!r}. Say in each which `methods` it is for."
        )
    there = serving[0].profile.unlabelled
    if method not in there and method in named_options(unlabelled=True):
        raise ValueError(
            f"the profile {name!r} has no {method} for {dataset!r}; it has {', '.join(there)}."
        )
    return serving[0]


def for_dataset(dataset: str) -> dict[str, Profile]:
    """Return every profile that there is for a dataset, by name.

    Raises:
        ValueError: there is no such dataset.
    """
    datasets.find(dataset)
    own = {one.profile.data.dataset for name in names() for one in of(name)}
    wanted = dataset if dataset in own else GENERAL
    return {name: load(name, dataset) for name in names()
            if any(one.profile.data.dataset == wanted for one in of(name))}


def _listed(recipes: Sequence[Recipe]) -> str:
    """Return which methods there are recipes of, and for which datasets."""
    found: dict[str, list[str]] = {}
    for one in recipes:
        for method in one.methods or ("every method",):
            found.setdefault(method, []).append(one.profile.data.dataset)
    return "; ".join(f"{method} for {', '.join(there)}" for method, there in found.items())
