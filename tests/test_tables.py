"""Intervals against scipy and by hand; tables as a reader sees them."""

import math

import numpy as np
import pytest
from scipy import stats

from semiseg_lib.evaluation.statistics import mean_and_interval, paired_interval
from semiseg_lib.notebook.tables import markdown_table, results_table

ROWS = [
    {"method": "supervised", "mIoU": [0.60, 0.62], "minutes": 2.0},
    {"method": "linear", "mIoU": [0.75, 0.77], "minutes": 4.25},
    {"method": "all masks", "mIoU": 0.895},
]


def test_interval_of_two_values_by_hand():
    # t(0.975, 1 degree of freedom) = tan(0.475 pi); the standard error of 1 and 3 is 1.
    interval = mean_and_interval([1.0, 3.0])
    half = math.tan(0.475 * math.pi)
    assert interval.mean == 2
    assert interval.sd == pytest.approx(math.sqrt(2))
    assert (interval.low, interval.high) == pytest.approx((2 - half, 2 + half))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_interval_agrees_with_scipy(level):
    values = np.random.default_rng(0).normal(70, 2, size=7)
    expected = stats.ttest_1samp(values, 0).confidence_interval(level)
    interval = mean_and_interval(values, level)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_one_value_has_no_interval_and_equal_values_an_empty_one():
    alone = mean_and_interval([0.7])
    assert (alone.mean, alone.runs) == (0.7, 1)
    assert math.isnan(alone.low) and math.isnan(alone.high) and math.isnan(alone.sd)
    assert mean_and_interval([0.5, 0.5])[:3] == (0.5, 0.5, 0.5)


def test_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(size=(2000, 4))
    covered = np.mean([low <= 0 <= high for _, low, high, _, _ in map(mean_and_interval, draws)])
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((2.0, 2.5, 3.0), "better"), ((-2.0, -2.5, -3.0), "worse"), ((-1.0, 1.2, 0.3), "cannot tell")],
)
def test_paired_interval_and_its_verdict(differences, verdict):
    b = np.array([60.0, 71.0, 65.0])
    result = paired_interval(b + differences, b)
    expected = stats.ttest_rel(b + differences, b).confidence_interval()
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
    assert result.verdict == verdict


@pytest.mark.parametrize(
    ("a", "b", "complaint"),
    [([1, 2], [1, 2, 3], "paired"), ([1], [2], "two seeds"), ([1, np.nan], [1, 2], "finite")],
)
def test_paired_interval_refuses(a, b, complaint):
    with pytest.raises(ValueError, match=complaint):
        paired_interval(a, b)


@pytest.mark.parametrize("values", [[], [1.0, math.inf]])
def test_interval_refuses_values_it_cannot_use(values):
    with pytest.raises(ValueError, match="finite"):
        mean_and_interval(values)


def test_markdown_table():
    assert markdown_table(ROWS).splitlines() == [
        "| method     |   mIoU (%) | minutes |",
        "| ---------- | ---------: | ------: |",
        "| supervised | 61.0 ± 1.4 |     2.0 |",
        "| linear     | 76.0 ± 1.4 |     4.2 |",
        "| all masks  |       89.5 |       – |",
    ]


def test_table_looks_the_same_in_every_run():
    first, second = results_table(ROWS), results_table(ROWS)
    assert first._repr_html_() == second._repr_html_()
    assert repr(first) == markdown_table(ROWS)
    assert "61.0 ± 1.4" in first._repr_html_()


def test_columns_that_are_no_scores_keep_their_unit():
    rows = [{"method": "linear", "minutes": [4.0, 5.0]}]
    assert "4.5 ± 0.7" in markdown_table(rows, plain=["minutes"])
    with pytest.raises(ValueError, match="'minutes' holds 5"):
        markdown_table(rows)


def test_a_table_needs_a_row():
    with pytest.raises(ValueError, match="at least one row"):
        results_table([])
