"""Checks in the chapters: of the book's claims and of exercises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from semiseg_lib.core.terminal import say
from semiseg_lib.evaluation.statistics import mean_and_interval

YOUR_TURN = "your turn"
"""What the NotImplementedError of an exercise says that the reader has not written yet."""


class ClaimFailed(AssertionError):
    """Error for a claim of the book that this run does not confirm."""


@dataclass(frozen=True)
class Claim:
    """One sentence of the book with the bounds that confirm it.

    Attributes:
        name: its key in ``claims.yml``.
        text: the sentence.
        low, high: bounds of the mean over seeds; None for no bound.
        interval_above: lower bound of the whole 95 % interval; None for no bound.
    """

    name: str
    text: str
    low: float | None = None
    high: float | None = None
    interval_above: float | None = None


CLAIMS_FILE = Path(__file__).with_name("claims.yml")


def read_claims(path: Path = CLAIMS_FILE) -> dict[str, Claim]:
    """Return all claims of the book, by name.

    Args:
        path: a file like ``claims.yml``.
    """
    entries = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    return {name: Claim(name, **entry) for name, entry in entries.items()}


def claim(name: str, values: Sequence[float], asserts_claims: bool) -> None:
    """Print a claim and the result of this run; raise ClaimFailed if they disagree.

    Args:
        name: the claim's key in ``claims.yml``.
        values: one value per seed; for a paired claim the difference per seed.
        asserts_claims: the profile's; if False, only print, since short runs show nothing.

    Raises:
        KeyError: ``name`` is not a claim.
        ClaimFailed: the mean or the interval is out of bounds.
    """
    promised = read_claims()[name]
    found = mean_and_interval(list(values))
    shown = (f"mean {found.mean:.1f}, 95 % interval {found.low:.1f} to {found.high:.1f}, "
             f"{found.runs} seeds")
    expected = _expected(promised)
    problems = [
        promised.low is not None and not found.mean >= promised.low,
        promised.high is not None and not found.mean <= promised.high,
        promised.interval_above is not None and not found.low > promised.interval_above,
    ]
    if not asserts_claims:
        say(f"- {promised.text}\n  expected {expected}; this profile is too short to judge it")
    elif any(problems):
        raise ClaimFailed(
            f"{promised.text} Expected {expected}, but this run shows: {shown}. If nothing was "
            "changed, please report it with the output of `semiseg doctor`."
        )
    else:
        say(f"✓ {promised.text}\n  expected {expected}; this run: {shown}")


def _expected(promised: Claim) -> str:
    parts = []
    if promised.low is not None and promised.high is not None:
        parts.append(f"a mean of {promised.low:g} to {promised.high:g}")
    elif promised.low is not None:
        parts.append(f"a mean of at least {promised.low:g}")
    elif promised.high is not None:
        parts.append(f"a mean of at most {promised.high:g}")
    if promised.interval_above is not None:
        parts.append(f"the whole interval above {promised.interval_above:g}")
    return " and ".join(parts)


def _array(value: Any) -> np.ndarray:
    """Return the value as a float array; a tensor is detached first."""
    return np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, float)


def same(answer: Any, expected: Any, what: str = "") -> None:
    """Compare an answer with the numbers that are expected.

    Args:
        answer: a number, a sequence, an array or a tensor.
        expected: the same, of the same shape.
        what: the input or the part that is compared, for the message.

    Raises:
        AssertionError: they differ by more than 1e-4 of the expected value; the message shows both.
    """
    place, numbers = f"{what}: " if what else "", _array(expected)
    if answer is None:
        raise AssertionError(f"{place}expected {numbers}, got None: is there a return?")
    try:
        got = _array(answer)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"{place}expected numbers like {numbers}, got {answer!r}."
        ) from error
    if got.shape != numbers.shape:
        raise AssertionError(f"{place}expected the shape {numbers.shape}, got {got.shape}.")
    if not np.allclose(got, numbers, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise AssertionError(f"{place}expected {numbers}, got {got}.")


@contextmanager
def exercise(name: str) -> Iterator[None]:
    """Check the reader's answer to an exercise, and print that it is right.

    What the reader has not written yet is no failure: a line says so.

    Args:
        name: the chapter's number and the exercise's, such as "6.1".

    Raises:
        AssertionError: the answer is wrong, or raises an error; the message names the exercise.
        NotImplementedError: the device lacks an operation.
    """
    try:
        with after(name):
            yield
            say(f"✓ exercise {name}: right")
    except NotImplementedError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, AssertionError) else (
            f"It raises {type(error).__name__}: {error}")
        raise AssertionError(f"exercise {name}: not yet. {said}") from error


@contextmanager
def after(name: str) -> Iterator[None]:
    """Go on with the answer to an exercise once it is written; say so where it is not.

    Args:
        name: as for :func:`exercise`.
    """
    try:
        yield
    except NotImplementedError as error:
        if YOUR_TURN not in error.args:
            raise
        say(f"○ exercise {name}: your turn")
