"""Dots and intervals: every seed, with the mean and its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semiseg_lib.core import escaping
from semiseg_lib.evaluation.statistics import (
    BETTER,
    SAME,
    UNKNOWN,
    WORSE,
    Interval,
    mean_and_interval,
)
from semiseg_lib.notebook.plots.style import (
    INK,
    QUIET,
    SERIES_COLOURS,
    SERIES_MARKERS,
    new_axes,
    styled,
)

VERDICT_COLOURS = {BETTER: "#0072B2", WORSE: "#D55E00", SAME: INK, UNKNOWN: QUIET}
BAND = "#f1f2f4"
VERDICT_MARKERS = {BETTER: "^", WORSE: "v", SAME: "s", UNKNOWN: "o"}


def dots_with_intervals(groups: Mapping[str, Sequence[float]], xlabel: str) -> Figure:
    """Plot one dot per seed and the mean with its 95 % t interval, one row per group.

    Args:
        groups: name -> one value per seed, in their own unit; one value has no interval.
        xlabel: axis title, with the unit.

    Raises:
        ValueError: no group, or a group without finite values.
    """
    with styled():
        figure, axes = _rows(groups, xlabel)
        for row, values in enumerate(groups.values()):
            interval = mean_and_interval(values)
            colour = SERIES_COLOURS[row % len(SERIES_COLOURS)]
            marker = SERIES_MARKERS[row % len(SERIES_MARKERS)]
            _draw_row(axes, row, values, interval, colour, marker)
            _note(axes, row, _number(interval.mean), _span(interval))
        _widen(axes)
    return figure


def paired_differences(
    differences: Mapping[str, Sequence[float]], xlabel: str, smallest: float = 1.0
) -> Figure:
    """Plot differences between runs of the same seed about 0, with 95 % t intervals.

    Args:
        differences: name -> one difference per seed (larger is better), in the unit given.
        xlabel: axis title, with the unit.
        smallest: the smallest difference of interest, >= 0; the band within ± this is shaded.

    Raises:
        ValueError: no group, or a group with fewer than two finite values.
    """
    with styled():
        figure, axes = _rows(differences, xlabel)
        axes.axvspan(-smallest, smallest, color=BAND, linewidth=0, zorder=0)
        axes.axvline(0, color=INK, linewidth=1.6, zorder=1)
        for row, (name, values) in enumerate(differences.items()):
            interval = mean_and_interval(values)
            if interval.runs < 2:
                raise ValueError(f"{name!r}: one pair has no spread; run at least two seeds")
            verdict = interval.judged(smallest)
            _draw_row(axes, row, values, interval, VERDICT_COLOURS[verdict],
                      VERDICT_MARKERS[verdict])
            _note(axes, row, verdict, f"{_number(interval.mean, True)} ({_span(interval, True)})")
        _widen(axes)
    return figure


def _rows(groups: Mapping[str, Sequence[float]], xlabel: str) -> tuple[Figure, Axes]:
    if not groups:
        raise ValueError("nothing to draw: no group of values was given")
    figure, axes = new_axes(height=1.0 + 0.62 * len(groups))
    axes.set_yticks(range(len(groups)), [escaping.figure(name) for name in groups])
    axes.set(ylim=(len(groups) - 0.45, -0.55), xlabel=escaping.figure(xlabel))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    for row in range(1, len(groups)):
        axes.axhline(row - 0.5, color="#eceef1", linewidth=0.9, zorder=0)
    return figure, axes


def _draw_row(
    axes: Axes, row: int, values: Sequence[float], interval: Interval, colour: str, marker: str
) -> None:
    values = np.asarray(values, float)
    # Coinciding dots are fanned out so that each seed stays visible.
    offsets = np.linspace(-0.13, 0.13, len(values)) if len(values) > 1 else np.zeros(1)
    if interval.runs > 1:
        axes.plot([interval.low, interval.high], [row, row], color=colour, linewidth=9, alpha=0.28,
                  solid_capstyle="butt", zorder=2)
        axes.plot([interval.mean] * 2, [row - 0.24, row + 0.24], color=colour, linewidth=3,
                  solid_capstyle="butt", zorder=3)
    axes.plot(values, row + offsets, linestyle="none", marker=marker, markersize=7.5, color=colour,
              markeredgecolor="white", markeredgewidth=1, zorder=4)


def _number(value: float, signed: bool = False) -> str:
    return (f"{value:+.1f}" if signed else f"{value:.1f}").replace("-", "−")


def _span(interval: Interval, signed: bool = False) -> str:
    if interval.runs == 1:
        return "one run"
    return f"{_number(interval.low, signed)} to {_number(interval.high, signed)}"


def _note(axes: Axes, row: int, first_line: str, second_line: str) -> None:
    for text, colour, weight, align in (
        (first_line, INK, "bold", "bottom"), (second_line, QUIET, "normal", "top")
    ):
        axes.annotate(text, (1.02, row), xycoords=("axes fraction", "data"), va=align,
                      color=colour, fontsize=12, fontweight=weight, annotation_clip=False)


def _widen(axes: Axes) -> None:
    low, high = axes.get_xlim()
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
