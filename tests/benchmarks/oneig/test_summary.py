"""OneIG-Bench's figures: means over prompts, text over all images, and an overall only of all five."""

import pytest

from irg_jax.benchmarks import oneig
from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.oneig import text
from irg_jax.core.errors import UserError


def rows(key, name, *values):
    return [Row(key, sample, key.partition("/")[0], {name: value}) for sample, value in enumerate(values)]


def text_rows():
    answers = ["one two", "one", "x", "one two"]
    return [Row("text/000", i, "text", text.values("one two", {"ocr": one})) for i, one in enumerate(answers)]


EVERYTHING = [
    *rows("reasoning/000", "reasoning", 0.2, 0.4),
    *rows("anime/000", "style", 0.5),
    *rows("anime/000", "diversity", 0.3),
    *rows("anime/000", "alignment", 1.0, 0.5),
    *text_rows(),
]


def test_the_overall_is_the_plain_mean_of_all_five():
    figures = oneig.summarise(EVERYTHING)
    assert list(figures) == ["alignment", "text", "reasoning", "style", "diversity", "overall"]
    assert figures["overall"] == pytest.approx(sum(list(figures.values())[:5]) / 5)
    assert figures["reasoning"] == pytest.approx(0.3)


@pytest.mark.parametrize("metric", ["alignment", "reasoning", "style", "diversity"])
def test_there_is_no_overall_without_one_of_them(metric):
    figures = oneig.summarise([row for row in EVERYTHING if metric not in row.values])
    assert metric not in figures and "overall" not in figures and len(figures) == 4


def test_prompts_weigh_the_same_whatever_is_missing_of_them():
    given = rows("anime/000", "alignment", 1.0) + rows("human/000", "alignment", 0.0, 0.5, 0.5, 1.0)
    assert oneig.summarise(given) == {"alignment": pytest.approx(0.75)}


def test_a_prompt_that_is_drawn_twice_counts_twice():
    one, other = rows("anime/000", "alignment", 1.0, 1.0, 1.0), rows("human/000", "alignment", 0.0, 0.0, 0.0, 0.0)
    assert oneig.summarise([*one, *other, *one]) == {"alignment": pytest.approx(2 / 3)}


def test_text_is_computed_from_all_images():
    figures = oneig.summarise(text_rows())
    assert figures["text"] == pytest.approx(1 - ((0 + 4 + 7 + 0) / 4) * (1 - 2 / 4) * (1 - 5 / 8) / 100)


def test_nothing_to_summarise():
    with pytest.raises(UserError, match="nothing to summarise"):
        oneig.summarise([])
