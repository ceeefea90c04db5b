"""Tables of scores with mean ± sd over seeds: as plain text, as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from semiseg_lib.core import escaping
from semiseg_lib.evaluation.statistics import mean_and_interval

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """A rendered table, the same in every run; names in it are text in each of its forms.

    Attributes:
        titles: the titles of the columns.
        rows: the cells of each row.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        return self.lines(escaping.visible)

    def _repr_html_(self) -> str:
        left = [{"selector": "th, td", "props": "text-align: left; padding: 0.25em 0.9em"}]
        right = [{"selector": f".col{place}, th.col{place}", "props": "text-align: right"}
                 for place in range(1, len(self.titles))]
        frame = pd.DataFrame(
            [[escaping.html(cell) for cell in row] for row in self.rows],
            columns=[escaping.html(title) for title in self.titles],
        )
        style = frame.style.hide(axis="index").set_uuid("results")
        return style.set_table_styles(left + right).to_html()

    def lines(self, escape: Callable[[str], str]) -> str:
        """Return the table drawn with ``|`` and ``-``, as Markdown does, its cells escaped.

        Args:
            escape: what each cell is passed through: ``escaping.visible`` for a terminal,
                ``escaping.markdown`` for a README or a report.
        """
        columns = [[*map(escape, column)] for column in zip(self.titles, *self.rows, strict=True)]
        widths = [max(map(len, column)) for column in columns]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [
            [cell.ljust(width) if place == 0 else cell.rjust(width)
             for place, (cell, width) in enumerate(zip(cells, widths, strict=True))]
            for cells in zip(*columns, strict=True)
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


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
    if not rows:
        raise ValueError("a table needs at least one row")
    names = list(dict.fromkeys(key for row in rows for key in row))
    scores = {name for name in names if name not in plain
              and any(_is_sequence(row.get(name)) for row in rows)}
    titles = tuple(f"{name} (%)" if name in scores else str(name) for name in names)
    return Table(titles, tuple(
        tuple(_cell(row.get(name), name, name in scores) for name in names) for row in rows
    ))


def markdown_table(rows: Sequence[Mapping[str, Any]], plain: Collection[str] = ()) -> str:
    """Return the table of :func:`results_table` in Markdown, for a README or a report.

    Args:
        rows, plain: as for :func:`results_table`; a cell that is
            :class:`~semiseg_lib.core.escaping.Markdown` is taken as it is.

    Raises:
        ValueError: as for :func:`results_table`.
    """
    return results_table(rows, plain).lines(escaping.markdown)


def _cell(value: Any, name: str, is_score: bool) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
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
