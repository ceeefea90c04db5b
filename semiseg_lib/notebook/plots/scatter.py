"""A scatter of score against cost, with intervals and direct labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semiseg_lib.core import escaping
from semiseg_lib.evaluation.statistics import mean_and_interval
from semiseg_lib.notebook.plots.charts import spread_apart
from semiseg_lib.notebook.plots.style import (
    GRID,
    SERIES_COLOURS,
    SERIES_MARKERS,
    new_axes,
    styled,
)

LABEL_HEIGHT = 0.066  # of the axes' height: the least distance between two labels
GREY = {"marker": "o", "color": "#9aa0aa", "linestyle": "none", "markersize": 6,
        "markeredgecolor": "white", "zorder": 3}


def score_against_cost(
    points: Mapping[str, tuple[float, Sequence[float]]], xlabel: str, ylabel: str,
    named: Sequence[str] | None = None, ticks: Sequence[float] = (),
) -> Figure:
    """Plot one mark per method at its cost and mean score, with the mean's 95 % interval.

    Args:
        points: name -> (cost > 0, one score per seed); the cost axis is logarithmic.
        xlabel, ylabel: axis titles, with the unit.
        named: at most 7 points to show in colour with their names; the others are grey. None: all.
        ticks: ticks of the cost axis; () for the costs of the points.

    Raises:
        ValueError: no point, a cost <= 0, or more names than colours.
    """
    named = list(points if named is None else named)
    if not points or min(cost for cost, _ in points.values()) <= 0:
        raise ValueError("a scatter needs at least one point, and costs > 0")
    if len(named) > len(SERIES_COLOURS):
        raise ValueError(f"{len(named)} names, but {len(SERIES_COLOURS)} colours: name fewer")
    with styled():
        figure, axes = new_axes(height=4.6)
        axes.set_xscale("log")
        for name, (cost, scores) in points.items():
            if name not in named:
                axes.plot([cost], [np.mean(scores)], **GREY)
                continue
            beside = [other for other in named if points[other][0] == cost]
            # Points of one cost would hide each other's bars: shift them by a few percent.
            shift = 1 + 0.05 * (beside.index(name) - (len(beside) - 1) / 2)
            _draw(axes, cost * shift, scores, named.index(name))
        costs = ticks or sorted({cost for cost, _ in points.values()})
        axes.set_xticks(costs, [f"{cost:g}" for cost in costs])
        axes.minorticks_off()
        axes.margins(x=0.12, y=0.08)
        axes.set(xlabel=escaping.figure(xlabel), ylabel=escaping.figure(ylabel))
        axes.grid(axis="both")
        _label(axes, {name: points[name] for name in named})
    return figure


def _draw(axes: Axes, cost: float, scores: Sequence[float], place: int) -> None:
    interval, colour = mean_and_interval(scores), SERIES_COLOURS[place]
    if interval.count > 1:
        axes.plot([cost] * 2, [interval.low, interval.high], color=colour, linewidth=6,
                  alpha=0.3, solid_capstyle="butt", zorder=2)
    axes.plot([cost], [interval.mean], marker=SERIES_MARKERS[place], color=colour,
              linestyle="none", markersize=9, markeredgecolor="white", zorder=4)


def _label(axes: Axes, points: Mapping[str, tuple[float, Sequence[float]]]) -> None:
    """Write names at the right edge, moved apart if they overlap, connected to their points."""
    if not points:
        return
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = np.array([to_axes.transform((cost, np.mean(scores)))
                     for cost, scores in points.values()])
    heights = spread_apart(ends[:, 1], LABEL_HEIGHT)
    for place, name in enumerate(points):
        axes.annotate(
            escaping.figure(name), ends[place], (1.02, heights[place]), xycoords="axes fraction",
            textcoords="axes fraction", color=SERIES_COLOURS[place], va="center", fontsize=12,
            fontweight="bold", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GRID, "shrinkA": 1, "shrinkB": 6},
        )
