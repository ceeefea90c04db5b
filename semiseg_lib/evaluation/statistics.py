"""Means over seeds with their uncertainty: t intervals, paired differences, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

BETTER, WORSE, SAME, UNKNOWN = "better", "worse", "no relevant difference", "cannot tell"
"""What an interval of a difference can show."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval, in the unit of the values it came from.

    Its parts are read by name: it is no tuple.

    Attributes:
        mean: of the runs.
        low, high: the ends of the interval; NaN for one run.
        sd: the sample standard deviation; NaN for one run.
        runs: number of runs.
    """

    mean: float
    low: float
    high: float
    sd: float
    runs: int

    @property
    def verdict(self) -> str:
        """Return what the interval of a difference shows, "better", "worse" or "cannot tell"."""
        return self.judged(smallest=0)

    def judged(self, smallest: float) -> str:
        """Return what the interval of a difference shows where small differences do not matter.

        Args:
            smallest: the smallest difference of interest, >= 0; if the whole interval lies within
                ± this, the verdict is "no relevant difference", whatever its sign.
        """
        if -smallest < self.low and self.high < smallest:
            return SAME
        if self.low > 0:
            return BETTER
        return WORSE if self.high < 0 else UNKNOWN

    @property
    def p(self) -> float:
        """Return how often runs whose true mean is 0 have a mean at least as far from 0, in [0, 1].

        This is the two-sided p of Student's t test; NaN for one run, or where all runs are 0.
        """
        if self.runs < 2 or not (self.sd or self.mean):
            return np.nan
        distance = abs(self.mean) / (self.sd / np.sqrt(self.runs)) if self.sd else np.inf
        return float(2 * stdtr(self.runs - 1, -distance))

    def keeps(self, claimed: float) -> bool:
        """Return whether the mean of a difference has a claim's sign and more than half of it.

        Args:
            claimed: the claimed difference, not 0.
        """
        return self.mean / claimed > 0.5


def mean_and_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """Return mean, Student-t confidence interval and sample standard deviation of runs.

    Args:
        values: (N,) one value per independent run; with N = 1, low, high and sd are NaN.
        level: confidence level, in (0, 1).

    Raises:
        ValueError: no values, a value that is not finite, or a level outside (0, 1).
    """
    found = _finite(values, "values")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    mean = float(found.mean())
    if len(found) == 1:
        return Interval(mean, np.nan, np.nan, np.nan, 1)
    sd = float(found.std(ddof=1))
    # The quantile of Student's t; importing scipy.stats for it takes half a second.
    half = float(stdtrit(len(found) - 1, 0.5 + level / 2)) * sd / np.sqrt(len(found))
    return Interval(mean, mean - half, mean + half, sd, len(found))


def paired_interval(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, level: float = 0.95
) -> Interval:
    """Return the paired t interval of the mean of a − b over runs that share a seed.

    Args:
        a, b: (N,) with N >= 2; a[i] and b[i] are runs of the same seed; larger is better.
        level: confidence level, in (0, 1).

    Returns:
        the interval, whose ``verdict`` is "better" if the whole of it lies above zero, "worse" if
        below, else "cannot tell".

    Raises:
        ValueError: lengths differ, fewer than two pairs, or a value that is not finite.
    """
    left, right = _finite(a, "a"), _finite(b, "b")
    if len(left) != len(right):
        raise ValueError(
            f"a and b must be paired by seed, got {len(left)} and {len(right)} values"
        )
    if len(left) < 2:
        raise ValueError("one pair has no spread: run at least two seeds of each")
    return mean_and_interval(left - right, level)


def _finite(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    found = np.asarray(values, float).ravel()
    if not len(found) or not np.isfinite(found).all():
        raise ValueError(f"{name} must hold at least one value, all finite")
    return found
