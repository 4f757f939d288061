"""Which of two sets of images is preferred, what the order of presentation does, and whether judges agree."""

import math

import pytest

from irg_jax.benchmarks import preference
from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.preference import ALL_CATEGORIES, ALL_JUDGES, Verdict, compare, exact_verdicts
from irg_jax.core.errors import UserError


def both(key, ab, ba, judge="judge", sample=0):
    """The verdicts of a judge in both orders; ``first`` of the order ba is B."""
    return [Verdict(key, sample, judge, "ab", ab), Verdict(key, sample, judge, "ba", ba)]


def rows_of(*values):
    return [Row(f"{i}", 0, "all", {"correct": value}) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("ab", "ba", "outcome"),
    [
        ("first", "second", "a"),
        ("second", "first", "b"),
        ("tie", "tie", "tie"),
        ("first", "tie", "tie"),
        ("tie", "first", "tie"),
        ("first", "first", "position"),
        ("second", "second", "position"),
    ],
)
def test_only_a_preference_in_both_orders_counts(ab, ba, outcome):
    assert preference.outcomes(both("0", ab, ba)) == {("0", 0, "judge"): outcome}


def test_win_rates_count_ties_half_and_name_ties_by_position():
    verdicts = [
        *both("0", "first", "second"),
        *both("1", "first", "second"),
        *both("2", "second", "first"),
        *both("3", "tie", "tie"),
        *both("4", "first", "first"),
    ]
    categories = {"0": "colour", "1": "count", "2": "count", "3": "count", "4": "count"}
    found = compare(verdicts, categories, draws=200)
    rate = found.win_rates[ALL_JUDGES, ALL_CATEGORIES]
    assert (rate.wins, rate.losses, rate.ties, rate.position_ties, rate.comparisons) == (2, 1, 1, 1, 5)
    assert rate.value == (2 + 0.5 * 2) / 5 and 0 <= rate.low < rate.value < rate.high <= 1
    assert found.win_rates["judge", "colour"].value == 1.0
    assert found.win_rates["judge", "count"].value == (1 + 0.5 * 2) / 4


def test_the_place_that_a_judge_prefers_is_its_bias():
    verdicts = [*both("0", "first", "first", "eager"), *both("1", "first", "second", "eager")]
    verdicts += [*both("0", "first", "second", "fair"), *both("1", "tie", "tie", "fair")]
    bias = compare(verdicts, {"0": "x", "1": "x"}, draws=10).bias
    assert (bias["eager"].first_share, bias["eager"].consistency) == (0.75, 0.5)
    assert (bias["fair"].first_share, bias["fair"].consistency) == (0.5, 1.0)


def test_judges_agree_or_do_not():
    verdicts = []
    for key in "0123":
        a_wins = key in "01"
        verdicts += both(key, *(("first", "second") if a_wins else ("second", "first")), "one")
        verdicts += both(key, *(("first", "second") if key != "3" else ("second", "first")), "two")
    found = compare(verdicts, dict.fromkeys("0123", "x"), draws=10)
    assert found.agreement == 0.75
    assert found.alpha == pytest.approx(1 - 7 * 2 / (8 * 8 - 5 * 5 - 3 * 3))
    alone = compare([verdict for verdict in verdicts if verdict.judge == "one"], dict.fromkeys("0123", "x"), draws=10)
    assert math.isnan(alone.agreement) and math.isnan(alone.alpha)


def test_a_pair_judged_in_one_order_is_listed_and_not_counted():
    verdicts = [*both("0", "first", "second"), Verdict("1", 0, "judge", "ab", "first")]
    found = compare(verdicts, {"0": "x", "1": "x"}, draws=10)
    assert found.half_judged == (("1", 0, "judge"),)
    assert found.win_rates[ALL_JUDGES, ALL_CATEGORIES].comparisons == 1


def test_the_exact_scorer_is_a_judge_without_position_bias():
    verdicts = exact_verdicts(rows_of(1.0, 0.0, 0.5), rows_of(0.0, 1.0, 0.5))
    assert list(preference.outcomes(verdicts).values()) == ["a", "b", "tie"]
    bias = compare(verdicts, dict.fromkeys("012", "x"), draws=10).bias[preference.EXACT]
    assert (bias.first_share, bias.consistency) == (0.5, 1.0)


def test_what_cannot_be_compared_is_named():
    with pytest.raises(UserError, match="1 sample 0: is scored in only one .* 1 others"):
        exact_verdicts(rows_of(1.0), rows_of(1.0, 0.0, 0.0))
    with pytest.raises(UserError, match="has no value 'score' but correct"):
        exact_verdicts(rows_of(1.0), rows_of(1.0), "score")
    with pytest.raises(UserError, match="0 sample 0: judge has two verdicts for the order ab"):
        compare(both("0", "first", "second") * 2, {"0": "x"})
    with pytest.raises(UserError, match="item 0: was judged but has no category"):
        compare(both("0", "first", "second"), {})
    with pytest.raises(UserError, match="no pair of images was judged in both orders"):
        compare(both("0", "first", "second")[:1], {"0": "x"})
