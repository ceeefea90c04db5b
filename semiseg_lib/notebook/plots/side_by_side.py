"""Images side by side, with boxes, titles and a legend of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import Normal, Stroke

from semiseg_lib.core import escaping
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.notebook.plots.images import (
    NO_COLOUR,
    VOID_COLOUR,
    YES_COLOUR,
    class_colours,
    drawable,
)
from semiseg_lib.notebook.plots.style import (
    DOTS_PER_INCH,
    INK,
    QUIET,
    WIDTH,
    new_figure,
    styled,
    text_width,
)

EVERY_CLASS_IN_LEGEND = 9
GAP, TOP, EDGE = 0.08, 0.34, 0.02  # inches; whole pixels, all of them
LARGEST_PANEL, LARGEST_COLUMN = 2.4, 7.2


def gallery(
    columns: Mapping[str, Sequence[Any]],
    classes: Sequence[str],
    boxes: Sequence[Boxes | None] | Mapping[str, Sequence[Boxes | None]] | None = None,
    rows_titles: Sequence[str] | None = None,
    legend: bool = True,
) -> Figure:
    """Plot images side by side: one row per image, one column per view of it.

    Args:
        columns: column title -> one entry per row: an image uint8 (3, H, W) or (H, W, 3), a mask of
            integers (H, W), a map bool (H, W), or a map of floats in [0, 1] (H, W).
        classes: class names, for the legend.
        boxes: one Boxes per row, drawn on the first column; or column title -> one per row.
        rows_titles: text at the left of each row.
        legend: whether to show a legend of the class colours below.

    Raises:
        ValueError: columns, boxes or row titles of different lengths, or an entry of another kind
            than those above.
    """
    if boxes is not None and not isinstance(boxes, Mapping):
        boxes = {next(iter(columns)): boxes}
    lists = [*columns.values(), *(boxes or {}).values(), *([rows_titles] if rows_titles else [])]
    counts = {len(entries) for entries in lists}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"columns, boxes and row titles must have equal lengths, got {sorted(counts)}"
        )
    images = {title: [drawable(entry) for entry in column] for title, column in columns.items()}
    titles = [escaping.figure(title) for title in columns]
    rows_titles = [escaping.figure(title) for title in rows_titles or ()]
    names = _legend_names(columns, boxes, classes) if legend else []
    with styled():
        layout = _layout(images, titles, rows_titles)
        figure, grid = _grid(layout, names)
        _write_row_titles(grid, layout, rows_titles)
        for column, (title, entries) in enumerate(images.items()):
            grid[0][column].set_title(titles[column], pad=7)
            for row, entry in enumerate(entries):
                axes = grid[row][column]
                axes.imshow(entry, interpolation="nearest", aspect="auto")
                if boxes and title in boxes:
                    _draw_boxes(axes, boxes[title][row], len(classes))
    return figure


def _legend_names(columns: Mapping, boxes: Mapping | None, classes: Sequence[str]) -> list:
    """Return (colour, name) pairs: all classes if few, else those that occur; void if it does.

    Maps of true and false have entries of their own.
    """
    maps = [one for column in columns.values() for one in map(np.asarray, column) if one.ndim == 2]
    masks = [one for one in maps if one.dtype.kind in "iu"]
    answers = [(np.array(YES_COLOUR), "yes"), (np.array(NO_COLOUR), "no")]
    answers *= any(one.dtype == bool for one in maps)
    seen = {int(i) for mask in masks for i in np.unique(mask)}
    has_void = VOID in seen
    for drawn in (box for column in (boxes or {}).values() for box in column if box is not None):
        seen.update(int(i) for i in drawn.classes)
    if not seen:
        return answers
    colours = class_colours(len(classes))
    names = [(colours[i], escaping.figure(name)) for i, name in enumerate(classes)
             if i in seen or len(classes) <= EVERY_CLASS_IN_LEGEND]
    return names + [(np.array(VOID_COLOUR), "void")] * has_void + answers


@dataclass(frozen=True)
class _Layout:
    """Positions of the panels, in inches."""

    columns: int
    width: float
    pitch: float
    heights: list[float]
    left: float
    right: float
    titles_lie: bool


def _layout(images: Mapping, titles: Sequence[str], rows_titles: Sequence[str]) -> _Layout:
    """Return panels as wide as the page allows; row titles are horizontal if they fit."""
    columns, first = len(images), next(iter(images.values()))
    aspects = [max(column[row].shape[0] / column[row].shape[1] for column in images.values())
               for row in range(len(first))]
    pixels = max(entry.shape[1] for entry in first)
    widest = max(text_width(title, 13) for title in titles)
    longest = max((text_width(title, 13) for title in rows_titles), default=0)

    def panel_width(left: float) -> float:
        pitch = (WIDTH - left - EDGE + GAP) / columns
        return _whole_multiple(
            min(pitch - GAP, LARGEST_PANEL, LARGEST_COLUMN / sum(aspects)), pixels
        )

    left = 0.36 if rows_titles else EDGE
    width = panel_width(left)
    titles_lie = longest > width * min(aspects)
    if titles_lie:
        left = _whole_pixels(longest + 0.2)
        width = panel_width(left)
    overhang = _whole_pixels(max(0.0, (widest - width) / 2 + 0.02))
    return _Layout(
        columns=columns,
        width=width,
        pitch=_whole_pixels(max(width + GAP, widest + 0.12)),
        heights=[width * aspect for aspect in aspects],
        left=left if titles_lie or overhang < left else overhang,
        right=max(EDGE, overhang),
        titles_lie=titles_lie,
    )


def _grid(layout: _Layout, names: list) -> tuple[Figure, list[list[Axes]]]:
    """Return axes placed so that small images are enlarged by integers and stay crisp."""
    full_width = layout.left + (layout.columns - 1) * layout.pitch + layout.width + layout.right
    full_width = max(full_width, 4.2 if names else 0)
    entry_width = max((text_width(name, 12) for _, name in names), default=1) + 0.5
    entries = max(1, min(len(names), int((full_width - 0.1) / entry_width)))
    lines = -(-len(names) // entries)
    entries = -(-len(names) // max(lines, 1))  # lines of equal length
    bottom = EDGE + (0.06 + 0.28 * lines if names else 0)
    height = TOP + sum(layout.heights) + GAP * (len(layout.heights) - 1) + bottom
    figure = new_figure(height, full_width, layout=None)
    grid, y = [], height - TOP
    for row_height in layout.heights:
        y -= row_height
        lefts = [layout.left + column * layout.pitch for column in range(layout.columns)]
        grid.append([_frame(figure, left, y, layout.width, row_height) for left in lefts])
        y -= GAP
    if names:
        _draw_legend(figure, names, entries)
    return figure, grid


def _write_row_titles(grid: list, layout: _Layout, rows_titles: Sequence[str]) -> None:
    how = {"rotation": 0, "va": "center", "ha": "right"} if layout.titles_lie else {"rotation": 90}
    for axes, title in zip(grid, rows_titles, strict=False):
        axes[0].set_ylabel(title, labelpad=7, **how)


def _whole_pixels(inches: float) -> float:
    return round(inches * DOTS_PER_INCH) / DOTS_PER_INCH


def _whole_multiple(width: float, pixels: int) -> float:
    """Return the largest width (inches) <= ``width`` that shows every pixel equally large."""
    available = round(width * DOTS_PER_INCH)
    return pixels * (available // pixels) / DOTS_PER_INCH if pixels <= available else width


def _draw_legend(figure: Figure, names: list, entries: int) -> None:
    # A matplotlib legend fills columns; in this order, the names read along the lines.
    dealt = [name for start in range(entries) for name in names[start::entries]]
    patches = [Patch(facecolor=colour / 255, edgecolor=QUIET, linewidth=0.8, label=name)
               for colour, name in dealt]
    figure.legend(handles=patches, ncols=entries, loc="lower center", frameon=False,
                  handlelength=1.1, handleheight=1.1, columnspacing=1.3, handletextpad=0.5,
                  borderaxespad=0.1, borderpad=0)


def _frame(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    full_width, full_height = figure.get_size_inches()
    axes = figure.add_axes(
        (x / full_width, y / full_height, width / full_width, height / full_height)
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _draw_boxes(axes: Axes, boxes: Boxes | None, num_classes: int) -> None:
    if boxes is None:
        return
    colours = class_colours(num_classes) / 255
    frame = (axes.get_xlim(), axes.get_ylim())
    width = 1.2 + 0.5 * (axes.get_position().width * axes.figure.get_figwidth() > 1.2)
    for (x0, y0, x1, y1), index in zip(
        np.asarray(boxes.coordinates), np.asarray(boxes.classes), strict=True
    ):
        # Pixel edges are at -0.5 in matplotlib's coordinates.
        box = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, linewidth=width,
                        edgecolor=colours[index], joinstyle="miter")
        box.set_path_effects([Stroke(linewidth=width + 1.5, foreground=INK), Normal()])
        axes.add_patch(box)
    axes.set(xlim=frame[0], ylim=frame[1])
