"""What the book concludes from its records, as sentences that follow from them.

A finding compares two arms of studies, paired by seed. Its sentence has sign, interval and the
smallest difference of interest, and it is rendered from the records. What the book *claims* stands
beside it in ``findings.yml``; :func:`contradiction` says when the records no longer bear it out:

- a claimed effect must keep its sign, and more than half of its size, and its interval must exclude
  0;
- ``no relevant difference``: the whole interval lies within ± the smallest difference of interest;
- ``cannot tell``: the interval holds 0, and reaches beyond the smallest difference of interest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from semiseg_lib.evaluation.statistics import (
    BETTER,
    SAME,
    UNKNOWN,
    WORSE,
    Interval,
    paired_interval,
)
from semiseg_lib.recipes import Profile
from semiseg_lib.studies import records
from semiseg_lib.studies.rows import Records

FILE = Path(__file__).with_name("findings.yml")


@dataclass(frozen=True)
class Finding:
    """A question that two arms answer, and what the book claims.

    Attributes:
        name: its key in ``findings.yml``.
        of, than: what is compared with what, in words that follow "with".
        first, second: for each of the two the study, the arm and where the score stands in a row,
            ``test`` if left out.
        smallest: the smallest difference of interest in points, > 0.
        measure: what the score is, in words.
        claim: the claimed difference in points, ``no relevant difference`` or ``cannot tell``;
            None while nothing is claimed.
    """

    name: str
    of: str
    than: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    smallest: float = 1.0
    measure: str = "test mIoU"
    claim: float | str | None = None

    def __post_init__(self) -> None:
        if not self.smallest > 0:
            raise ValueError(f"{self.name}: smallest is {self.smallest}; it must be > 0.")
        if isinstance(self.claim, str) and self.claim not in (SAME, UNKNOWN):
            raise ValueError(
                f"{self.name}: the claim is {self.claim!r}; it must be a number, {SAME!r} or "
                f"{UNKNOWN!r}."
            )


@dataclass(frozen=True)
class Found:
    """A finding with the records that answer it.

    Attributes:
        finding: the question.
        interval: the mean difference in points with its 95 % interval, paired by seed.
        seeds: the seeds that both arms have.
    """

    finding: Finding
    interval: Interval
    seeds: tuple[int, ...]

    @property
    def verdict(self) -> str:
        """Return what the interval says; a difference too small to matter is no difference."""
        return self.interval.judged(self.finding.smallest)

    @property
    def sentence(self) -> str:
        """Return the verdict as a sentence."""
        of, than, measure = self.finding.of, self.finding.than, self.finding.measure
        mean, low, high = self.interval.mean, self.interval.low, self.interval.high
        points = f"{self.finding.smallest:g} point{'s' * (self.finding.smallest != 1)}"
        said = (f"95 % interval {_signed(low)} to {_signed(high)}, {len(self.seeds)} seeds, "
                "paired")
        if self.verdict == SAME:
            return (f"With {of} and with {than}, {measure} is the same to within {points} "
                    f"(difference {_signed(mean)}, {said}).")
        if self.verdict == UNKNOWN:
            return (f"We cannot tell whether {measure} is higher with {of} or with {than} "
                    f"(difference {_signed(mean)}, {said}; {points} would matter).")
        side = "higher" if mean > 0 else "lower"
        return (f"With {of}, {measure} is {abs(mean):.1f} points {side} than with {than} "
                f"({said}).")

    @property
    def contradiction(self) -> str:
        """Return how the records contradict the claim; "" if they do not."""
        claim, said = self.finding.claim, f"{self.finding.name}: the records say {self.sentence!r}"
        if claim is None:
            return f"{said}, but findings.yml has no claim."
        if isinstance(claim, str):
            return "" if self.verdict == claim else f"{said}, but the book claims {claim!r}."
        if self.verdict in (BETTER, WORSE) and self.interval.keeps(claim):
            return ""
        return f"{said}, but the book claims a difference of {claim:+g} points."


def all_findings(path: Path = FILE) -> dict[str, Finding]:
    """Return all findings, by name.

    Args:
        path: a file like ``findings.yml``.

    Raises:
        ValueError: an entry is not valid; the message names it.
    """
    entries = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    return {name: Finding(name, **{
        key: tuple(map(str, value)) if key in ("first", "second") else value
        for key, value in entry.items()
    }) for name, entry in entries.items()}


def find(name: str, profile: Profile) -> Found:
    """Return a finding with the answer of the stored records.

    Args:
        name: its key in ``findings.yml``.
        profile: the profile of the records.

    Raises:
        KeyError: there is no such finding.
        FileNotFoundError: a study of it has no records.
        ValueError: its arms share fewer than two seeds.
    """
    return find_all([name], profile)[name]


def find_all(names: Iterable[str], profile: Profile) -> dict[str, Found]:
    """Return findings by name as :func:`find` does; each study is read once.

    Args:
        names: keys in ``findings.yml``.
        profile: the profile of the records.
    """
    asked, known = all_findings(), {}
    found = {}
    for name in names:
        finding = asked[name]
        for study in (finding.first[0], finding.second[0]):
            if study not in known:
                known[study] = records.current(study, profile)
        found[name] = answer(finding, known, profile)
    return found


def answer(finding: Finding, known: Mapping[str, Records], profile: Profile) -> Found:
    """Return a finding with the answer of records.

    Args:
        finding: the question.
        known: records by study; those of other studies are read.
        profile: the profile of the records.

    Raises:
        FileNotFoundError: a study of it has no records.
        ValueError: its arms share fewer than two seeds.
    """
    scores = [_scores(side, known, profile) for side in (finding.first, finding.second)]
    seeds = tuple(sorted(scores[0].keys() & scores[1].keys()))
    if len(seeds) < 2:
        raise ValueError(
            f"{finding.name}: {finding.first[:2]} and {finding.second[:2]} share {len(seeds)} "
            "seeds, but an interval needs two."
        )
    interval = paired_interval(*([one[seed] for seed in seeds] for one in scores))
    return Found(finding, interval, seeds)


def _scores(
    side: Sequence[str], known: Mapping[str, Records], profile: Profile
) -> dict[int, float]:
    """Return the score of an arm by seed."""
    study, arm, *place = side
    found = known.get(study) or records.current(study, profile)
    return found.by_seed(arm, *place)


def _signed(value: float) -> str:
    """Return a number with its sign: one decimal, two where one would hide it; no negative zero."""
    places = 1 if round(value, 1) else 2
    return f"{round(value, places) + 0.0:+.{places}f}"
