"""Names as text: one function per place where a character may mean more than itself.

Names of classes, files, runs and methods come from data and may hold anything: tags, Markdown,
formulas, control characters. Whatever shows one passes it through the function of the place:

===================  ==============================================================
:func:`visible`      a name, or a line, wherever text is shown as it is
:func:`terminal`     a message of several lines, for a terminal or a log file
:func:`shell`        a path in a command that the reader may copy
:func:`html`         the text or an attribute of a page
:func:`script_data`  data in a ``<script>`` element
:func:`markdown`     Markdown, also in a cell of a table
:func:`figure`       a text in a matplotlib figure
:func:`csv`          a cell for a spreadsheet
===================  ==============================================================
"""

from __future__ import annotations

import html as standard_html
import json
import re
import shlex
import unicodedata
from collections.abc import Iterable
from typing import Any

UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories: control, format (such as direction marks), surrogate, line and paragraph."""
JOINERS = "\u200c\u200d"
"""Format characters that words of some scripts, and emoji, are written with."""
IN_SCRIPT = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>&"})
IN_MARKDOWN = re.compile(
    r"[\\`*\[\]<>&|~$^]"
    r"|(?<!\w)_|_(?!\w)"  # within a word an underscore is just that
    r"|:(?=//)|(?<=www)\."  # addresses become links by themselves
    r"|^(?:[-+](?=\s|-|$)|[#=:%])"  # lists, rules, headings, directives, comments
)
NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
FORMULA = "=+-@＝＋－＠"


class Markdown(str):
    """Text that is Markdown already: :func:`markdown` leaves it as it is."""


def visible(text: object) -> str:
    r"""Return a text as one line in which characters that show nothing are written ``\x1b``.

    These are control characters, line breaks, marks of the writing direction and the bytes of a
    file name that is not UTF-8.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode("ascii")
        if unicodedata.category(one) in UNSEEN and one not in JOINERS else one
        for one in text
    )


def listed(names: Iterable[object]) -> str:
    """Return names for a sentence, each :func:`visible`, separated by commas."""
    return ", ".join(map(visible, names))


def terminal(text: object) -> str:
    """Return a message for the terminal: each of its lines :func:`visible`, tabs expanded."""
    return "\n".join(map(visible, str(text).expandtabs().split("\n")))


def shell(argument: object) -> str:
    """Return an argument of a command, such as a path for display, as a shell reads it."""
    text = visible(argument)
    quoted = shlex.quote(text)
    if quoted == text or set(text) & set('"$`\\!%'):
        return quoted
    return f'"{text}"'  # as Windows reads it too


def html(text: object) -> str:
    """Return a text for an HTML page, also within the quotes of an attribute."""
    return standard_html.escape(visible(text))


def script_data(data: Any) -> str:
    """Return data as JSON that no HTML parser takes for a tag, a comment or an entity."""
    return json.dumps(data, separators=(",", ":"), sort_keys=True).translate(IN_SCRIPT)


def markdown(text: object) -> str:
    """Return a text in Markdown (CommonMark, GitHub's tables, MyST); :class:`Markdown` as it is."""
    if isinstance(text, Markdown):
        return text
    return NUMBERED.sub(r"\1\\\2", IN_MARKDOWN.sub(r"\\\g<0>", visible(text)))


def figure(text: object) -> str:
    """Return a text for a figure whose style parses no formulas.

    matplotlib leaves names that begin with an underscore out of a legend: a space of no width goes
    before it.
    """
    text = visible(text)
    return f"\u200b{text}" if text.startswith("_") else text


def csv(value: Any) -> Any:
    """Return a cell for a spreadsheet: a text that it would compute begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.lstrip().startswith(tuple(FORMULA)) else text
