"""Agreement between judges against published examples."""

import math

import pytest

from irg_jax.benchmarks.agreement import krippendorff_alpha, raw_agreement


def test_alpha_of_the_example_in_krippendorff_2011():
    # Four observers, twelve units, "." where one gave no answer; alpha for nominal data is 0.743.
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    units = [[answer for answer in unit if answer != "."] for unit in zip(*observers, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_1_for_full_agreement_and_negative_below_chance():
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1.0
    assert krippendorff_alpha([["a", "b"], ["b", "a"]]) < 0


def test_alpha_says_nothing_without_variation_or_without_pairs():
    assert math.isnan(krippendorff_alpha([["a", "a"], ["a", "a"]]))
    assert math.isnan(krippendorff_alpha([["a"], ["b"], []]))


def test_raw_agreement_is_over_pairs_of_judges():
    assert raw_agreement([["a", "a", "b"], ["a", "a"], ["b"]]) == 2 / 4
    assert math.isnan(raw_agreement([["a"]]))
