"""Whatever shows a name shows its text: every table, widget, figure and page of the builder.

The surfaces are found, not listed from memory: a new one that nothing here tries fails a test.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import pkgutil
import re
import typing
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hostile import (
    FEW,
    NAMES,
    SHOWN,
    Page,
    assert_is_safe_in_a_spreadsheet,
    assert_is_text_for_a_terminal,
    cells_of_markdown,
    make_widgets,
)
from matplotlib.figure import Figure
from matplotlib.text import Text

import bookkit
import semiseg_lib
from bookkit import Book, Chapter, Part, chapter_table, results
from semiseg_lib import recipes
from semiseg_lib.cli import compare
from semiseg_lib.core import escaping
from semiseg_lib.notebook import plots
from semiseg_lib.notebook import widgets as notebook_widgets
from semiseg_lib.notebook.plots.style import png_bytes
from semiseg_lib.notebook.tables import Table, markdown_table, results_table
from semiseg_lib.notebook.widgets import StaticWidget
from semiseg_lib.studies import Records
from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.comparison import Comparison, Row
from semiseg_lib.studies.entries import Entry

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for package in ("semiseg_lib", "bookkit")
                 for path in (CHECKOUT / package).rglob("*.py"))
TAG = re.compile(r"</?(a|b|code|div|i|img|li|p|pre|script|span|style|svg|table|t[dhr]|ul)\b[^>]*>")
SHOWS_ITSELF = re.compile(r"_repr_\w+_|_ipython_display_")


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield the last word of the name of each function that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def places(*functions: str) -> set[str]:
    """The files that call one of these functions."""
    return {name_of(path) for path in SOURCES
            if any(name in functions for name, _ in calls(tree_of(path)))}


# The surfaces are all there.


def everything_defined() -> Iterator[type]:
    for package in (semiseg_lib, bookkit):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.endswith("__main__"):
                continue
            for value in vars(importlib.import_module(found.name)).values():
                if inspect.isclass(value) and value.__module__ == found.name:
                    yield value


def test_every_class_that_shows_itself_is_tried_here():
    found = {one for one in everything_defined() if any(map(SHOWS_ITSELF.fullmatch, vars(one)))}
    assert found == {Table, StaticWidget}


@pytest.fixture(scope="module")
def widgets() -> dict[str, StaticWidget]:
    return make_widgets()


def test_every_widget_is_tried_here(widgets):
    found = {one.__name__ for one in everything_defined()
             if issubclass(one, StaticWidget) and one is not StaticWidget}
    assert found == widgets.keys()


def test_every_figure_is_tried_here():
    found = {name for name in plots.__all__
             if typing.get_type_hints(getattr(plots, name)).get("return") is Figure}
    assert found == FIGURES.keys()


@pytest.mark.parametrize(("functions", "expected"), [
    (("to_html",), {"semiseg_lib/notebook/tables.py",
                    "semiseg_lib/notebook/widgets/static_widget.py"}),
    (("to_csv", "writer", "DictWriter", "to_excel"), {"semiseg_lib/cli/compare.py"}),
    (("to_markdown", "to_latex", "HTML", "Markdown", "Javascript", "display"),
     # escaping.Markdown: what the authors wrote
     {"bookkit/description.py", "bookkit/recipes.py",
      "semiseg_lib/notebook/tables.py"}),  # a Table, as at the end of a cell
    (("publish_display_data",), {"semiseg_lib/notebook/plots/style.py"}),
    (("write_between",), {"bookkit/build.py", "bookkit/citations.py", "bookkit/description.py",
                          "bookkit/results.py"}),
    (("markdown_table",), {"bookkit/results.py"}),
    (("set_title", "set_ylabel", "set_yticks", "set_xticks", "suptitle"),
     {f"semiseg_lib/notebook/plots/{name}.py"
      for name in ("charts", "intervals", "scatter", "side_by_side")}),
    (("warn",), {"semiseg_lib/experiments/trained.py"}),
])
def test_what_writes_a_format_stands_where_it_is_tried(functions, expected):
    assert places(*functions) == expected


def test_only_one_file_prints():
    """``say`` and ``progress_bar`` are the ways to the terminal: they pass text alone."""
    ways = re.compile(r"print|pprint|tqdm|tqdm\.write|sys\.(__)?std(out|err)(__)?\.\w+|.*\.print")
    found = {name_of(path) for path in SOURCES for _, node in calls(tree_of(path))
             if ways.fullmatch(ast.unparse(node.func))}
    assert found == {"semiseg_lib/core/terminal.py"}


def test_only_one_file_writes_tags():
    found = set()
    for path in SOURCES:
        tree = tree_of(path)
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        if any(isinstance(node, ast.Constant) and isinstance(node.value, str)
               and id(node) not in docs and TAG.search(node.value) for node in ast.walk(tree)):
            found.add(name_of(path))
    assert found == {
        "semiseg_lib/notebook/widgets/static_widget.py",
        "bookkit/citations.py",  # anchors named by the keys of the book's own bibliography
        "bookkit/pages.py",  # takes links out of pages of source
    }


def test_no_chapter_shows_markup_of_its_own():
    """A chapter shows tables, figures and widgets of the library; printed text a page escapes."""
    chapters = sorted((CHECKOUT / "notebooks").glob("[0-9]*.py"))
    marked = {"HTML", "Markdown", "Javascript", "Latex", "SVG", "display", "to_html"}
    assert len(chapters) > 15
    for path in chapters:
        assert not marked & {name for name, _ in calls(tree_of(path))}, path.name


def test_no_script_makes_markup_or_code_of_text():
    scripts = sorted((CHECKOUT / "semiseg_lib").rglob("*.js"))
    dangerous = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|"
                           r"new Function|createContextualFragment|srcdoc|setAttribute\(\"on")
    assert len(scripts) > 10
    assert {path.name for path in scripts if dangerous.search(path.read_text("utf-8"))} == set()


IS_A_PATH = re.compile(r"(.*[._])?(path|root|folder|file|target|source|where|out)")


def test_a_message_shows_a_path_on_one_line():
    """Paths in messages go through ``shown``: a file's name may hold anything."""
    found = []
    for path in SOURCES:
        tree = tree_of(path)
        heads = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
        heads += [node for name, node in calls(tree)
                  if name in ("say", "say_once", "Finding", "Damaged", "damaged", "warn")]
        for node in (inner for head in heads for inner in ast.walk(head)):
            if not isinstance(node, ast.FormattedValue) or node.conversion == ord("r"):
                continue
            is_joined = isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Div)
            if IS_A_PATH.fullmatch(ast.unparse(node.value)) or (is_joined and not node.format_spec):
                found.append(f"{name_of(path)}: {ast.unparse(node.value)}")
    assert set(found) <= TEXT_ALREADY, "show it with core.paths.shown"


