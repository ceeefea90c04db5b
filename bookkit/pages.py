"""Pages that are written when Sphinx reads them: public names, command line, recipes.

This is a Sphinx extension.
"""

from __future__ import annotations

import re
from typing import Any

from bookkit import api, command_line, recipes

FILLED = {page.PAGE: page.fill for page in (api, command_line, recipes)}
"""By page: what turns its source into the whole page."""


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx fill these pages when it reads them."""
    app.connect("source-read", read)
    app.connect("autodoc-process-signature", shorten)
    app.connect("html-page-context", mend_source_page)
    return {"parallel_read_safe": True}


def read(_app: Any, name: str, source: list[str]) -> None:
    """Replace the source of a page by the whole page, in place."""
    if name in FILLED:
        source[0] = FILLED[name](source[0])


def mend_source_page(_app: Any, name: str, _template: str, context: dict, _tree: Any) -> None:
    """Take the links out of a page of source that lead to no entry, in place.

    Sphinx knows one name for each file; the page of public names has several.
    """
    if name.startswith("_modules/"):
        body = re.sub(r'<a class="viewcode-back"[^>]*>.*?</a>', "", context["body"])
        context["body"] = re.sub(r'<li><a href="builtins\.html">.*?</li>\n?', "", body)


def shorten(*event: Any) -> tuple[str | None, str | None]:
    """Write defaults that are not Python, such as ``<function scored>``, as ``...``."""
    signature, returned = event[-2:]
    return signature and re.sub(r"<[^<>]*>", "...", signature), returned
