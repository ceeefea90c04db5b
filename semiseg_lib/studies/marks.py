"""Notes below tables of records: what made the rows, and what is not known of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from semiseg_lib.core.provenance import in_words

SIGN = "†"
"""Mark behind the name of a legacy row."""
NO_SETTINGS = (
    "Legacy rows do not hold the settings that made them; those of today's recipes may be others."
)


def mark_of(commits: Collection[str]) -> str:
    """Return the note under a table with legacy rows of these commits; "" for none."""
    if not commits:
        return ""
    return (f"{SIGN} legacy rows, made by commit{'s' * (len(commits) > 1)} "
            f"{', '.join(sorted(commits))}: numbers of code before this version, never in one "
            "interval with new ones.")


def mark_of_machines(states: Iterable[str]) -> str:
    """Return the note under a table with rows of several states of the machine; "" for one.

    Args:
        states: the state behind each row.
    """
    count = len(set(states))
    if count < 2:
        return ""
    return (f"The rows were made in {count} states of the machine (processor, threads, libraries); "
            "part of a difference between two of them is rounding, which training amplifies.")


def mark_of_code(versions: Iterable[tuple[str, ...]]) -> str:
    """Return the note under a table with rows that differ in their versions of the code; or "".

    Args:
        versions: those behind each row: what trained it, and what scored it.
    """
    found = set(versions)
    if len(found) < 2:
        return ""
    count = len(set().union(*found))
    return (f"The rows were made by {count} versions of the code; a difference between two of "
            "them may be the work of the code. `semiseg study NAME --anew`, with all of the seeds, "
            "makes them again by one version.")


class Files(NamedTuple):
    """The files behind a row.

    Attributes:
        test: the digest of the test images.
        read: {what is read, as options: the digest of its files}, of the data that the row draws
            from and of the encoders' initial weights; see
            :func:`semiseg_lib.studies.origins.files_read`.
    """

    test: str
    read: Mapping[str, str]

    def differ(self, other: Files) -> bool:
        """Return whether the rows of both cannot be compared: one file or more has changed."""
        return self.test != other.test or self.changed(other)

    def changed(self, other: Files) -> bool:
        """Return whether something that both read was of other bytes."""
        return any(self.read[what] != other.read[what]
                   for what in self.read.keys() & other.read.keys())


def mark_of_files(differing: Collection[str]) -> str:
    """Return the note under a table with rows of other files; "" for none.

    Args:
        differing: the names of the rows or studies.
    """
    if not differing:
        return ""
    return ("Made from other images or encoder weights than the rest, because files changed in "
            f"between: {', '.join(differing)}. Do not compare; `semiseg study NAME` makes the "
            "rows again.")


class State(NamedTuple):
    """The states of the machine that trained a row, and the versions of the code behind it."""

    machine: str
    code: tuple[str, ...]


def state_of(row: Mapping[str, Any]) -> State:
    """Return what made a current row."""
    machines = {json.dumps(one["machine"], sort_keys=True) for one in row["made with"]}
    versions = {row["commit"], *(one["code"] for one in row["made with"])}
    return State("; ".join(sorted(machines)), tuple(sorted(versions)))


def commits_of(rows: Iterable[dict]) -> tuple[str, ...]:
    """Return the commits that made the legacy rows among these, sorted."""
    return tuple(sorted({row["legacy"] for row in rows if "legacy" in row}))


def states_in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the states of machine and code that made current rows, and how many rows each made."""
    counts = Counter(map(_in_words, rows))
    if len(counts) == 1:
        return next(iter(counts))
    return f"{len(counts)} states of machine and code: {_counted(counts)}"


def _in_words(row: Mapping[str, Any]) -> str:
    """Return the states of machine and code behind a row, in words."""
    said = [f"{in_words(one['machine'])}, code {one['code']}" for one in row["made with"]]
    trained_by = {one["code"] for one in row["made with"]}
    scored = "" if trained_by == {row["commit"]} else f", scored by code {row['commit']}"
    return " and ".join(said) + scored


def _counted(counts: Mapping[str, int]) -> str:
    """Return how many rows each text is of, in words."""
    return "; ".join(f"{count} row{'s' * (count > 1)}: {text}" for text, count in counts.items())
