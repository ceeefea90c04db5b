"""The page of the command line: every command's own ``--help``, written when Sphinx reads the page.

The line ```` ```{commands} ```` of ``notebooks/command_line.md`` stands
for all of them, in the order of ``semiseg --help``.
"""

from __future__ import annotations

import contextlib
import io
import os
import textwrap
from collections.abc import Iterator
from unittest.mock import patch

from semiseg_lib import cli

PAGE, BLOCK = "command_line", "```{commands}\n```"
WIDTH = 74
BELOW = {
    "data": ("minivoc", "voc", "frames", "audit", "split"),
    "train": ("primary", "fixmatch"),
    "runs": ("prune",),
}
"""Commands with further commands, and those of them that the page shows."""


def help_of(*arguments: str) -> str:
    """Return what ``semiseg ARGUMENTS --help`` prints, as wide as a page."""
    printed = io.StringIO()
    environment = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "SEMISEG_PROFILE": "laptop"}
    with (patch.dict(os.environ, environment), contextlib.redirect_stdout(printed),
          contextlib.suppress(SystemExit)):
        cli.main([*arguments, "--help"])
    lines = printed.getvalue().strip().splitlines()
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
                     if len(line) > WIDTH else line.rstrip() for line in lines)


def fill(page: str) -> str:
    """Return the page with the block replaced by all commands."""
    return page.replace(BLOCK, "\n".join(_sections()))


def _sections() -> Iterator[str]:
    yield f"```text\n{help_of()}\n```\n"
    for name in cli.COMMANDS:
        yield f"## `semiseg {name}`\n\n```text\n{help_of(name)}\n```\n"
        for below in BELOW.get(name, ()):
            yield f"### `semiseg {name} {below}`\n\n```text\n{help_of(name, below)}\n```\n"
