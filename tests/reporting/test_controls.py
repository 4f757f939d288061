"""Differences between turns and controls: paired by prompt, over the mean of the kinds."""

import pytest

from irg_jax.reporting.controls import difference, figures, rows, summarise


def item(sample, kind, turn1, turn2, **controls):
    def score(correct):
        return {"correct": correct, "detail": float(correct)}

    named = {name.replace("_", " "): score(right) for name, right in controls.items()}
    values = {"sample": sample, "kind": kind, "turn1": score(turn1), "turn2": score(turn2)}
    return values | ({"controls": named} if named else {})


ITEMS = [
    item("00000", "counting", False, True, turn_3=False),
    item("00001", "counting", False, True, turn_3=True),
    item("00002", "position", True, True, turn_3=True),
    item("00003", "position", False, False),
    {"sample": "00004", "prompt": "free"},
]


def test_every_kind_counts_the_same():
    assert figures(rows(ITEMS, "turn1"))["overall"] == pytest.approx((0 / 2 + 1 / 2) / 2)
    assert figures(rows(ITEMS, "turn2"))["overall"] == pytest.approx((2 / 2 + 1 / 2) / 2)


def test_every_benchmark_counts_the_same():
    own = [*ITEMS[:4], item("00005", "wise: cultural", True, False), item("00006", "wise: biology", True, False)]
    assert figures(rows(own, "turn1"))["overall"] == pytest.approx((1 / 4 + 1) / 2)
    assert figures(rows(own, "turn2"))["overall"] == pytest.approx((3 / 4 + 0) / 2)


def test_a_difference_is_of_the_same_prompts():
    change = difference(rows(ITEMS, "turn1"), rows(ITEMS, "turn2"))
    assert change["value"] == 0.5
    assert change["low"] <= 0.5 <= change["high"]
    # Three samples have the control, one of them is worse than turn 2.
    found = summarise(ITEMS)["turn 3"]
    assert (found["count"], found["overall"]) == (3, 0.75)
    assert found["minus_turn2"]["value"] == pytest.approx(-0.25)


def test_all_prompts_that_get_worse_have_an_interval_below_zero():
    items = [item(f"{i:05d}", "counting", i % 2 == 0, True, another_picture=i % 3 == 0) for i in range(60)]
    found = summarise(items)["another picture"]["minus_turn2"]
    assert found["low"] < found["value"] < found["high"] < 0


def test_without_shared_prompts_there_is_no_difference():
    assert difference(rows(ITEMS[:1], "turn1"), rows(ITEMS[1:], "turn2")) is None
    assert summarise([item("00000", "counting", True, True)]) == {}
