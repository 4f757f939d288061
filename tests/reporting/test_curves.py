"""The charts: any numbers make a chart, and smoothing has no bias."""

import math

import pytest

from irg_jax.reporting import curves


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(
    "values", [[1.0], [0.5] * 9, [0.0, 1e-30, 1e30], [math.nan, 2.0, math.inf, 3.0], [-1.0, 4.0], [3e4, 3.1e4]]
)
def test_any_numbers_make_a_chart(values, log):
    drawn = curves.chart("a & b", [("<x>", list(enumerate(values)))], log=log, raw=True)
    assert "nan" not in drawn and "inf" not in drawn and "a &amp; b" in drawn and "&lt;x&gt;" in drawn


def test_a_chart_without_points_is_empty():
    assert curves.chart("none", [("x", []), ("y", [(1, math.nan)])], log=False, raw=True) == ""


def test_smoothing_keeps_a_constant():
    assert curves.smooth([(step, 2.0) for step in range(200)])[-1] == (199, pytest.approx(2.0))
