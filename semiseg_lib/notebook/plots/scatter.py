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
    points: Mapping[str, Mapping[float, Sequence[float]]], xlabel: str, ylabel: str,
    named: Sequence[str] | None = None, ticks: Sequence[float] = (),
) -> Figure:
    """Plot each method at its costs and mean scores, with the means' 95 % intervals.

    A line joins the marks of a method that was run at several costs.

    Args:
        points: name -> cost > 0 -> one score per seed; the cost axis is logarithmic.
        xlabel, ylabel: axis titles, with the unit.
        named: at most 7 methods to show in colour with their names; the others are grey. None: all.
        ticks: ticks of the cost axis; () for the costs of the points.

    Raises:
        ValueError: no point, a cost <= 0, or more names than colours.
    """
    named = list(points if named is None else named)
    costs = sorted({cost for by_cost in points.values() for cost in by_cost})
    if not points or not all(points.values()) or costs[0] <= 0:
        raise ValueError("a scatter needs at least one point of each method, and costs > 0")
    if len(named) > len(SERIES_COLOURS):
        raise ValueError(f"{len(named)} names, but {len(SERIES_COLOURS)} colours: name fewer")
    with styled():
        figure, axes = new_axes(height=4.6)
        axes.set_xscale("log")
        for name, by_cost in points.items():
            if name not in named:
                axes.plot([*by_cost], [np.mean(scores) for scores in by_cost.values()], **GREY)
                continue
            drawn = {}
            for cost, scores in sorted(by_cost.items()):
                beside = [other for other in named if cost in points[other]]
                # Points of one cost would hide each other's bars: shift them by a few percent.
                shift = 1 + 0.05 * (beside.index(name) - (len(beside) - 1) / 2)
                drawn[cost * shift] = scores
            _draw(axes, drawn, named.index(name))
        shown = ticks or costs
        axes.set_xticks(shown, [f"{cost:g}" for cost in shown])
        axes.minorticks_off()
        axes.margins(x=0.12, y=0.08)
        axes.set(xlabel=escaping.figure(xlabel), ylabel=escaping.figure(ylabel))
        axes.grid(axis="both")
        last = {name: max(points[name]) for name in named}
        name_at_edge(axes, {name: (cost, np.mean(points[name][cost]))
                            for name, cost in last.items()})
    return figure


def _draw(axes: Axes, by_cost: Mapping[float, Sequence[float]], place: int) -> None:
    colour = SERIES_COLOURS[place]
    intervals = {cost: mean_and_interval(scores) for cost, scores in by_cost.items()}
    for cost, interval in intervals.items():
        if interval.runs > 1:
            axes.plot([cost] * 2, [interval.low, interval.high], color=colour, linewidth=6,
                      alpha=0.3, solid_capstyle="butt", zorder=2)
    axes.plot([*intervals], [interval.mean for interval in intervals.values()],
              marker=SERIES_MARKERS[place], color=colour, linewidth=1.8, markersize=9,
              markeredgecolor="white", zorder=4)
