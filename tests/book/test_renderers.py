"""Chapters and pages read well where nobody knows MyST: GitHub, JupyterLab, VS Code, nbconvert."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbconvert import HTMLExporter

from bookkit import api, citations, command_line, load, markup, recipes
from bookkit.gates import first_difference

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CHAPTERS = [chapter.file for chapter in load().chapters]
NOTEBOOK_FILES = [one.file for one in load().notebooks]
PAGES = sorted(path.stem for path in NOTEBOOKS.glob("*.md"))
GENERATED = {
    api.PAGE: ("{public-names}", "{opened-files}"), command_line.PAGE: ("{commands}",),
    recipes.PAGE: ("{recipes}",),
}
ROLE = re.compile(r"\{cite:[pt]\}`(\w+)`")


VERBATIM = ("pre", "script", "style")


class Answers(HTMLParser):
    """The text of a page inside each answer and outside of all, and answers that stand open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.inside: list[str] = []
        self.outside = ""
        self.open = self.verbatim = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag in ("details", "summary"):
            assert tag == "summary" or not self.stack, "an answer within an answer"
            self.stack.append(tag)
        if tag == "details":
            self.inside.append("")
            self.open += "open" in dict(attributes)
        self.verbatim += tag in VERBATIM

    def handle_endtag(self, tag):
        if tag in ("details", "summary"):
            assert self.stack.pop() == tag
        self.verbatim -= tag in VERBATIM

    def handle_data(self, data):
        if self.verbatim:
            return
        if not self.stack:
            self.outside += data
        elif self.stack == ["details"]:
            self.inside[-1] += data


def prose(name: str) -> list[str]:
    """Return the Markdown cells of a chapter."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("name", NOTEBOOK_FILES)
def test_nbconvert_shows_a_notebook_as_it_is_meant(name):
    """With its code and outputs, whose source is not looked at for signs of Markdown."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    text, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    shown = Answers(text)
    assert shown.stack == [] and shown.open == 0
    assert len(shown.inside) == "".join(prose(name)).count("<details>")
    assert shown.inside or name not in CHAPTERS
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert cell.source and "<details" not in output.get("data", {}).get("text/html", "")
    assert all(len(answer.split()) > 3 for answer in shown.inside)
    for sign in ("{cite", "```", ":::", "<details", "</details", "**"):
        assert sign not in shown.outside + "".join(shown.inside), sign


@pytest.mark.parametrize("name", NOTEBOOK_FILES)
def test_a_chapter_needs_no_myst_and_cites_what_the_bibliography_says(name):
    for text in prose(name):
        assert [*markup.problems(text), *citations.problems(text)] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_needs_no_myst_but_for_what_is_filled_in(name):
    text = (NOTEBOOKS / f"{name}.md").read_text(encoding="utf-8")
    filled_in = GENERATED.get(name, ())
    found = [one for one in markup.problems(text) if not any(block in one for block in filled_in)]
    assert [*found, *citations.problems(text)] == []


@pytest.mark.parametrize("name", NOTEBOOK_FILES)
def test_a_chapter_and_its_notebook_hold_the_same_through_jupytext(name):
    source = (NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8")
    notebook = jupytext.reads(source, fmt="py:percent")
    stored = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    written = jupytext.reads(jupytext.writes(stored, fmt="py:percent"), fmt="py:percent")
    assert first_difference(notebook, stored) == first_difference(written, stored) == ""


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_book_reads_every_link_to_a_reference_as_a_role(name):
    """Also in the JSON of a notebook, which stays JSON."""
    texts = prose(name)
    keys = re.findall(r"references\.md#(\w+)", "".join(texts))
    read = json.loads(citations.as_roles((NOTEBOOKS / f"{name}.ipynb").read_text("utf-8")))
    cells = ["".join(cell["source"]) for cell in read["cells"] if cell["cell_type"] == "markdown"]
    assert ROLE.findall("".join(cells)) == keys
    assert "references.md#" not in "".join(cells) and len(cells) == len(texts)


def test_citations_become_the_roles_of_their_form():
    text = ("See [Holm (1979)](references.md#holm1979) [(Tan and\nLe, 2019)]"
            "(../references.md#tan2019efficientnet) and the [references](references.md).")
    assert citations.as_roles(text) == (
        "See {cite:t}`holm1979` {cite:p}`tan2019efficientnet` and the [references](references.md).")
    key = "oord2018cpc"
    assert citations.citation(key) == f"[van den Oord et al. (2018)](references.md#{key})"
    assert citations.citation("orsic2019swiftnet", True).startswith("[(Oršić et al., 2019)](")


@pytest.mark.parametrize(("text", "problem"), [
    ("[Holm (1978)](references.md#holm1979)", "should be 'Holm (1979)' or '(Holm, 1979)'"),
    ("[Holm (1979)](references.md#holm)", "no entry holm"),
])
def test_a_citation_that_differs_from_the_bibliography_is_noticed(text, problem):
    assert problem in next(citations.problems(text))


def test_the_page_of_references_lists_every_entry_under_its_key():
    page = citations.PAGE.read_text(encoding="utf-8")
    assert f"{citations.START}\n{citations.reference_list()}\n{citations.END}" in page
    assert set(re.findall(r'<a id="(\w+)">', page)) == set(citations.bibliography().entries)
    assert citations.DIRECTIVE in citations.as_roles(page)
    assert '<a id="' not in citations.as_roles(page)


@pytest.mark.parametrize(("text", "problem"), [
    ("See {cite:p}`holm1979`.", "a role that only the book understands: {cite:p}`holm1979`"),
    ("```{dropdown} Answer\n3\n```", "a directive that only the book understands: {dropdown}"),
    (":::{note}\n3\n:::", "markup that only the book understands: :::"),
    ("(here)=\n# Heading", "markup that only the book understands: (here)="),
    ("+++\n\ntext", "markup that only the book understands: +++"),
    ("``` {note}\n3\n```", "a directive that only the book understands: {note}"),
    ("$$x$$ (eq:1)", "markup that only the book understands: $$ (eq:1)"),
    ("Text.[^1]\n\n[^1]: A note.", "markup that only the book understands: [^1]"),
    ("Term\n: What it means", "markup that only the book understands: : "),
    ("It takes {{ minutes }} minutes.", "markup that only the book understands: {{ minutes }}"),
    ("See [](page.md).", "a link without a text, which only the book fills in: page.md"),
    ("<DETAILS open><summary>Answer</summary>\n\n3\n\n</DETAILS>", "not <DETAILS open>"),
    ("<details open><summary>Answer</summary>\n\n3\n\n</details>", "not <details open>"),
    ("<details><summary>Answer</summary>\n3\n\n</details>", "a blank line"),
    ("<details><summary>Answer</summary>\n\n3", "an answer without an end"),
    ("3\n\n</details>", "ends twice"),
])
def test_markup_that_shows_elsewhere_otherwise_is_noticed(text, problem):
    assert any(problem in found for found in markup.problems(text))


def test_plain_markup_passes():
    answer = "1. $x_{i}$, $x_{{i}}$ `[^1] {{ a }}`\n\n"
    answer += "   ```python\n   {1: 2}\n   ```\n\n| a |\n|---|\n| `{b}` |"
    text = f"> `a/{{b}}`.\n\n<details><summary>Answer</summary>\n\n{answer}\n\n</details>"
    assert [*markup.problems(text)] == []
