"""Score against cost: every point at its place, names for some, no colour without a name."""

from __future__ import annotations

import numpy as np
import pytest

from semiseg_lib.notebook import plots

POINTS = {
    "few": {24: [55.0, 57.0, 59.0]}, "boxes": {124: [70.0, 72.0]}, "all": {824: [88.0]},
    "other": {24: [60.0, 61.0]},
}


def marks(figure) -> list[tuple[float, float]]:
    """Where single points were drawn."""
    lines = figure.axes[0].lines
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines
            if len(line.get_xdata()) == 1]


def test_points_lie_at_their_cost_and_mean():
    figure = plots.score_against_cost(POINTS, "work", "mIoU (%)")
    found = marks(figure)
    wanted = [point for by_cost in POINTS.values() for point in by_cost.items()]
    for (cost, scores), (x, y) in zip(wanted, found, strict=True):
        assert x == pytest.approx(cost, rel=0.03) and y == np.mean(scores)
    assert figure.axes[0].get_xscale() == "log"
    assert [text.get_text() for text in figure.axes[0].texts] == list(POINTS)


def test_a_line_joins_the_costs_of_a_method_in_their_order():
    figure = plots.score_against_cost(
        {"masks": {96: [80.0, 82.0], 24: [55.0, 57.0]}, "other": {24: [60.0]}}, "masks", "mIoU (%)"
    )
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert line.get_xdata() == pytest.approx([24, 96], rel=0.03)
    assert [*line.get_ydata()] == [56, 81] and line.get_linestyle() == "-"


def test_a_bar_is_the_interval_and_one_seed_has_none():
    figure = plots.score_against_cost(POINTS, "work", "mIoU (%)")
    bars = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert len(bars) == 3
    half = 4.302653 * 2 / np.sqrt(3)  # t of two degrees of freedom, sd 2
    assert bars[0] == pytest.approx([57 - half, 57 + half], rel=1e-5)


def test_only_those_that_are_named_carry_a_name_and_a_bar():
    figure = plots.score_against_cost(POINTS, "work", "mIoU (%)", named=["boxes"], ticks=(50, 100))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["boxes"]
    assert len(marks(figure)) == 4 and len(axes.lines) == 5
    assert [label.get_text() for label in axes.get_xticklabels()] == ["50", "100"]


@pytest.mark.parametrize("points, named, words", [
    ({}, None, "at least one point"), ({"a": {}}, None, "at least one point"),
    ({"a": {0: [1.0]}}, None, "costs > 0"),
    ({str(i): {i + 1: [1.0]} for i in range(8)}, None, "8 names, but 7 colours"),
])
def test_what_cannot_be_drawn_is_refused(points, named, words):
    with pytest.raises(ValueError, match=words):
        plots.score_against_cost(points, "work", "mIoU (%)", named)
