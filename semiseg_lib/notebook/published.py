"""What others published, read from ``published*.yml`` beside this file, next to the book's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.profiles import Profile

HERE = Path(__file__).parent
PUBLISHED_FILE = HERE / "published.yml"
RECIPES_FILE = HERE / "published_recipes.yml"
SOURCES = {
    "slides": "read in the authors' slides",
    "issue thread": "read in an issue thread",
    "README": "read in a public README",
    "log": "read in a public training log",
    "code": "read in the system's public code",
    "re-implementation": "a third party's code",
    "recalled": "recalled, found in no copy",
    "none": "",
}
"""How sure one can be of a published value, by its source."""


@dataclass(frozen=True)
class Hyperparameter:
    """One line of a published recipe.

    Attributes:
        what: its name in words.
        published: its value as published, or "not given".
        source: a key of ``SOURCES``.
        setting: where a profile holds it, such as ``train_primary.lr``.
        value: what stands there if the recipe is followed; None where nothing was published.
        note: what one should know about it.
        differs: in what the value, which stands for the published one, is not quite that.
    """

    what: str
    published: Any
    source: str
    setting: str
    value: Any = None
    note: str = ""
    differs: str = ""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"{self.what}: {self.source!r} is no source; {', '.join(SOURCES)} are")
        if (self.value is None) != (self.source == "none"):
            raise ValueError(f"{self.what}: a value needs a source, and a source a value")

    def held_by(self, profile: Profile) -> Any:
        """What a profile has there.

        Raises:
            AttributeError: a profile has no such setting.
        """
        learnt = ConvPrimaryConfig(ema_decay=profile.primary.ema_decay)
        settings = SimpleNamespace(**vars(profile), conv=learnt)
        return reduce(_member, self.setting.split("."), settings)

    def followed_by(self, profile: Profile) -> bool:
        """Whether a profile has the published value; False where there is none."""
        if self.value is None:
            return False
        held = self.held_by(profile)
        if isinstance(held, float):
            return math.isclose(held, self.value, rel_tol=1e-5)
        return (list(held) if isinstance(held, tuple) else held) == self.value


def read(path: Path = PUBLISHED_FILE) -> dict[str, Any]:
    """A whole file; its head says what stands where."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def recipe(method: str = "", dataset: str = "") -> list[Hyperparameter]:
    """The published hyper-parameters.

    Args:
        method: a method of ``profiles.RECIPES``; "" for Self-Correcting Networks.
        dataset: a dataset that the method has a recipe for.

    Raises:
        ValueError: an entry without a source, or of an unknown one; no such recipe.
    """
    if not method:
        return [Hyperparameter(**entry) for entry in read()["recipe"]]
    for group in read(RECIPES_FILE)["recipes"]:
        if method in group["methods"] and dataset in group["datasets"]:
            chosen = [_for(entry, method, dataset) for entry in group["lines"]]
            return [Hyperparameter(**entry) for entry in chosen if entry]
    raise ValueError(f"{RECIPES_FILE.name} has no recipe of {method} for {dataset!r}.")


def unlabelled_rows(setting: str, methods: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a table: published mIoU of systems without boxes, and how sure it is.

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


def recipe_rows(profile: Profile, lines: Sequence[Hyperparameter]) -> list[dict[str, str]]:
    """The rows of a table: published value and source beside what the profile has."""
    return [
        {
            "hyper-parameter": line.what, "published": str(line.published),
            "how sure": SOURCES[line.source] or "–", "profile": _as_text(line.held_by(profile)),
            "": _verdict(line, profile),
        }
        for line in lines
    ]


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


def _for(entry: dict[str, Any], method: str, dataset: str) -> dict[str, Any] | None:
    """A line as it is for one recipe; None where that has no such line."""
    keys = (f"{method} {dataset}", dataset, method)
    line = {}
    for name, given in entry.items():
        if isinstance(given, dict):
            given = next((given[key] for key in keys if key in given), None)
            if given is None and name in ("source", "value"):
                return None
        if given is not None:
            line[name] = given
    line["setting"] = line["setting"].format(method=method)
    return {"published": line.get("value"), **line}


def _member(settings: Any, name: str) -> Any:
    return settings[name] if isinstance(settings, Mapping) else getattr(settings, name)


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        same = len(set(value)) == 1  # a range of one value
        joined = (" to " if len(value) == 2 else ", ").join(f"{one:g}" for one in value)
        return f"{value[0]:g}" if same else joined or "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
