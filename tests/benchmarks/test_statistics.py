"""Intervals against simulation and closed form, and what pairing gains."""

import math
import random

import numpy as np
import pytest

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.statistics import intervals, paired_differences
from irg_jax.core.errors import UserError


def mean(rows):
    return {"overall": sum(row.values["correct"] for row in rows) / len(rows)}


def rows_of(values, category="a", prefix=""):
    """One item with one sample for each value."""
    return [Row(f"{prefix}{i:04d}", 0, category, {"correct": float(value)}) for i, value in enumerate(values)]


def test_the_interval_of_a_mean_is_that_of_the_closed_form():
    values = np.random.default_rng(0).normal(size=200)
    low, high = intervals(rows_of(values), mean, draws=2500)["overall"]
    half = 1.96 * values.std() / math.sqrt(200)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)


def test_95_percent_intervals_contain_the_truth_in_about_95_percent_of_simulations():
    generator, inside = np.random.default_rng(1), 0
    for seed in range(150):
        low, high = intervals(rows_of(generator.random(80) < 0.7), mean, draws=120, seed=seed)["overall"]
        inside += low <= 0.7 <= high
    assert 134 <= inside <= 149


def test_each_category_keeps_its_size():
    # All of one category are right and all of the other wrong: only their sizes could vary.
    rows = rows_of([1] * 30, "easy", "e") + rows_of([0] * 10, "hard", "h")
    assert intervals(rows, mean, draws=50)["overall"] == (0.75, 0.75)


def test_the_samples_of_an_item_move_together():
    values = np.random.default_rng(2).normal(size=100)
    one = rows_of(values)
    four = [row._replace(sample=sample) for row in one for sample in range(4)]
    # Four equal images of a prompt say no more about other prompts than one does.
    assert intervals(four, mean, draws=300)["overall"] == pytest.approx(intervals(one, mean, draws=300)["overall"])


def test_the_seed_alone_decides():
    rows = rows_of(np.random.default_rng(3).normal(size=40))
    shuffled = random.Random(0).sample(rows, len(rows))
    assert intervals(rows, mean, draws=100) == intervals(shuffled, mean, draws=100)
    assert intervals(rows, mean, draws=100) != intervals(rows, mean, draws=100, seed=1)


def test_a_wider_level_gives_a_wider_interval():
    rows = rows_of(np.random.default_rng(3).normal(size=40))
    (low, high), (lower, higher) = (intervals(rows, mean, 500, level=level)["overall"] for level in (0.5, 0.99))
    assert lower < low < high < higher


def test_figures_without_a_value_have_no_interval():
    def summarise(rows):
        return mean(rows) | {"style": math.nan}

    low, high = intervals(rows_of([0, 1]), summarise, draws=10)["style"]
    assert math.isnan(low) and math.isnan(high)


def test_pairing_is_narrower_than_two_independent_runs():
    generator = np.random.default_rng(4)
    easiness = generator.normal(size=150)
    first, second = (rows_of(easiness + 0.1 * generator.normal(size=150) + gain) for gain in (0.0, 0.1))
    difference = paired_differences(first, second, mean)["overall"]
    assert difference.low < difference.value < difference.high
    assert difference.value == pytest.approx(mean(second)["overall"] - mean(first)["overall"])
    widths = [high - low for low, high in (intervals(rows, mean)["overall"] for rows in (first, second))]
    assert difference.high - difference.low < 0.2 * math.hypot(*widths)
    assert difference.low > 0, "a gain that the two intervals alone do not show"


def test_the_interval_of_a_paired_difference_is_that_of_the_closed_form():
    generator = np.random.default_rng(5)
    first, second = generator.normal(size=(2, 200))
    found = paired_differences(rows_of(first), rows_of(second), mean, draws=2500)["overall"]
    half = 1.96 * (second - first).std() / math.sqrt(200)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)


def test_other_prompts_do_not_compare():
    rows = rows_of([0, 1, 1])
    with pytest.raises(UserError, match="only the first have 0002 sample 0; make and score"):
        paired_differences(rows, rows[:2], mean)
    with pytest.raises(UserError, match="only the second have 0000 sample 1"):
        paired_differences(rows, [*rows, rows[0]._replace(sample=1)], mean)
    with pytest.raises(UserError, match="only the first have 0000 sample 0, .* and 3 more; only the second"):
        paired_differences(rows_of([0] * 8), rows_of([0], prefix="x"), mean)
    with pytest.raises(UserError, match="the second results have 0001 sample 0 more than once"):
        paired_differences(rows, [*rows, rows[1]], mean)
    with pytest.raises(UserError, match="same category for 0000"):
        paired_differences(rows, [rows[0]._replace(category="b"), *rows[1:]], mean)


def test_nothing_scored_and_torn_items_are_errors():
    with pytest.raises(UserError, match="no image was scored"):
        intervals([], mean)
    row = rows_of([1])[0]
    with pytest.raises(UserError, match="item 0000: is in the categories a and b"):
        intervals([row, row._replace(sample=1, category="b")], mean)
