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
from semiseg_lib.evaluation.statistics import BETTER, WORSE, Interval, mean_and_interval

YOUR_TURN = "your turn"
"""What the NotImplementedError of an exercise says that the reader has not written yet."""


class ClaimFailed(AssertionError):
    """Error for a claim of the book that runs or records do not confirm."""


@dataclass(frozen=True)
class Claim:
    """One sentence of the book with what confirms it: a difference or a level.

    Attributes:
        name: its key in ``claims.yml``.
        text: the sentence.
        gain: the claimed difference, of which the mean over seeds must keep more than half, and
            its sign; its 95 % interval must exclude 0.
        by_mean: whether the mean alone is judged, for too few seeds.
        level, within: the claimed level, and how far from it the mean may lie.

    Raises:
        ValueError: it claims nothing, or both, or a gain of 0.
    """

    name: str
    text: str
    gain: float | None = None
    by_mean: bool = False
    level: float | None = None
    within: float | None = None

    def __post_init__(self) -> None:
        of_level = self.level is not None and self.within is not None and self.within > 0
        if bool(self.gain) == of_level or (of_level and self.by_mean):
            raise ValueError(f"{self.name}: claim a gain that is not 0, or a level within a range.")

    @property
    def expected(self) -> str:
        """Return in words what confirms it."""
        if self.gain is None:
            return f"a mean of {self.level:g} ± {self.within:g}"
        side = "above" if self.gain > 0 else "below"
        interval = "" if self.by_mean else f", the whole interval {side} 0"
        return f"a mean {side} {self.gain / 2:g}, half of {self.gain:g}{interval}"

    def is_borne_out_by(self, found: Interval) -> bool:
        """Return whether the mean over seeds and its interval confirm it.

        Args:
            found: the mean and the interval of the runs or records.
        """
        if self.level is not None and self.within is not None:
            return abs(found.mean - self.level) <= self.within
        assert self.gain is not None, "a claim is of a gain or of a level"
        return found.keeps(self.gain) and (self.by_mean or found.verdict in (BETTER, WORSE))


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
        values: one value per seed; for a difference the paired one of each seed.
        asserts_claims: the profile's; if False, only print, since short runs show nothing.

    Raises:
        KeyError: ``name`` is not a claim.
        ClaimFailed: this run does not confirm it.
    """
    promised = read_claims()[name]
    if asserts_claims:
        _judge(promised, values, "this run")
    else:
        say(f"- {promised.text}\n  expected {promised.expected}; "
            "this profile is too short to judge it")


def recorded(name: str, values: Sequence[float]) -> None:
    """Print a claim and what the stored records say; raise ClaimFailed if they disagree.

    Args:
        name: the claim's key in ``claims.yml``.
        values: one value per seed of the records; for a difference the paired one of each seed.

    Raises:
        KeyError: ``name`` is not a claim.
        ClaimFailed: the records do not confirm it.
    """
    _judge(read_claims()[name], values, "the stored records")


def _judge(promised: Claim, values: Sequence[float], evidence: str) -> None:
    found = mean_and_interval(list(values))
    shown = (f"mean {found.mean:.1f}, 95 % interval {found.low:.1f} to {found.high:.1f}, "
             f"{found.runs} seeds")
    if not promised.is_borne_out_by(found):
        raise ClaimFailed(
            f"{promised.text} Expected {promised.expected}, but {evidence}: {shown}. If nothing "
            "was changed, please report it with the output of `semiseg doctor`."
        )
    say(f"✓ {promised.text}\n  expected {promised.expected}; {evidence}: {shown}")


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
