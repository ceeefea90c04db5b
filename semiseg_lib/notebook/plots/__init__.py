"""Figures in one style: every function returns a matplotlib Figure; ``show`` displays it."""

from semiseg_lib.notebook.plots.charts import alpha_schedules, class_bars, confusion, curves
from semiseg_lib.notebook.plots.images import class_colours, colourise, heat, overlay
from semiseg_lib.notebook.plots.intervals import dots_with_intervals, paired_differences
from semiseg_lib.notebook.plots.scatter import score_against_cost
from semiseg_lib.notebook.plots.side_by_side import gallery
from semiseg_lib.notebook.plots.style import show

__all__ = [
    "alpha_schedules",
    "class_bars",
    "class_colours",
    "colourise",
    "confusion",
    "curves",
    "dots_with_intervals",
    "gallery",
    "heat",
    "overlay",
    "paired_differences",
    "score_against_cost",
    "show",
]
