"""Shares with their intervals."""

import pytest

from irg_jax.reporting.shares import share, wilson


def test_the_wilson_interval_stays_inside_0_and_1():
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 5)[0] == 0.0 and wilson(5, 5)[1] == 1.0


def test_a_share_of_nothing_has_no_value():
    assert share(8, 10) == {"correct": 8, "count": 10, "share": 0.8, "interval": list(wilson(8, 10))}
    assert share(0, 0) == {"correct": 0, "count": 0, "share": None, "interval": None}
