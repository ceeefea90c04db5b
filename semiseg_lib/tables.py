"""Numbers with their uncertainty: mean ± sd over seeds, t intervals, and tables made of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

MISSING = "–"


class Interval(NamedTuple):
    """A mean with its confidence interval, in the unit of the values it came from."""

    mean: float
    low: float
    high: float
    sd: float
    count: int


class PairedInterval(NamedTuple):
    """A mean difference a − b with its interval; ``verdict`` says what a has been shown to be."""

    mean: float
    low: float
    high: float
    count: int
    verdict: str


def mean_and_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean, Student-t confidence interval and sample standard deviation of independent runs.

    Args:
        values: (N,) one value per run; with N = 1 there is no spread: low, high and sd are nan.
        level: confidence level, between 0 and 1.

    Raises:
        ValueError: no values, a value that is not finite, or a level outside (0, 1).
    """
    values = _finite(values, "values")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, np.nan, np.nan, np.nan, 1)
    sd = float(values.std(ddof=1))
    # The quantile of Student's t; scipy.stats has it under another name and takes half a second.
    half = float(stdtrit(len(values) - 1, 0.5 + level / 2)) * sd / np.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, sd, len(values))


def paired_interval(
    a: Sequence[float], b: Sequence[float], level: float = 0.95
) -> PairedInterval:
    """Interval of the mean of a − b over pairs that share a seed (a paired t interval).

    Args:
        a, b: (N,) with N >= 2; a[i] and b[i] are runs of the same seed; larger is better.
        level: confidence level, between 0 and 1.

    Returns:
        verdict "better" if the whole interval lies above zero, "worse" if below, else
        "cannot tell".

    Raises:
        ValueError: lengths differ, fewer than two pairs, or a value that is not finite.
    """
    a, b = _finite(a, "a"), _finite(b, "b")
    if len(a) != len(b):
        raise ValueError(f"a and b must be paired by seed, got {len(a)} and {len(b)} values")
    if len(a) < 2:
        raise ValueError("one pair has no spread: run at least two seeds of each")
    mean, low, high, _, count = mean_and_interval(a - b, level)
    return PairedInterval(mean, low, high, count, verdict_of(low, high))


def verdict_of(low: float, high: float) -> str:
    """What the interval of a difference shows: "better", "worse" or "cannot tell"."""
    if low > 0:
        return "better"
    return "worse" if high < 0 else "cannot tell"


@dataclass(frozen=True)
class Table:
    """A finished table: HTML in a notebook, Markdown as text; both the same in every run."""

    frame: pd.DataFrame

    def __repr__(self) -> str:
        columns = [[str(name), *self.frame[name]] for name in self.frame.columns]
        widths = [max(map(len, column)) for column in columns]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [
            [cell.ljust(width) if place == 0 else cell.rjust(width)
             for place, (cell, width) in enumerate(zip(cells, widths, strict=True))]
            for cells in zip(*columns, strict=True)
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])

    def _repr_html_(self) -> str:
        right = [{"selector": f".col{place}, th.col{place}", "props": "text-align: right"}
                 for place in range(1, self.frame.shape[1])]
        left = [{"selector": "th, td", "props": "text-align: left; padding: 0.25em 0.9em"}]
        style = self.frame.style.hide(axis="index").set_uuid("results")
        return style.set_table_styles(left + right).to_html()


def results_table(rows: Sequence[Mapping[str, Any]], plain: Collection[str] = ()) -> Table:
    """A table for a notebook: one row a method, scores of several seeds as mean ± sd.

    Args:
        rows: dicts with the same meaning of keys; the first key names the row. A sequence of
            numbers holds one score per seed, a fraction in [0, 1], shown in percent; a single
            number in such a column is a score too; elsewhere it is shown as it is; text stays
            text; a key that a row lacks shows as a dash.
        plain: columns whose sequences are no fractions (minutes, say) and keep their unit.

    Raises:
        ValueError: no rows, or a score outside [0, 1] in a column that is not in ``plain``.
    """
    return Table(_text_frame(rows, plain))


def markdown_table(rows: Sequence[Mapping[str, Any]], plain: Collection[str] = ()) -> str:
    """The same table as :func:`results_table` in Markdown, for a README or a terminal."""
    return repr(results_table(rows, plain))


def _text_frame(rows: Sequence[Mapping[str, Any]], plain: Collection[str]) -> pd.DataFrame:
    if not rows:
        raise ValueError("a table needs at least one row")
    names = list(dict.fromkeys(key for row in rows for key in row))
    scores = {name for name in names if name not in plain
              and any(_is_sequence(row.get(name)) for row in rows)}
    titles = [f"{name} (%)" if name in scores else name for name in names]
    cells = [[_cell(row.get(name), name, name in scores) for name in names] for row in rows]
    return pd.DataFrame(cells, columns=titles)


def _cell(value: Any, name: str, is_score: bool) -> str:
    if value is None:
        return MISSING
    if not _is_sequence(value) and not isinstance(value, float | np.floating):
        return str(value)
    values = np.asarray(value, float).ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return MISSING
    if is_score and (values.min() < 0 or values.max() > 1):
        raise ValueError(f"{name!r} holds {values.max():g}: scores are fractions in [0, 1]; "
                         f"list the column in plain=[...] if it is no score")
    mean, _, _, sd, count = mean_and_interval(values * (100 if is_score else 1))
    return f"{mean:.1f}" if count == 1 else f"{mean:.1f} ± {sd:.1f}"


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)


def _finite(values: Sequence[float], name: str) -> np.ndarray:
    values = np.asarray(values, float).ravel()
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{name} must hold at least one value and only finite ones")
    return values
