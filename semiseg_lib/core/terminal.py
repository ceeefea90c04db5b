"""What the library says while it works: messages and progress bars, in which names are text."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

from semiseg_lib.core import escaping


def say(message: object = "", file: TextIO | None = None) -> None:
    """Print a message above any progress bar.

    Args:
        message: its text, of one or several lines.
        file: where to; None for standard output.
    """
    file = file or sys.stdout
    tqdm.write(escaping.terminal(message), file=file)
    file.flush()


def say_once(message: object) -> None:
    """Print a message on the main process of a job only."""
    from accelerate import PartialState  # takes half a second, and most callers have it

    if PartialState().is_main_process:
        say(message)


def progress_bar(iterable: Iterable | None = None, desc: str | None = None, **options: Any) -> tqdm:
    """Return a progress bar; the arguments are tqdm's."""
    return tqdm(iterable, None if desc is None else escaping.visible(desc), **options)
