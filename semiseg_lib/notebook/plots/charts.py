"""Charts: curves with direct labels, alpha schedules, a confusion matrix, bars per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import LogLocator, NullLocator

from semiseg_lib.notebook.plots.style import (
    FILL,
    GRID,
    QUIET,
    SERIES_COLOURS,
    SERIES_DASHES,
    SERIES_HATCHES,
    SERIES_MARKERS,
    new_axes,
    styled,
    text_width,
)

LABEL_HEIGHT = 0.068  # of the axes' height: the least distance between two direct labels
NUMBERS_UP_TO = 12


def curves(
    histories: Mapping[str, Sequence[tuple[float, float]]],
    xlabel: str,
    ylabel: str,
    logarithmic: bool = False,
) -> Figure:
    """Plot lines with names at their right ends, distinguished by colour, dash and marker.

    Args:
        histories: name -> (x, y) pairs; pairs whose y is not finite are left out.
        xlabel, ylabel: axis titles, with the unit.
        logarithmic: whether the y axis is logarithmic; all y must then be > 0.

    Raises:
        ValueError: no line, more lines than there are styles (7), or a line without points.
    """
    lines = {name: _finite_pairs(name, pairs) for name, pairs in histories.items()}
    _check_count(lines)
    with styled():
        figure, axes = new_axes(height=3.9)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter("{x:g}")
        for index, (name, pairs) in enumerate(lines.items()):
            axes.plot(
                *pairs.T, color=SERIES_COLOURS[index], dashes=SERIES_DASHES[index],
                marker=SERIES_MARKERS[index], markersize=6, markeredgecolor="white",
                markevery=max(1, len(pairs) // 8), label=name,
            )
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(axis="y")
        axes.margins(x=0.01, y=0.06)
        name_at_edge(axes, {name: tuple(pairs[-1]) for name, pairs in lines.items()})
    return figure


def alpha_schedules(schedules: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Plot the weight alpha over training on a logarithmic axis; 1 = equal weights.

    Args:
        schedules: name -> (x, alpha): x the fraction of training in [0, 1], alpha > 0.

    Raises:
        ValueError: lengths differ, or an alpha is <= 0.
    """
    histories = {}
    for name, (x, alpha) in schedules.items():
        if np.min(alpha) <= 0:
            raise ValueError(f"{name!r} has an alpha of {np.min(alpha):g}; it must be > 0")
        histories[name] = list(zip(x, alpha, strict=True))
    figure = curves(histories, "fraction of training", "α (logarithmic)", logarithmic=True)
    axes = figure.axes[0]
    with styled():
        axes.axhline(1, color=QUIET, linewidth=1.2, zorder=0.5)
        axes.annotate(
            "both models count the same", (0.99, 1), (0, 4), color=QUIET, fontsize=12, ha="right",
            xycoords=("axes fraction", "data"), textcoords="offset points",
            path_effects=[Stroke(linewidth=4, foreground="white"), Normal()],
        )
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Plot a confusion matrix in percent of each true class: every row adds up to 100.

    Args:
        matrix: (C, C) pixel counts; rows the truth, columns the prediction.
        classes: C names. A class without a pixel in the truth shows as an empty row.

    Raises:
        ValueError: the matrix is not (C, C) or holds negative counts.
    """
    matrix = np.asarray(matrix, float)
    count = len(classes)
    if matrix.shape != (count, count) or (matrix < 0).any():
        raise ValueError(f"need ({count}, {count}) counts >= 0 for {count} classes, "
                         f"got {matrix.shape}")
    totals = matrix.sum(axis=1, keepdims=True)
    percent = np.divide(100 * matrix, totals, out=np.full_like(matrix, np.nan), where=totals > 0)
    with styled():
        side = min(7.4, 2.4 + 0.52 * count) if count <= NUMBERS_UP_TO else 7.4
        figure, axes = new_axes(height=side, width=side + 0.2)
        axes.set_facecolor(FILL)
        axes.imshow(percent, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        ticks = np.arange(count)
        axes.set_xticks(ticks, classes, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, classes)
        axes.set(xlabel="predicted", ylabel="true")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title("percent of the pixels of each true class", pad=10)
        axes.set_xticks(ticks[1:] - 0.5, minor=True)
        axes.set_yticks(ticks[1:] - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2 if count <= NUMBERS_UP_TO else 1)
        axes.tick_params(which="minor", length=0)
        _write_numbers(axes, percent)
    return figure


def class_bars(values: Mapping[str, Sequence[float]], classes: Sequence[str]) -> Figure:
    """Plot grouped bars: one group per class, one bar per method, with colour and hatch.

    Args:
        values: method -> one IoU per class, a fraction in [0, 1]; nan = absent class, no bar.
        classes: names of the groups.

    Raises:
        ValueError: a method has another number of values, or values outside [0, 1].
    """
    _check_count(values)
    table = {name: np.asarray(scores, float) for name, scores in values.items()}
    for name, scores in table.items():
        if scores.shape != (len(classes),):
            raise ValueError(f"{name!r}: {scores.shape} values for {len(classes)} classes")
        if np.nanmin(scores) < 0 or np.nanmax(scores) > 1:
            raise ValueError(f"{name!r}: IoU values are fractions in [0, 1], not percent")
    with styled():
        pitch = 6.5 / len(classes)
        many = len(classes) > 10 or max(text_width(name, 12) for name in classes) > pitch * 1.1
        figure, axes = new_axes(height=4.2 if many else 3.7)
        width = 0.82 / len(table)
        for index, (name, scores) in enumerate(table.items()):
            centres = np.arange(len(classes)) + (index - (len(table) - 1) / 2) * width
            axes.bar(centres, 100 * scores, width * 0.92, color=SERIES_COLOURS[index], label=name,
                     hatch=SERIES_HATCHES[index], edgecolor="white", linewidth=0)
        axes.set_xticks(np.arange(len(classes)), classes, rotation=40 if many else 0,
                        ha="right" if many else "center", rotation_mode="anchor")
        axes.tick_params(axis="x", length=0)
        axes.set(ylabel="IoU (%)", ylim=(0, 100), xlim=(-0.55, len(classes) - 0.45))
        axes.grid(axis="y")
        entries = len(table) if len(table) <= 3 else -(-len(table) // 2)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=entries, frameon=False,
                    borderaxespad=0.2, columnspacing=1.6)
    return figure


def _check_count(series: Mapping) -> None:
    if not 1 <= len(series) <= len(SERIES_COLOURS):
        raise ValueError(f"one figure shows 1 to {len(SERIES_COLOURS)} series, "
                         f"got {len(series)}")


def _finite_pairs(name: str, pairs: Sequence[tuple[float, float]]) -> np.ndarray:
    pairs = np.asarray(list(pairs), float).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs[:, 1])]
    if not len(pairs):
        raise ValueError(f"the line {name!r} has no point with a finite value")
    return pairs


def name_at_edge(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write names at the right edge, moved apart if they overlap, connected to their points.

    Args:
        axes: with everything drawn; its limits are kept.
        points: name -> (x, y) in the units of the data, at most one per colour.
    """
    if not points:
        return
    axes.set_ylim(axes.get_ylim())
    axes.set_xlim(axes.get_xlim())
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = to_axes.transform(list(points.values()))
    heights = spread_apart(ends[:, 1], LABEL_HEIGHT)
    for place, name in enumerate(points):
        axes.annotate(
            name, ends[place], (1.035, heights[place]), xycoords="axes fraction",
            textcoords="axes fraction", color=SERIES_COLOURS[place], va="center", fontsize=12,
            fontweight="bold", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GRID, "shrinkA": 1, "shrinkB": 4},
        )


def spread_apart(positions: np.ndarray, distance: float) -> np.ndarray:
    """Return positions (N,) moved as little as needed to be ``distance`` apart, in order."""
    from scipy.optimize import isotonic_regression  # takes half a second

    order = np.argsort(positions, kind="stable")
    steps = np.arange(len(positions)) * distance
    moved = np.empty(len(positions))
    # Least squares under "sorted" is isotonic regression; subtracting the steps turns it into that.
    moved[order] = isotonic_regression(positions[order] - steps).x + steps
    return moved


def _write_numbers(axes: Axes, percent: np.ndarray) -> None:
    many = len(percent) > NUMBERS_UP_TO
    for (row, column), value in np.ndenumerate(percent):
        if not np.isfinite(value) or (many and row != column and value < 4.5):
            continue
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=9 if many else 12,
                  color="white" if value > 55 else "#1f2430" if value >= 0.5 else "#8a909b")
