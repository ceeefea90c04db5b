"""The book's conclusions in its texts: sentences between markers, rendered from stored records.

A text holds ``<!-- finding: NAME -->`` on a line (or after a bullet), then the sentence, then
``<!-- end -->``. The names are those of ``semiseg_lib/studies/findings.yml``. The markers do not
show in any renderer.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import nbformat

from bookkit.description import BookError, rewrite
from bookkit.notebook import as_stored, numbered, write_notebook
from semiseg_lib import recipes
from semiseg_lib.core.escaping import markdown
from semiseg_lib.core.paths import CHECKOUT, shown
from semiseg_lib.studies import findings

SOURCES = CHECKOUT / "notebooks"
REGION = re.compile(
    r"^(?P<before>[#* \->]*)<!-- finding: (?P<name>[\w-]+) -->\n(?:.*\n)*?.*<!-- end -->",
    re.MULTILINE,
)
NAME = re.compile(r"<!-- finding: ([\w-]+) -->")
WIDTH = 98
"""Characters of a line of Markdown; a chapter's source puts ``# `` before it."""
COMMENT = "# "


def sentences(text: str, sentence: Callable[[str], str]) -> str:
    """Return a text with the sentence of each finding that it names.

    Args:
        text: Markdown, or the source of a chapter.
        sentence: from the name of a finding to its sentence.
    """
    def filled(found: re.Match[str]) -> str:
        before = found["before"]
        margin = re.sub(r"[-*]", " ", before)
        comment = COMMENT if before.startswith(COMMENT) else ""
        # A line that begins with a percent sign would be a comment of MyST.
        lines = textwrap.wrap(
            sentence(found["name"]).replace(" %", "\u00a0%"),
            WIDTH - len(margin.removeprefix(comment)),
            break_long_words=False, break_on_hyphens=False,
        )
        body = "".join(f"{margin}{line}\n" for line in lines).replace("\u00a0%", " %")
        return f"{before}<!-- finding: {found['name']} -->\n{body}{margin}<!-- end -->"

    return REGION.sub(filled, text)


def write() -> list[Path]:
    """Bring the sentences of README.md, of the pages and of the notebooks up to date.

    Returns:
        the files that changed.

    Raises:
        BookError: a text names a finding that is not there, or one without records.
    """
    said = _said(found([*texts(), *numbered(SOURCES, ".ipynb")]))
    changed = [page for page in texts()
               if rewrite(page, sentences(page.read_text(encoding="utf-8"), said))]
    for stored in numbered(SOURCES, ".ipynb"):
        notebook = nbformat.read(stored, as_version=4)
        old = [cell.source for cell in notebook.cells]
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = sentences(cell.source, said)
        if old != [cell.source for cell in notebook.cells]:
            write_notebook(as_stored(notebook), stored)
            changed.append(stored)
    return changed


def problems() -> Iterator[str]:
    """Yield which sentences are outdated, and which claims the records contradict.

    Raises:
        BookError: a text names a finding that is not there, or one without records.
    """
    answers = found(texts())
    said = _said(answers)
    for page in texts():
        text = page.read_text(encoding="utf-8")
        if sentences(text, said) != text:
            yield f"{shown(page)}: a conclusion is not that of the records: bookkit table --write"
    for answer in answers.values():
        if answer.contradiction:
            yield answer.contradiction


def found(pages: Iterable[Path]) -> dict[str, findings.Found]:
    """Return the findings that texts hold with what the records say, by name.

    Args:
        pages: README.md, pages, and sources or stored notebooks.

    Raises:
        BookError: a text names a finding that is not there, or one without records.
    """
    known, names = findings.all_findings(), set()
    for page in pages:
        for name in named(page):
            if name not in known:
                raise BookError(f"{shown(page)}: there is no finding {name!r}.")
            names.add(name)
    try:
        return findings.find_all(sorted(names), recipes.load("laptop"))
    except FileNotFoundError as error:
        raise BookError(f"A conclusion has no record. {error}") from error


def texts() -> list[Path]:
    """Return the files that may hold conclusions, but for the stored notebooks."""
    return [CHECKOUT / "README.md", *sorted(SOURCES.glob("*.md")), *numbered(SOURCES, ".py")]


def used() -> set[str]:
    """Return the names of the findings that a text holds."""
    return {name for page in texts() for name in named(page)}


def named(page: Path) -> list[str]:
    """Return the names of the findings that one text or stored notebook holds."""
    return NAME.findall(page.read_text(encoding="utf-8"))


def _said(answers: Mapping[str, findings.Found]) -> Callable[[str], str]:
    """Return the function from the name of a finding to its sentence."""
    return lambda name: markdown(answers[name].sentence)
