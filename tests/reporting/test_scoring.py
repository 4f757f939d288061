"""The statistics of the report."""

import pytest

from irg_jax.reporting import scoring


def test_the_wilson_interval_stays_inside_0_and_1():
    low, high = scoring.wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert scoring.wilson(0, 5)[0] == 0.0 and scoring.wilson(5, 5)[1] == 1.0


def test_the_sign_test_is_exact():
    assert scoring.sign_test(9, 1) == pytest.approx(22 / 1024)
    assert scoring.sign_test(0, 0) == 1.0
