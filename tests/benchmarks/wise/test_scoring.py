"""WISE's figures, equal to the official script's; both overalls."""

import math

import pytest

from irg_jax.benchmarks import wise
from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.wise.prompts import CATEGORIES, category
from irg_jax.benchmarks.wise.scoring import PLAIN_MEAN, wiscore
from irg_jax.core.errors import UserError
from tests.benchmarks import official

MARKS = {"consistency": 1.0, "realism": 1.0, "aesthetic_quality": 1.0}


def test_the_official_figures():
    golden = official.load("wise/golden_scoring.json")
    rows = [Row(str(row["prompt_id"]), 0, category("legacy", row["prompt_id"]), row) for row in golden["legacy_rows"]]
    expected = golden["legacy_expected"]
    figures = wise.summarise(rows[::-1])
    assert list(figures) == [*CATEGORIES, "overall", PLAIN_MEAN]
    assert {name: figures[name] for name in CATEGORIES} == pytest.approx(expected["category"], abs=1e-12)
    assert figures["overall"] == pytest.approx(expected["overall"], abs=1e-12)
    assert figures[PLAIN_MEAN] == pytest.approx(expected["overall_bagel_unweighted"], abs=1e-12)


def test_the_wiscore():
    assert wiscore(2, 2, 2) == pytest.approx(1)
    assert wiscore(1, 0, 0) == pytest.approx(0.35)
    assert wiscore(0, 1, 0) == pytest.approx(0.1)
    assert wiscore(0, 0, 1) == pytest.approx(0.05)


def test_verified_has_other_weights_and_one_overall():
    rows = [Row(name, 0, name, {"score": float(name in ("CULTURE", "TIME"))}) for name in CATEGORIES]
    figures = wise.summarise([*rows, Row("x", 0, "TIME", {"score": 0.0})])
    assert figures == {name: {"CULTURE": 1.0, "TIME": 0.5}.get(name, 0.0) for name in CATEGORIES} | {
        "overall": pytest.approx(0.4 + 0.06)
    }


def test_without_rows_of_a_category_there_is_no_overall():
    figures = wise.summarise([Row("1", 0, "CULTURE", {"score": 1.0})])
    assert figures["CULTURE"] == 1 and math.isnan(figures["TIME"]) and math.isnan(figures["overall"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Row("1", 0, "TIME", {"score": 1.0}), Row("2", 0, "TIME", MARKS)], "legacy and of verified together"),
        ([Row("1", 0, "culture", {"score": 1.0})], "category 'culture'; it has to be one of CULTURE"),
        ([Row("1", 0, "TIME", {"consistency": 1.0})], "row 1: has no value 'realism'"),
    ],
)
def test_faults_of_rows(rows, message):
    with pytest.raises(UserError, match=message):
        wise.summarise(rows)
