"""What the library says while it works: remarks, results and progress bars; names are text."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from semiseg_lib.core import escaping


@dataclass(frozen=True)
class Style:
    """How a command writes.

    Attributes:
        quiet: only results and warnings; no progress bars and no remarks.
        json: a result is one JSON document on standard output; remarks go to standard error.
    """

    quiet: bool = False
    json: bool = False


_styles = [Style()]


@contextmanager
def written_as(style: Style) -> Iterator[None]:
    """Write in a style for as long as the context lasts."""
    _styles.append(style)
    try:
        yield
    finally:
        _styles.pop()


def write_utf8() -> None:
    """Write UTF-8 also where a console or a redirected file asks for a Windows code page."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")


def say(message: object = "", file: TextIO | None = None) -> None:
    """Print a remark above any progress bar.

    Args:
        message: its text, of one or several lines.
        file: sys.stderr for a warning, which is always printed; None for any other remark.
    """
    style = _styles[-1]
    if file is None and style.quiet:
        return
    _write(message, file or (sys.stderr if style.json else sys.stdout))


def say_once(message: object) -> None:
    """Print a remark on the main process of a job only."""
    from accelerate import PartialState  # takes half a second, and most callers have it

    if PartialState().is_main_process:
        say(message)


def give(result: Mapping[str, Any], text: object) -> None:
    """Print what a command was asked for, on standard output whatever the style.

    Of the processes of a job the main one prints it.

    Args:
        result: the same for a machine, under keys such as ``mean_iou``: numbers in full precision,
            shares and scores as fractions in [0, 1], absolute paths; None for what is not known; a
            number that is not finite becomes null.
        text: for a person.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    if _styles[-1].json:
        _write(json.dumps(_plain(result), indent=1, allow_nan=False), sys.stdout)
    else:
        _write(text, sys.stdout)


@contextmanager
def open_streams() -> Iterator[None]:
    """Let the work go on where nobody reads: a stream is closed, or the reader of remarks left.

    A daemon and ``pythonw`` have no streams; ``2> >(head)`` ends before the last bar is drawn.
    """
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, \
            redirect_stdout(sys.stdout or nowhere), \
            redirect_stderr(_Unread(sys.stderr or nowhere)):
        yield


class _Unread(io.TextIOBase):
    """Stream whose output is lost where nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with suppress(BrokenPipeError):
            return self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(BrokenPipeError):
            self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def encoding(self) -> str:
        return self.stream.encoding


def flush() -> None:
    """Write out what standard output holds back; raise BrokenPipeError if nobody reads it."""
    sys.stdout.flush()


def discard_output() -> None:
    """Send what is still written to standard output nowhere, so that the exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def progress_bar(iterable: Iterable | None = None, desc: str | None = None, **options: Any) -> tqdm:
    """Return a progress bar; the arguments are tqdm's."""
    if _styles[-1].quiet:
        options["disable"] = True
    return tqdm(iterable, None if desc is None else escaping.visible(desc), **options)


def _write(message: object, file: TextIO) -> None:
    tqdm.write(escaping.terminal(message), file=file)
    file.flush()


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value.absolute())
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
