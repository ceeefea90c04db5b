"""Intervals against scipy and by hand; tables as a reader sees them."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from semiseg_lib.core import escaping
from semiseg_lib.core.escaping import Markdown
from semiseg_lib.evaluation.statistics import Interval, mean_and_interval, paired_interval
from semiseg_lib.notebook.tables import MISSING, Table, markdown_table, results_table

CHECKOUT = Path(__file__).resolve().parents[1]
ROWS = [
    {"method": "supervised", "mIoU": [0.60, 0.62], "minutes": 2.0},
    {"method": "linear", "mIoU": [0.75, 0.77], "minutes": 4.25},
    {"method": "all masks", "mIoU": 0.895},
]


def test_interval_of_two_values_by_hand():
    # t(0.975, 1 degree of freedom) = tan(0.475 pi); the standard error of 1 and 3 is 1.
    interval = mean_and_interval([1.0, 3.0])
    half = math.tan(0.475 * math.pi)
    assert interval.mean == 2
    assert interval.sd == pytest.approx(math.sqrt(2))
    assert (interval.low, interval.high) == pytest.approx((2 - half, 2 + half))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_interval_agrees_with_scipy(level):
    values = np.random.default_rng(0).normal(70, 2, size=7)
    expected = stats.ttest_1samp(values, 0).confidence_interval(level)
    interval = mean_and_interval(values, level)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_one_value_has_no_interval_and_equal_values_an_empty_one():
    alone = mean_and_interval([0.7])
    assert (alone.mean, alone.runs) == (0.7, 1)
    assert math.isnan(alone.low) and math.isnan(alone.high) and math.isnan(alone.sd)
    assert mean_and_interval([0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 0.0, 2)


def test_the_parts_of_an_interval_have_names_only():
    """As a tuple it would be unpacked in a wrong order, and its ``count`` taken for the runs."""
    interval = mean_and_interval([1.0, 3.0])
    with pytest.raises(TypeError, match="not iterable"):
        tuple(interval)
    assert not hasattr(interval, "count") and interval.runs == 2


def test_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(size=(2000, 4))
    covered = np.mean([one.low <= 0 <= one.high for one in map(mean_and_interval, draws)])
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((2.0, 2.5, 3.0), "better"), ((-2.0, -2.5, -3.0), "worse"), ((-1.0, 1.2, 0.3), "cannot tell")],
)
def test_paired_interval_and_its_verdict(differences, verdict):
    b = np.array([60.0, 71.0, 65.0])
    result = paired_interval(b + differences, b)
    expected = stats.ttest_rel(b + differences, b).confidence_interval()
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
    assert result.p == pytest.approx(stats.ttest_rel(b + differences, b).pvalue)
    assert result.verdict == verdict


@pytest.mark.parametrize(("values", "p"), [([0.7], None), ([0, 0], None), ([2, 2], 0)])
def test_p_of_runs_without_spread(values, p):
    found = mean_and_interval(values).p
    assert math.isnan(found) if p is None else found == p


@pytest.mark.parametrize(("low", "high", "smallest", "verdict"), [
    (0.2, 0.8, 1, "no relevant difference"), (-0.9, -0.1, 1, "no relevant difference"),
    (-0.5, 0.5, 1, "no relevant difference"), (0.2, 1.0, 1, "better"), (-1.2, -0.1, 1, "worse"),
    (-0.5, 1.5, 1, "cannot tell"), (0.2, 0.8, 0, "better"), (-0.5, 0.5, 0, "cannot tell"),
])
def test_a_difference_that_is_too_small_to_matter_is_no_difference(low, high, smallest, verdict):
    found = Interval((low + high) / 2, low, high, 1.0, 3)
    assert found.judged(smallest) == verdict
    assert smallest or found.verdict == verdict


@pytest.mark.parametrize(
    ("a", "b", "complaint"),
    [([1, 2], [1, 2, 3], "paired"), ([1], [2], "two seeds"), ([1, np.nan], [1, 2], "finite")],
)
def test_paired_interval_refuses(a, b, complaint):
    with pytest.raises(ValueError, match=complaint):
        paired_interval(a, b)


@pytest.mark.parametrize("values", [[], [1.0, math.inf]])
def test_interval_refuses_values_it_cannot_use(values):
    with pytest.raises(ValueError, match="finite"):
        mean_and_interval(values)


def test_markdown_table():
    assert markdown_table(ROWS).replace("\u00a0", " ").splitlines() == [
        "| method     |   mIoU (%) | minutes |",
        "| ---------- | ---------: | ------: |",
        "| supervised | 61.0 ± 1.4 |     2.0 |",
        "| linear     | 76.0 ± 1.4 |     4.2 |",
        "| all masks  |       89.5 |       – |",
    ]


def test_table_looks_the_same_in_every_run():
    first, second = results_table(ROWS), results_table(ROWS)
    assert first._repr_html_() == second._repr_html_()
    assert repr(first) == markdown_table(ROWS).replace("\u00a0", " ")
    assert "61.0\u00a0±\u00a01.4" in first._repr_html_()


NUMBERS = [
    "1", "-0.058", "−3", "+3.1 %", "71.6%", "10,000", "1e-3", "<0.001", "61.0 ± 1.4",
    "-0.4 to +6.6", "+3.1 (-0.4 to +6.6)", "64.3 (98.4)", "0.0 (–)", "19 MB", "4.9 images/s",
    "424 masks", "600 + 1000", "8 × 8", "53.5 †", "+16.0 (+14.5 to +17.5) ‡", "0.01–0.3",
    "10,000 ± 1,000", "24 : 1", "nan", "nan %", "70.0 ± nan", "+1.0 (nan to nan)", "-inf",
]
TEXTS = [
    "linear", "11, 12", "[11]", "c5da1405", "0 throughout: own labels", "TorchSemiSeg 14", "1.2.3",
    "30 → 0.5 by 30 % †", "- 3 -", "data/1.py", "1,00", "12:30", "nano", "information",
    "infinite %",
]


@pytest.mark.parametrize("cell", [*NUMBERS, *TEXTS])
def test_a_column_of_numbers_is_aligned_right_and_any_other_left_in_every_form(cell):
    is_number = cell in NUMBERS
    table = Table(("it", "other"), ((cell, "x"), (MISSING, "y"), ("", "z")))
    assert table.numeric() == (is_number, False)
    for lines in (repr(table).splitlines(), table.lines(escaping.markdown).splitlines()):
        first, rule, shown = (line.split("|")[1] for line in lines[:3])
        assert rule.strip().endswith(":") is is_number
        assert first.strip() == "it" and first.startswith(" it") is not is_number
        assert len(shown) == len(first) == len(rule) >= 5
    page = table._repr_html_()
    assert (".n0 {\n  text-align: right;" in page) is is_number
    assert ".n1 {" not in page


def test_one_text_among_numbers_makes_a_column_of_text():
    table = Table(("a",), (("12",), ("not run yet",)))
    assert table.numeric() == (False,)
    assert repr(table).splitlines() == [
        "| a           |", "| ----------- |", "| 12          |", "| not run yet |"]


def test_an_interval_within_a_text_stays_on_one_line_but_not_in_a_terminal():
    table = Table(("what",), (("better by +3.1 (-0.4 to +6.6), of 30 % ± 2 %, at 8 : 1",),))
    kept = ("better by +3.1\u00a0(-0.4\u00a0to\u00a0+6.6), of 30\u00a0%\u00a0±\u00a02\u00a0%, "
            "at 8\u00a0:\u00a01")
    assert kept in table._repr_html_()
    assert kept in table.lines(escaping.markdown)
    assert "\u00a0" not in repr(table)


def test_tables_of_one_page_have_their_own_ids_and_equal_ones_equal_bytes():
    pages = [results_table(rows)._repr_html_() for rows in (ROWS, ROWS[:2], ROWS)]
    ids = [re.findall(r'\bid="([^"]+)"', page) for page in pages]
    assert [len(found) for found in ids] == [1, 1, 1], "cells need no ids"
    assert ids[0] != ids[1] and pages[0] == pages[2]
    for (name,), page in zip(ids, pages, strict=True):
        assert set(re.findall(r"#(\w+)", page)) == {name}, "a rule reaches another table"


def test_markdown_of_the_author_is_kept_and_judged_without_its_marks():
    table = Table(("total", "name"), ((Markdown("**24**"), Markdown("[a](b)")), ("7", "c*")))
    assert table.lines(escaping.markdown).splitlines() == [
        "|  total | name   |", "| -----: | ------ |", "| **24** | [a](b) |", "|      7 | c\\*    |"]


def test_columns_that_are_no_scores_keep_their_unit():
    rows = [{"method": "linear", "minutes": [4.0, 5.0]}]
    assert "4.5\u00a0±\u00a00.7" in markdown_table(rows, plain=["minutes"])
    with pytest.raises(ValueError, match="'minutes' holds 5"):
        markdown_table(rows)


def test_a_table_needs_a_row():
    with pytest.raises(ValueError, match="at least one row"):
        results_table([])


LONG = [{"method": "masks and boxes, corrected for as many more steps", "verdict": "better",
         "difference": "+12.3 (-10.4 to +16.6)", "mIoU": [0.75, 0.77], "of": "10,000"},
        {"method": "masks alone", "verdict": "cannot tell: +0.1 (-0.2 to +0.4)",
         "difference": "–", "mIoU": [0.6, 0.62], "of": "24"}]
# Luminances of WCAG 2: what a text has over what lies behind it, transparent layers skipped.
LOOK = """
() => {
  const rgba = (colour) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d");
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const found = rgba(getComputedStyle(node).backgroundColor);
      if (found[3] === 255) return found;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  };
  const lines = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size;
  };
  return [...document.querySelectorAll("table th, table td")].map((node) => {
    const [text, back] = [light(rgba(getComputedStyle(node).color)), light(behind(node))];
    return {
      text: node.textContent, align: getComputedStyle(node).textAlign, lines: lines(node),
      contrast: (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05),
    };
  });
}
"""
PLAIN = "<style>:root { color-scheme: light dark }</style>"
# What JupyterLab and others say of tables.
LAB = """<style>body { color: #e0e0e0; background: #111 } td, th { text-align: right }
tbody tr:nth-child(odd) { background: #f5f5f5 }</style>"""


def book(scheme):
    """Return the start of a page of the book, with the styles of its theme, in light or dark."""
    import myst_nb
    import pydata_sphinx_theme
    import sphinx_book_theme

    sheets = [
        Path(pydata_sphinx_theme.__file__).parent
        / "theme/pydata_sphinx_theme/static/styles/pydata-sphinx-theme.css",
        Path(sphinx_book_theme.__file__).parent
        / "theme/sphinx_book_theme/static/styles/sphinx-book-theme.css",
        Path(myst_nb.__file__).parent / "static/mystnb.css",
        CHECKOUT / "notebooks/_static/book.css",
    ]
    styles = "".join(f"<style>{sheet.read_text(encoding='utf-8')}</style>" for sheet in sheets)
    return (f'<html data-theme="{scheme}" data-mode="{scheme}">{styles}<body>'
            '<main class="bd-content"><div class="bd-article cell"><div class="cell_output">'
            '<div class="output text_html">')


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("around", [lambda scheme: PLAIN, lambda scheme: LAB, book],
                         ids=["plain", "lab", "book"])
def test_a_browser_shows_numbers_right_text_left_and_no_broken_interval(
    page, tmp_path, around, scheme
):
    target = tmp_path / "page.html"
    tables = "".join(results_table(rows)._repr_html_() for rows in (LONG, ROWS))
    target.write_text(f'<!doctype html>{around(scheme)}<meta charset="utf-8">{tables}',
                      encoding="utf-8")
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(target.as_uri())
    cells = page.evaluate(LOOK)
    assert min(cell["contrast"] for cell in cells) >= 4.5
    right = {cell["text"].replace("\u00a0", " ") for cell in cells if cell["align"] == "right"}
    assert right == {"difference", "mIoU (%)", "of", "minutes", "+12.3 (-10.4 to +16.6)", "–",
                     "76.0 ± 1.4", "61.0 ± 1.4", "10,000", "24", "2.0", "4.2", "89.5"}
    assert {cell["align"] for cell in cells} == {"left", "right"}
    by_text = {cell["text"].replace("\u00a0", " "): cell["lines"] for cell in cells}
    assert by_text["masks and boxes, corrected for as many more steps"] > 1, "390 px are narrow"
    assert [by_text[text] for text in right - {"difference", "mIoU (%)"}] == [1] * (len(right) - 2)
    alone = page.evaluate("""() => {
      const cells = [...document.querySelectorAll("td")];
      const cell = cells.find((one) => /cannot/.test(one.textContent));
      const [text, range] = [cell.firstChild, document.createRange()];
      range.setStart(text, text.data.indexOf("+0.1"));
      range.setEnd(text, text.data.length);
      return range.getClientRects().length;
    }""")
    assert alone == 1, "an interval within a text broke"
