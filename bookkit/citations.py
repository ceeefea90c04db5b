"""Citations: plain links in the sources, which every renderer shows, and cite roles in the book.

A citation is written ``[Holm (1979)](references.md#holm1979)``, or ``[(Holm, 1979)](...)`` in
parentheses. The key is an entry of ``notebooks/references.bib``, from which the text follows.
`references.md` lists all entries; the book puts its own bibliography there. This is a Sphinx
extension.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.plugin import find_plugin
from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

from bookkit.description import write_between
from semiseg_lib.core.paths import CHECKOUT

BIBLIOGRAPHY = CHECKOUT / "notebooks" / "references.bib"
PAGE = CHECKOUT / "notebooks" / "references.md"
START, END = "<!-- references:start -->", "<!-- references:end -->"
DIRECTIVE = "```{bibliography}\n:all:\n```"
LINK = re.compile(r"\[(?P<text>[^\[\]]*)\]\((?:\.\./)*references\.md#(?P<key>[^)\s]+)\)")


@dataclass
class RoundBrackets(AuthorYearReferenceStyle):
    """Reference style of the book: as `citation` writes them, in round brackets."""

    bracket_textual: BracketStyle = field(default_factory=lambda: BracketStyle("(", ")"))
    bracket_parenthetical: BracketStyle = field(default_factory=lambda: BracketStyle("(", ")"))


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx read citations as roles, and show them in round brackets."""
    register_plugin("sphinxcontrib.bibtex.style.referencing", "round", RoundBrackets)
    app.connect("source-read", read)
    return {"parallel_read_safe": True}


def read(_app: Any, _name: str, source: list[str]) -> None:
    """Replace citations by roles and the list of references by the bibliography, in place."""
    source[0] = as_roles(source[0])


def as_roles(source: str) -> str:
    """Return a page, or a notebook's JSON, with the roles that sphinxcontrib-bibtex knows."""
    source = LINK.sub(
        lambda link: f"{{cite:{'p' if link['text'].startswith('(') else 't'}}}`{link['key']}`",
        source,
    )
    return re.sub(f"{START}.*{END}", lambda _: DIRECTIVE, source, flags=re.DOTALL)


@cache
def bibliography() -> BibliographyData:
    """Return the entries of ``references.bib``."""
    return parse_file(BIBLIOGRAPHY)


def citation(key: str, parenthetical: bool = False) -> str:
    """Return a citation as it is written in a source.

    Raises:
        KeyError: the bibliography has no such entry.
    """
    entry = bibliography().entries[key]
    names, year = _names(entry), entry.fields["year"]
    text = f"({names}, {year})" if parenthetical else f"{names} ({year})"
    return f"[{text}](references.md#{key})"


def _names(entry: Entry) -> str:
    last = [" ".join(map(str, [*person.rich_prelast_names, *person.rich_last_names]))
            for person in entry.persons["author"]]
    return f"{last[0]} et al." if len(last) > 2 else " and ".join(last)


def problems(text: str) -> Iterator[str]:
    """Yield the citations of a Markdown text that differ from the bibliography."""
    for link in LINK.finditer(text):
        if link["key"] not in bibliography().entries:
            yield f"references.bib has no entry {link['key']}"
        elif " ".join(link["text"].split()) not in (
            allowed := [LINK.match(citation(link["key"], form))["text"] for form in (False, True)]
        ):
            yield f"the citation {link['text']!r} should be {' or '.join(map(repr, allowed))}"


def reference_list() -> str:
    """Return all references as a Markdown list, by author; each has its key as anchor."""
    style = find_plugin("pybtex.style.formatting", "alpha")()
    backend = find_plugin("pybtex.backends", "markdown")()
    lines = []
    for entry in style.format_bibliography(bibliography()):
        text = re.sub(r"\\([-.()])", r"\1", entry.text.render(backend))  # escaped without need
        lines.append(f'- <a id="{entry.key}"></a>{" ".join(text.split())}')
    return "\n".join(lines)


def write_page() -> bool:
    """Update the list of references.md; return True if the page changed."""
    return write_between(PAGE, START, reference_list(), END)
