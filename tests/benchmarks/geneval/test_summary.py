"""GenEval's figures: means over images in a task, plain over tasks, and prompts with at least one correct image."""

import pytest

from irg_jax.benchmarks import geneval
from irg_jax.benchmarks.benchmark import Row
from irg_jax.core.errors import UserError


def rows(key, category, *correct):
    return [Row(key, sample, category, {"correct": float(one)}) for sample, one in enumerate(correct)]


def test_figures_are_in_the_official_order():
    given = rows("00002", "position", 0, 0) + rows("00001", "counting", 1, 0, 1, 1) + rows("00000", "mine", 0, 1)
    figures = geneval.summarise(given)
    assert list(figures) == ["counting", "position", "mine", "correct images", "correct prompts", "overall"]
    assert figures["counting"] == 0.75 and figures["position"] == 0 and figures["mine"] == 0.5
    assert figures["correct images"] == 4 / 8
    assert figures["correct prompts"] == pytest.approx(2 / 3)
    assert figures["overall"] == pytest.approx((0.75 + 0 + 0.5) / 3)


def test_a_prompt_that_is_drawn_twice_counts_twice():
    good, bad = rows("00000", "counting", 1, 0), rows("00001", "counting", 0, 0)
    figures = geneval.summarise([*good, *bad, *good])
    assert figures["correct prompts"] == pytest.approx(2 / 3)
    assert figures["overall"] == pytest.approx(2 / 6)


def test_nothing_to_summarise():
    with pytest.raises(UserError, match="nothing to summarise"):
        geneval.summarise([])
