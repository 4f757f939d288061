"""Result files of the official judge script, one turn at a time."""

import json

import pytest

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.tiif.results import read_results
from irg_jax.core.errors import UserError
from tests.benchmarks.tiif.prompts import read

QUESTIONS = ["Is it 1?", "Is it red?"]


@pytest.fixture
def prompts(tmp_path):
    (tmp_path / "data").mkdir()
    return read(tmp_path / "data")


def write(tmp_path, name="text/short/1.json", **changes):
    path = tmp_path / "eval" / "irg" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {"questions": QUESTIONS, "gt_answers": ["Yes", "no"], "model_pred": ["yes", "yes"], "model_output": "…"}
    path.write_text(json.dumps(result | changes))


def test_rows_of_the_results_that_are_there(tmp_path, prompts):
    write(tmp_path)
    write(tmp_path, "color+2d/long/1.json", model_pred=["Yes", "No"])
    assert read_results(prompts, tmp_path / "eval", model="irg") == [
        Row("color+2d/long/1", 0, "long/color+2d", {"correct": 2.0, "questions": 2.0}),
        Row("text/short/1", 0, "short/text", {"correct": 1.0, "questions": 2.0}),
    ]


def test_turns_are_not_pooled(tmp_path, prompts):
    write(tmp_path, "text/short/turn1_1.json", model_pred=["no", "yes"])
    write(tmp_path, "text/short/turn2_1.json")
    write(tmp_path, "text/short/comparison_1.json")
    rows = [read_results(prompts, tmp_path / "eval", model="irg", turn=turn) for turn in (1, 2)]
    assert [row.values["correct"] for (row,) in rows] == [0.0, 1.0]
    with pytest.raises(UserError, match="of several turns, .*; copy those of one turn into a folder of their own"):
        read_results(prompts, tmp_path / "eval", model="irg")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("text/short/9.json", {}, "no result of these prompts, which have no text/short/9"),
        ("text/short/0.json", {}, "has other questions than text/short/0"),
        ("text/short/1.json", {"gt_answers": ["no", "no"]}, "has other right answers than text/short/1"),
        ("text/short/1.json", {"model_pred": ["no"]}, "has 1 answers to 2 questions"),
        ("text/short/1.json", {"model_pred": None}, "has no lists questions, gt_answers and model_pred"),
    ],
)
def test_results_of_something_else(tmp_path, prompts, name, changes, message):
    write(tmp_path, name, **changes)
    with pytest.raises(UserError, match=message):
        read_results(prompts, tmp_path / "eval", model="irg")


def test_a_folder_without_results(tmp_path, prompts):
    with pytest.raises(UserError, match="has no TYPE/LENGTH/LINE.json"):
        read_results(prompts, tmp_path / "eval", model="irg")
