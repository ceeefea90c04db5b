"""Tables of scores with mean ± sd over seeds: as plain text, as HTML and as Markdown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from semiseg_lib.core import escaping
from semiseg_lib.evaluation.statistics import mean_and_interval

MISSING = "–"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?"
_SIGNED = rf"[-+−<>≤≥≈~×]?(?:{_DIGITS}|(?:nan|inf)\b)"
_WITH_UNIT = rf"{_SIGNED}(?:\s?(?:%|[^\W\d_]{{1,12}}(?:/[^\W\d_]{{1,12}})?))?"
_JOINED = rf"{_WITH_UNIT}(?:\s?(?:±|to|of|[-+−–×/]|(?<=\s):(?=\s))\s?{_WITH_UNIT})*"
NUMBER = re.compile(rf"{_JOINED}(?:\s\((?:{_JOINED}|{MISSING})\))?(?:\s?[†‡])?")
"""A cell that is a number, with its sign, unit, deviation or interval, and mark."""
_RANGE = rf"{_SIGNED}(?: %)?(?: (?:±|to|:) {_SIGNED}(?: %)?)?"
MEASURE = re.compile(rf"(?<![\w.,]){_RANGE}(?: \((?:{_RANGE}|{MISSING})\))?(?![\w.])")
"""A number within a text, with what must stand on the same line."""


@dataclass(frozen=True)
class Table:
    """A rendered table, the same in every run; names in it are text in each of its forms.

    A column whose cells are numbers, dashes and blanks aside, is aligned right, any other left.

    Attributes:
        titles: the titles of the columns.
        rows: the cells of each row; one that is :class:`~semiseg_lib.core.escaping.Markdown` is
            taken as it is in Markdown.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def numeric(self) -> tuple[bool, ...]:
        """Return whether each column holds numbers."""
        columns = [[cell.strip("*`") for cell in column if cell not in ("", MISSING)]
                   for column in zip(*self.rows, strict=True)]
        return tuple(bool(cells) and all(map(NUMBER.fullmatch, cells)) for cells in columns)

    def __repr__(self) -> str:
        return self.lines(escaping.visible)

    def show(self) -> None:
        """Display the table before the end of a notebook's cell; print it in a script."""
        from IPython.display import display

        display(self)

    def _repr_html_(self) -> str:
        """Return HTML in the colours of the page; its id is that of the content."""
        frame = pd.DataFrame(
            [[_unbroken(escaping.html(cell)) for cell in row] for row in self.rows],
            columns=[escaping.html(title) for title in self.titles],
        )
        key = hashlib.sha256(repr((self.titles, self.rows)).encode()).hexdigest()[:10]
        places = [place for place, is_number in enumerate(self.numeric()) if is_number]
        line = "1px solid color-mix(in srgb, currentColor 25%, transparent)"
        styles = [
            ("", "border-collapse: collapse; color: inherit"),
            ("tr", "background: none !important"),  # the stripes of a page that knows one theme
            ("tr > *", "text-align: left; vertical-align: top; color: inherit; "
                       f"padding: 0.25em 0.6em; border: 0; border-bottom: {line}"),
        ]
        if places:
            styles += [
                (", ".join(f".n{place}" for place in places), "text-align: right"),
                (", ".join(f"td.n{place}" for place in places), "white-space: nowrap"),
            ]
        style = Styler(frame, uuid=key, cell_ids=False).hide(axis="index").set_table_styles(
            [{"selector": selector, "props": props} for selector, props in styles],
            css_class_names={"col": "n", "data": "", "row": "r", "col_heading": "", "level": "l"},
        )
        # Themes give any other output of HTML a light card.
        return style.set_table_attributes('class="dataframe"').to_html()

    def lines(self, escape: Callable[[str], str]) -> str:
        """Return the table drawn with ``|`` and ``-``, as Markdown does, its cells escaped.

        Args:
            escape: what each cell is passed through: ``escaping.visible`` for a terminal,
                ``escaping.markdown`` for a README or a report, in which no number breaks.
        """
        keep = _unbroken if escape is escaping.markdown else str
        numeric = self.numeric()
        columns = [[keep(escape(cell)) for cell in column]
                   for column in zip(self.titles, *self.rows, strict=True)]
        widths = [max(3, *map(len, column)) for column in columns]
        rule = ["-" * (width - 1) + (":" if is_number else "-")
                for width, is_number in zip(widths, numeric, strict=True)]
        lines = [
            [cell.rjust(width) if is_number else cell.ljust(width)
             for cell, width, is_number in zip(cells, widths, numeric, strict=True)]
            for cells in zip(*columns, strict=True)
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def _unbroken(text: str) -> str:
    """Return a text in which a number and its interval, deviation or % stay on one line.

    A mark such as † stays with the word before it.
    """
    marked = re.sub(" (?=[†‡])", "\u00a0", text)
    return MEASURE.sub(lambda found: found[0].replace(" ", "\u00a0"), marked)


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
    found = mean_and_interval(values * (100 if is_score else 1))
    return f"{found.mean:.1f}" + (f" ± {found.sd:.1f}" if found.runs > 1 else "")


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)