TEXT_ALREADY = {
    "bookkit/description.py: where",  # made by shown
    "bookkit/build.py: chapter.file", "bookkit/description.py: chapter.file",  # NN_a_word
    "semiseg_lib/datasets/acquire/frames.py: where", "semiseg_lib/datasets/dataset.py: where",
    "semiseg_lib/models/encoders.py: where",
}


# Tables.


def rows() -> list[dict]:
    """One row per name, which is its first cell and its last; every name is a title too."""
    return [{"name": name, "score": [0.5, 0.6], "again": name} for name in NAMES] + [
        {name: "x" for name in NAMES}]


def test_a_table_is_text_in_a_notebook():
    page = Page(results_table(rows())._repr_html_())
    assert {tag for tag, _ in page.tags} == {"style", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.handlers == []
    titles = ["name", "score (%)", "again", *SHOWN]
    assert page.cells[:len(titles)] == titles
    assert page.cells[len(titles)::len(titles)][:len(NAMES)] == SHOWN
    assert page.cells[len(titles) + 2::len(titles)][:len(NAMES)] == SHOWN


def test_a_table_is_text_in_a_terminal():
    text = repr(results_table(rows()))
    assert_is_text_for_a_terminal(text)
    lines = text.splitlines()
    assert len(lines) == 2 + len(NAMES) + 1
    for line, shown in zip(lines[2:], SHOWN, strict=False):
        assert line.startswith(f"| {shown} ") and line.count(f"| {shown} ") == 2


def test_a_table_is_text_in_markdown():
    cells = cells_of_markdown(markdown_table(rows()))
    assert cells[:3 + len(NAMES)] == ["name", "score (%)", "again", *SHOWN]
    width = 3 + len(NAMES)
    assert cells[width::width][:len(NAMES)] == SHOWN


# Widgets.


def names_in(widget: StaticWidget) -> list[str]:
    """The names that a widget sends to its script."""
    payload = widget.payload()
    return payload.get("rounds") or payload.get("kinds") or payload["classes"][1:]


@pytest.mark.parametrize("name", [name for name in notebook_widgets.__all__
                                  if name != "StaticWidget"])
def test_a_widgets_data_stay_data(widgets, name):
    widget = widgets[name]
    bundle, *_ = widget._repr_mimebundle_()
    page = Page(bundle["text/html"])
    assert [tag for tag, _ in page.tags] == [
        "style", "div", "img", "noscript", "p", "script", "script"]
    assert page.handlers == [] and len(page.scripts) == 2
    assert json.loads(page.scripts[0]) == json.loads(json.dumps(widget.payload()))
    assert page.tags[2][1]["alt"] == page.tags[1][1]["aria-label"] == widget.text()
    assert names_in(widget) == [escaping.visible(name) for name in FEW]
    for text in (repr(widget), bundle["text/plain"]):
        assert_is_text_for_a_terminal(text)
    assert not {"text/markdown", "text/latex", "application/javascript"} & bundle.keys()


# Figures.


def draw(call):
    """Draw a figure in which no character and no entry of a legend is missing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*Glyph|.*label")
        warnings.filterwarnings("ignore", "constrained_layout not applied")  # long names
        figure = call()
        assert png_bytes(figure).startswith(b"\x89PNG")
    return figure


PLAIN = np.eye(20, 24, dtype=np.uint8)
FIGURES = {
    "curves": lambda names: plots.curves({name: [(0, 1), (1, 2)] for name in names}, *names[:2]),
    "alpha_schedules": lambda names: plots.alpha_schedules(
        {name: ([0, 1], [1, 2]) for name in names}),
    "confusion": lambda names: plots.confusion(np.eye(len(names)), names),
    "class_bars": lambda names: plots.class_bars({name: [0.5] * len(names) for name in names},
                                                 names),
    "dots_with_intervals": lambda names: plots.dots_with_intervals(
        {name: [1, 2] for name in names}, names[0]),
    "paired_differences": lambda names: plots.paired_differences(
        {name: [1, 2] for name in names}, names[0]),
    "score_against_cost": lambda names: plots.score_against_cost(
        {name: {1: [1, 2]} for name in names}, *names[:2]),
    "gallery": lambda names: plots.gallery(
        {name: [PLAIN] * 2 for name in names}, names, rows_titles=names[:2]),
}


@pytest.mark.parametrize("chunk", [NAMES[start:start + 7] for start in range(0, len(NAMES), 7)])
@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_figure_writes_names_as_they_are(name, chunk):
    figure = draw(lambda: FIGURES[name](chunk))
    texts = [one for one in figure.findobj(Text) if one.get_text()]
    written = [one.get_text().removeprefix("\u200b") for one in texts]
    assert {escaping.visible(one) for one in chunk} <= set(written)
    assert not any(one.get_parse_math() for one in texts)


def test_a_figures_description_is_text(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEMISEG_WORK", str(tmp_path))
    plots.show(plots.curves({"a": [(0, 1)]}, "x", "y"), alt=f"Lines: {'; '.join(NAMES)}")
    assert_is_text_for_a_terminal(capsys.readouterr().out)
    assert matplotlib.rcParams["text.parse_math"], "the style is the book's figures' alone"


# The comparison: a table in the terminal, Markdown, a spreadsheet.


def compared() -> Comparison:
    rows = {
        name: Row(Entry(name, name, name, name), {1: 50.0 + i, 2: 60.0, 3: 55.0 - i},
                  steps=name, measured={"minutes": [1.0]})
        for i, name in enumerate(("longer", *NAMES))
    }
    missing = {"x": Entry(NAMES[0], NAMES[1], NAMES[2])}
    return Comparison("minivoc", recipes.load("laptop"), rows, missing)


def test_a_comparison_is_text_everywhere():
    found = compared()
    text = compare.as_text(found, NAMES[1])
    assert_is_text_for_a_terminal(text)
    assert all(shown in text for shown in SHOWN)
    cells = cells_of_markdown(compare.as_text(found, NAMES[1], escape=escaping.markdown))
    assert set(SHOWN) <= set(cells) and f"minus {SHOWN[1]}" in cells


def test_a_comparison_in_a_spreadsheet_holds_no_formula():
    rows = compare.as_rows(compared(), NAMES[11])
    text = compare.as_csv(rows)
    cells = assert_is_safe_in_a_spreadsheet(text)
    assert [row[1] for row in cells[2:]] == [escaping.csv(name) for name in NAMES]
    assert {cells[0][1], cells[0][-1]} == {"text", "minutes_last_stage"}
    place = cells[0].index("minus")
    assert {row[place] for row in cells[1:]} == {"", escaping.csv(NAMES[11])}
    read = pd.read_csv(io.StringIO(text))
    assert read["mean_iou"].tolist() == [row["mean_iou"] for row in rows]
    assert read["row"].tolist() == [row[0] for row in cells[1:]]


@pytest.mark.parametrize("package", [
    one.name for one in pkgutil.walk_packages(semiseg_lib.__path__, "semiseg_lib.")
    if one.ispkg and hasattr(importlib.import_module(one.name), "__getattr__")
] + ["semiseg_lib"])
def test_a_name_that_a_package_has_not_is_told_as_text(package):
    with pytest.raises(AttributeError) as raised:
        getattr(importlib.import_module(package), "\x1b[31mred")
    assert package in str(raised.value) and r"\x1b[31mred" in str(raised.value)
    assert_is_text_for_a_terminal(str(raised.value))


# What the builder writes.


def test_the_table_of_chapters_is_text():
    chapters = tuple(Chapter(f"{i:02d}_a", name, name, {"smoke": 1.0, "laptop": 1.0})
                     for i, name in enumerate(NAMES))
    book = Book("", "", "", {}, (Part("", chapters),), "", ())
    cells = cells_of_markdown(chapter_table(book), authored=("link", "strong"))
    assert cells[6::5][:len(NAMES)] == SHOWN and cells[7::5][:len(NAMES)] == SHOWN
    links = re.findall(r"\]\(([^)]*)\)", chapter_table(book).replace("\\]", ""))
    assert [one for one in links if one.startswith("notebooks/")] == [
        f"notebooks/{chapter.file}.ipynb" for chapter in chapters]


def test_the_pages_of_results_are_text(monkeypatch):
    machine = {"device": "cpu", "gpu": "", "threads": 1, "processes": 1, "cpu": NAMES[0],
               "instructions": NAMES[5], "overrides": {}, "libraries": {"torch": NAMES[11]}}
    arms = {name: Arm(name, lambda profile, seed: None, labelled=100) for name in NAMES}
    made = Records([{"arm": name, "seed": 1, "test": 50.0,
                     "made with": [{"machine": machine, "code": NAMES[7]}],
                     "commit": NAMES[7]} for name in NAMES],
                   "laptop")
    monkeypatch.setattr(results.studies, "read", lambda name, profile: made)
    monkeypatch.setitem(results.studies.STUDIES, "photographs", arms)
    monkeypatch.setattr(results.comparison, "read", lambda *_: replace(compared(), missing={}))
    cells = cells_of_markdown(results.measured("laptop"), authored=("strong",))
    assert set(SHOWN) <= set(cells)
    assert any(SHOWN[0] in cell and SHOWN[5] in cell and SHOWN[7] in cell for cell in cells)
    assert set(SHOWN) <= set(cells_of_markdown(results.compared()))
