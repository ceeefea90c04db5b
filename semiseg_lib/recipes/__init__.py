"""Recipes: the numbers of a run, one file per recipe; a profile is a named set of them.

``laptop/voc.yml`` is the recipe of the profile ``laptop`` for VOC. A file in one of the folders is
found without being named anywhere; nothing branches on the name of a profile.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from semiseg_lib import datasets
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.methods import named_options
from semiseg_lib.recipes.profile import Profile
from semiseg_lib.recipes.recipe import SOURCES, STAGES, Difference, Recipe, Setting, read

__all__ = [
    "FOLDER", "SOURCES", "STAGES", "Difference", "Profile", "Recipe", "Setting", "find",
    "for_dataset", "load", "names", "of",
]

FOLDER = Path(__file__).parent
"""The folder of the recipes, with a folder per profile and in it a file per recipe."""

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
    serving = _serving(name, dataset, method)
    if not serving:
        raise ValueError(_refusal(name, dataset, method))
    if len(serving) > 1:
        files = " and ".join(f"{name}/{one.path.name}" for one in serving)
        raise ValueError(
            f"{files} are both for {dataset!r}. Say in each which `methods` it is for."
        )
    return serving[0]


def _serving(name: str, dataset: str, method: str) -> list[Recipe]:
    """Return the recipes of a profile for a dataset and a method; as for :func:`find`."""
    recipes, wanted = of(name), _with_numbers(dataset)
    there = [one for one in recipes if one.profile.data.dataset == wanted]
    named = [one for one in there if method in one.methods]  # before one for every method
    if named:
        return named
    if method in named_options(unlabelled=True):
        there = [one for one in there if method in one.profile.unlabelled]
    serving = [one for one in there if one.serves(method or STORYLINE)]
    return serving if serving or method else there


def _with_numbers(dataset: str) -> str:
    """Return a dataset, or the general one if no profile has numbers for it.

    Raises:
        ValueError: there is no such dataset.
    """
    datasets.find(dataset)
    known = {one.profile.data.dataset for name in names() for one in of(name)}
    return dataset if dataset in known else GENERAL


def _refusal(name: str, dataset: str, method: str) -> str:
    """Return why there is no such recipe, which ones the profile has, and what to ask for."""
    recipe = f"recipe of {method}" if method else "recipe"
    sentences = [f"the profile {name!r} has no {recipe} for {dataset!r}."]
    datasets_of_it = sorted({one.profile.data.dataset for one in of(name)})
    elsewhere = [one for one in datasets_of_it if one != dataset and _serving(name, one, method)]
    sentences.append(
        f"It has one for {', '.join(elsewhere)} (--dataset {elsewhere[0]})." if elsewhere
        else f"It has none of {method} for any dataset."
    )
    wanted = _with_numbers(dataset)
    others = [other for one in of(name) if one.profile.data.dataset == wanted
              for other in one.methods or one.profile.unlabelled]
    if others:
        sentences.append(f"For {dataset} it has recipes of {', '.join(others)}.")
    profiles = [one for one in names() if _serving(one, dataset, method)]
    if profiles:
        sentences.append(
            f"Profiles with a {recipe} for {dataset}: {', '.join(profiles)} "
            f"(--profile {profiles[-1]})."
        )
    return " ".join(sentences)


def for_dataset(dataset: str) -> dict[str, Profile]:
    """Return every profile that there is for a dataset, by name.

    Raises:
        ValueError: there is no such dataset.
    """
    return {name: load(name, dataset) for name in names() if _serving(name, dataset, "")}
