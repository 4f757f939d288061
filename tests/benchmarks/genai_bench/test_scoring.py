"""GenAI-Bench's figures: means over prompts, of 1,593 of them."""

import math

import pytest

from irg_jax.benchmarks import genai_bench
from irg_jax.benchmarks.benchmark import Row
from irg_jax.core.errors import UserError
from tests.benchmarks import official
from tests.benchmarks.genai_bench.prompts import read


def row(category, score):
    return Row("00000", 0, category, {"score": score})


def test_levels_and_the_overall_are_means_over_prompts(tmp_path):
    rows = [row(item.category, (1, 0, 0, 0.5, 1)[number]) for number, item in enumerate(read(tmp_path).items)]
    figures = genai_bench.summarise(rows)
    assert list(figures) == [
        *("attribute", "scene", "spatial relation", "action relation", "part relation", "basic"),
        *("counting", "comparison", "differentiation", "negation", "universal", "advanced", "overall"),
    ]
    assert {name: value for name, value in figures.items() if not math.isnan(value)} == {
        "attribute": 0.75,
        "scene": 0.5,
        "basic": 0.5,
        "counting": 0.25,
        "negation": 0.5,
        "advanced": 0.25,
        "overall": 0.375,
    }


def test_the_official_prompts_weigh_as_in_the_official_table():
    prompts = genai_bench.read_prompts(official.path("genai_bench"))
    figures = genai_bench.summarise([row(item.category, int(item.key) % 7 / 7) for item in prompts.items])
    skills = official.load("genai_bench/genai_skills.json")
    for name, ids in skills.items():
        assert figures[name] == pytest.approx(sum(number % 7 / 7 for number in ids) / len(ids), abs=1e-12), name
    assert figures["overall"] == pytest.approx((722 * figures["basic"] + 871 * figures["advanced"]) / 1593)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(row("scene", 1), "category 'scene'"), (Row("00000", 0, "basic: scene", {}), "row 00000: has no value 'score'")],
)
def test_faults_of_rows(wrong, message):
    with pytest.raises(UserError, match=message):
        genai_bench.summarise([wrong])
