"""Rules for Markdown that GitHub, JupyterLab, VS Code, Colab and nbconvert show alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from markdown_it import MarkdownIt

ANSWER = re.compile(r"<details><summary>[^<>]+</summary>\n?|</details>\n?")
ROLE = re.compile(r"\{[\w:.-]+\}$")
ONLY_MYST = re.compile(r"^(:::|\+\+\+|\([\w-]+\)=|% )", re.MULTILINE)


def problems(text: str) -> Iterator[str]:
    """Yield what only the book's own HTML would show as meant, and answers that stand open."""
    depth = 0
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "fence" and token.info.startswith("{"):
            yield f"a directive that only the book understands: {token.info}"
        if found := ONLY_MYST.search(token.content if token.type == "inline" else ""):
            yield f"markup that only the book understands: {found[0]}"
        for before, after in pairwise(token.children or []):
            if after.type == "code_inline" and (role := ROLE.search(before.content)):
                yield f"a role that only the book understands: {role[0]}`{after.content}`"
        if token.type == "html_block" and "details" in token.content:
            if not ANSWER.fullmatch(token.content):
                yield ("an answer is <details><summary>TITLE</summary>, a blank line, Markdown, a "
                       f"blank line, </details>; not {token.content.strip()}")
            depth += -1 if token.content.startswith("</") else 1
            if depth not in (0, 1):
                yield "an answer begins within another, or ends twice"
    if depth:
        yield "an answer without an end"
