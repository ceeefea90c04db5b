"""Tables of scores with mean ± sd over seeds, as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from semiseg_lib.evaluation.statistics import mean_and_interval

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """A rendered table: HTML in a notebook, Markdown as text; both the same in every run.

    Args:
        frame: the cells as text, one column per title.
    """

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
    """Return a table for a notebook: one row per method, scores of several seeds as mean ± sd.

    Args:
        rows: dicts with the same meaning of keys; the first key names the row. A sequence of
            numbers holds one score per seed, a fraction in [0, 1], shown in percent; a single
            number in such a column is a score too; elsewhere it is shown as it is; text stays
            text; a key that a row lacks shows as a dash.
        plain: columns whose sequences are not fractions (such as minutes) and keep their unit.

    Raises:
        ValueError: no rows, or a score outside [0, 1] in a column that is not in ``plain``.
    """
    return Table(_text_frame(rows, plain))


def markdown_table(rows: Sequence[Mapping[str, Any]], plain: Collection[str] = ()) -> str:
    """Return the table of :func:`results_table` in Markdown, for a README or a terminal.

    Args:
        rows, plain: as for :func:`results_table`.

    Raises:
        ValueError: as for :func:`results_table`.
    """
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
                         f"list the column in plain=[...] if it is not a score")
    mean, _, _, sd, count = mean_and_interval(values * (100 if is_score else 1))
    return f"{mean:.1f}" if count == 1 else f"{mean:.1f} ± {sd:.1f}"


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)
