"""What others published, next to the book's own: scores from ``published.yml``, recipes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from semiseg_lib import recipes
from semiseg_lib.recipes import SOURCES, Profile, Setting

PUBLISHED_FILE = Path(__file__).with_name("published.yml")
PROFILE = "paper"
"""The profile whose recipes are the published ones."""


@dataclass(frozen=True)
class Hyperparameter:
    """One line of a published recipe.

    Attributes:
        setting: where a profile holds it, such as ``train_primary.lr``.
        published: its value as published, or "not given".
        source: a key of ``SOURCES``; "" where nothing was published.
        value: what stands there if the recipe is followed; None where nothing was published.
        place: where in the source; "" if nobody noted it.
        note: what one should know about it.
        differs: in what the value, which stands for the published one, is not quite that.
    """

    setting: str
    published: Any
    source: str = ""
    value: Any = None
    place: str = ""
    note: str = ""
    differs: str = ""

    def held_by(self, profile: Profile) -> Any:
        """Return the value of this setting in a profile.

        Args:
            profile: the profile to look into.

        Raises:
            AttributeError, KeyError: a profile has no such setting.
        """
        return reduce(_member, self.setting.split("."), profile)

    def followed_by(self, profile: Profile) -> bool:
        """Return whether a profile has the published value; False if none was published.

        Args:
            profile: the profile to look into.
        """
        if self.value is None:
            return False
        held = self.held_by(profile)
        if isinstance(held, float):
            return math.isclose(held, self.value, rel_tol=1e-5)
        return (list(held) if isinstance(held, tuple) else held) == self.value


def read(path: Path = PUBLISHED_FILE) -> dict[str, Any]:
    """Return the content of ``published.yml``; the head of the file describes it.

    Args:
        path: a file like it.
    """
    return yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))


def recipe(method: str = "primary", dataset: str = "voc") -> list[Hyperparameter]:
    """Return the published hyper-parameters of a method, those of unknown value included.

    Args:
        method: a method that the profile ``paper`` has a recipe of.
        dataset: the dataset of the recipe.

    Raises:
        ValueError: there is no such recipe.
    """
    lines = recipes.find(PROFILE, dataset, method).lines(method)
    return [
        Hyperparameter(
            setting, one.published if one.published is not None else one.value, one.source,
            one.value if one.source else None, one.place, one.note, one.differs,
        )
        for setting, one in lines.items()
    ]


def unlabelled_rows(setting: str, methods: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the rows of a table: published mIoU of systems without boxes, and how sure it is.

    Args:
        setting: a key of ``results_unlabelled``: voc classic, voc blended, cityscapes, camvid.
        methods: only the rows of these, by their names in the file; () for all.

    Raises:
        ValueError: the setting has no row of one of these methods.
    """
    scores = read()["results_unlabelled"][setting]
    there = [row["method"] for row in scores["rows"]]
    if missing := set(methods) - set(there):
        raise ValueError(
            f"{setting!r} has no row of {', '.join(sorted(missing))}; it has "
            f"{', '.join(dict.fromkeys(there))}."
        )
    return [
        {
            "published": row["method"], "encoder": row["encoder"],
            **{f"{count} masks": "–" if score is None else f"{score:.1f}"
               for count, score in zip(scores["labelled"], row["scores"], strict=True)},
            "how sure": SOURCES[row["source"]], "note": row.get("note", ""),
        }
        for row in scores["rows"] if row["method"] in (methods or there)
    ]


def recipe_table(method: str = "primary", dataset: str = "voc") -> list[dict[str, str]]:
    """Return the rows of a table: a published recipe, its sources, and what is otherwise in it.

    The address of each source has a row below the values, and so has each sentence on what of the
    published system the recipe does not reproduce.

    Args:
        method, dataset: see :func:`recipe`.
    """
    found, lines = recipes.find(PROFILE, dataset, method), recipe(method, dataset)
    empty = {"hyper-parameter": "", "published": "", "how sure": "", "where": "", "profile": "",
             "": ""}
    addresses = [
        {**empty, "how sure": SOURCES[source], "where": address}
        for source, address in found.sources.items()
        if source in {line.source for line in lines}
    ]
    missing = [{**empty, "": f"differs: {sentence}"} for sentence in found.differences(method)]
    return recipe_rows(found.profile, lines) + addresses + missing


def recipe_rows(profile: Profile, lines: Sequence[Hyperparameter]) -> list[dict[str, str]]:
    """Return the rows of a table: published value and source beside the value of a profile.

    Args:
        profile: the profile to compare.
        lines: what :func:`recipe` returned.
    """
    return [
        {
            "hyper-parameter": line.setting, "published": as_text(line.published),
            "how sure": SOURCES.get(line.source, "–"), "where": where(line),
            "profile": as_text(line.held_by(profile)), "": _verdict(line, profile),
        }
        for line in lines
    ]


def where(line: Hyperparameter | Setting) -> str:
    """Return the place of a value in its source, or that nobody noted it.

    Args:
        line: the value; a dash is returned for one that has no source or is recalled.
    """
    if line.source in ("", "recalled"):
        return "–"
    return line.place or "place not noted"


def _verdict(line: Hyperparameter, profile: Profile) -> str:
    if line.value is None:
        return "the book's choice"
    if not line.followed_by(profile):
        return "DIFFERS"
    if line.differs:
        return f"differs: {line.differs}"
    return {"recalled": "as recalled", "re-implementation": "as in that code"}.get(
        line.source, "as published"
    )


def _member(settings: Any, name: str) -> Any:
    return settings[name] if isinstance(settings, Mapping) else getattr(settings, name)


def as_text(value: Any) -> str:
    """Return a value for a table.

    Args:
        value: a number becomes ``%g``, a range ``0.5 to 2``, an empty list a dash.
    """
    if isinstance(value, tuple | list):
        same = len(set(value)) == 1  # a range of one value
        joined = (" to " if len(value) == 2 else ", ").join(f"{one:g}" for one in value)
        return f"{value[0]:g}" if same else joined or "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
