"""A scatter of score against cost, with intervals and direct labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semiseg_lib.core import escaping
from semiseg_lib.evaluation.statistics import mean_and_interval
from semiseg_lib.notebook.plots.charts import name_at_edge
from semiseg_lib.notebook.plots.style import (
    SERIES_COLOURS,
    SERIES_MARKERS,
    new_axes,
    styled,
)

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
        name_at_edge(axes, {name: (points[name][0], np.mean(points[name][1])) for name in named})
    return figure


def _draw(axes: Axes, cost: float, scores: Sequence[float], place: int) -> None:
    interval, colour = mean_and_interval(scores), SERIES_COLOURS[place]
    if interval.runs > 1:
        axes.plot([cost] * 2, [interval.low, interval.high], color=colour, linewidth=6,
                  alpha=0.3, solid_capstyle="butt", zorder=2)
    axes.plot([cost], [interval.mean], marker=SERIES_MARKERS[place], color=colour,
              linestyle="none", markersize=9, markeredgecolor="white", zorder=4)
