"""TIIF-Bench's figures, equal to the published two decimals."""

import math

import pytest

from irg_jax.benchmarks import tiif
from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.tiif.attributes import ATTRIBUTES, GROUPS
from irg_jax.benchmarks.tiif.scoring import accuracy
from irg_jax.core.errors import UserError
from tests.benchmarks import official


def row(category, correct, questions):
    return Row(f"{category} x", 0, category, {"correct": correct, "questions": questions})


def test_the_published_figures():
    counts, published = official.load("tiif/golden_counts.json"), official.load("tiif/golden_scores.json")
    names = {"basic_avg": "Basic avg", "advanced_avg": "Advanced avg"}
    for model, of_model in counts.items():
        rows = [row(f"{length}/{name}", *of) for name, lengths in of_model.items() for length, of in lengths.items()]
        figures = tiif.summarise(rows)
        for length, scores in published[model].items():
            ours = {name: round(100 * figures[f"{length}/{names.get(name, name)}"], 2) for name in scores}
            assert ours == scores, (model, length)


def test_names_and_their_order():
    figures = tiif.summarise([row(f"{length}/{name}", 1, 2) for length in ("short", "long") for name in ATTRIBUTES])
    assert list(figures) == [
        f"{length}/{name}" for length in ("short", "long") for name in (*GROUPS, "Basic avg", "Advanced avg", "overall")
    ]
    assert set(figures.values()) == {0.5}


def test_an_accuracy_is_pooled_over_questions_and_rounded():
    assert tiif.summarise([row("short/text", 1, 1), row("short/text", 0, 2)])["short/Text"] == 0.3333
    assert accuracy(2, 3) == 0.6667 and math.isnan(accuracy(0, 0))


def test_groups_without_rows_are_left_out_of_an_overall():
    figures = tiif.summarise([row("short/text", 1, 1), row("short/style", 1, 2)])
    assert (figures["short/overall"], figures["short/Advanced avg"]) == (0.75, 0.75)
    assert math.isnan(figures["short/Basic avg"]) and math.isnan(figures["long/overall"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (row("text", 1, 1), "category 'text' is none of TIIF-Bench's, such as short/text"),
        (Row("k", 0, "short/text", {"correct": 1.0}), "row k: has no value 'questions'"),
    ],
)
def test_faults_of_rows(wrong, message):
    with pytest.raises(UserError, match=message):
        tiif.summarise([wrong])
