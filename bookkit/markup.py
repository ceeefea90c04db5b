"""Rules for Markdown that GitHub, JupyterLab, VS Code, Colab and nbconvert show alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ANSWER = re.compile(r"<details><summary>[^<>]+</summary>\n?|</details>\n?")
ROLE = re.compile(r"\{[\w:.-]+\}$")
ONLY_MYST = re.compile(
    r"^(?::::|\+\+\+|\([\w-]+\)=|% |: )"  # a fence, a break, a target, a remark, a definition
    r"|\$\$ *\([\w:.-]+\)"  # an equation with a label
    r"|\[\^[\w-]+\]"  # a footnote
    r"|(?<![\w^_\\{}])\{\{ *[\w.]+ *\}\}",  # a substitution
    re.MULTILINE,
)


def problems(text: str) -> Iterator[str]:
    """Yield what only the book's own HTML would show as meant, and answers that stand open."""
    depth = 0
    for token in _tokens(text):
        if token.type == "fence" and token.info.strip().startswith("{"):
            yield f"a directive that only the book understands: {token.info.strip()}"
        if found := ONLY_MYST.search(_without_code(token)):
            yield f"markup that only the book understands: {found[0]}"
        for before, after in pairwise(token.children or []):
            if after.type == "code_inline" and (role := ROLE.search(before.content)):
                yield f"a role that only the book understands: {role[0]}`{after.content}`"
            if (before.type, after.type) == ("link_open", "link_close"):
                yield f"a link without a text, which only the book fills in: {before.attrs['href']}"
        if token.type == "html_block" and "details" in token.content.lower():
            if not ANSWER.fullmatch(token.content):
                yield ("an answer is <details><summary>TITLE</summary>, a blank line, Markdown, a "
                       f"blank line, </details>; not {token.content.strip()}")
            depth += -1 if token.content.startswith("</") else 1
            if depth not in (0, 1):
                yield "an answer begins within another, or ends twice"
    if depth:
        yield "an answer without an end"


def linked_files(text: str) -> Iterator[str]:
    """Yield the relative paths of the pages and pictures to which a text leads; no notebooks."""
    for token in _tokens(text):
        for part in token.children or []:
            target = urlsplit(str(part.attrs.get("href") or part.attrs.get("src") or ""))
            if target.path and not target.scheme and not target.path.endswith(".ipynb"):
                yield target.path


def _tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def _without_code(token: Token) -> str:
    """Return the text of a paragraph, a heading or a cell; code in it is left out."""
    return "".join("\n" if part.type.endswith("break") else "`" if part.type == "code_inline"
                   else part.content for part in token.children or [])
