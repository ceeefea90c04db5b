"""What others published, read from notebooks/published.yml, beside what this book does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.paths import CHECKOUT
from semiseg_lib.profiles import Profile

PUBLISHED_FILE = CHECKOUT / "notebooks" / "published.yml"
SOURCES = {
    "slides": "read in the authors' slides",
    "issue thread": "read in an issue thread",
    "README": "read in a public README",
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
    """

    what: str
    published: Any
    source: str
    setting: str
    value: Any = None
    note: str = ""

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
        return reduce(getattr, self.setting.split("."), settings)

    def followed_by(self, profile: Profile) -> bool:
        """Whether a profile has the published value; False where there is none."""
        held = self.held_by(profile)
        return self.value is not None and (list(held) if isinstance(held, tuple) else held) == (
            self.value
        )


def read(path: Path = PUBLISHED_FILE) -> dict[str, Any]:
    """The whole file: ``source``, ``results``, ``recipe``, ``labelled``."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def recipe(path: Path = PUBLISHED_FILE) -> list[Hyperparameter]:
    """The published hyper-parameters.

    Raises:
        ValueError: an entry without a source, or of an unknown one.
    """
    return [Hyperparameter(**entry) for entry in read(path)["recipe"]]


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
    return {"recalled": "as recalled", "re-implementation": "as in that code"}.get(
        line.source, "as published"
    )


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return " to ".join(f"{one:g}" for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
