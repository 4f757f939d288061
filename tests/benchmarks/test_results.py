"""scores.json: what is written is read again, and what is wrong with a file is named."""

import dataclasses
import json
import math

import pytest

from irg_jax.benchmarks.benchmark import Problem, Row
from irg_jax.benchmarks.results import FILE, Figure, Result, read_result, write_result
from irg_jax.core.errors import UserError

RESULT = Result(
    benchmark="geneval",
    version="short",
    run="irg",
    checkpoint="runs/irg",
    step=3000,
    turn=1,
    seed=7,
    protocol={"prompts": "ab12", "judge": "none"},
    comparable=True,
    figures={"colors": Figure(0.5, 0.25, 0.75), "overall": Figure(0.5, 0.25, 0.75)},
    expected_items=2,
    scored_items=2,
    rows=(Row("00000", 0, "colors", {"correct": 1.0}), Row("00001", 0, "colors", {"correct": 0.0})),
    complete=True,
    problems=(Problem("extra", "images/x.png", "belongs to no prompt; remove it"),),
    prompts={"00000": "a photo of a red cat", "00001": "ein blauer Hund, 狗"},
    images={("00000", 0): "images/00000.png"},
)


def damage(folder, change):
    """Writes the result and changes its JSON."""
    write_result(folder, RESULT)
    values = json.loads((folder / FILE).read_text("utf-8"))
    change(values)
    (folder / FILE).write_text(json.dumps(values), "utf-8")


def test_a_result_is_read_as_it_was_written(tmp_path):
    write_result(tmp_path, RESULT)
    assert read_result(tmp_path) == RESULT
    assert read_result(tmp_path, run="irg", turn=1) == RESULT


def test_a_figure_without_a_value_is_null_in_the_file(tmp_path):
    result = dataclasses.replace(RESULT, figures={"style": Figure(math.nan, math.nan, math.nan)})
    write_result(tmp_path, result)
    assert "NaN" not in (tmp_path / FILE).read_text("utf-8")
    assert math.isnan(read_result(tmp_path).figures["style"].value)


def test_an_overall_of_too_few_prompts_says_so_in_its_name(tmp_path):
    result = dataclasses.replace(RESULT, scored_items=500, expected_items=553, complete=False)
    assert result.shown_name("overall") == "overall of 500 of 553 prompts"
    assert result.shown_name("colors") == "colors"
    write_result(tmp_path, result)
    assert [*json.loads((tmp_path / FILE).read_text("utf-8"))["figures"]] == ["colors", "overall of 500 of 553 prompts"]
    assert read_result(tmp_path) == result


def test_an_overall_of_too_few_prompts_without_it_is_refused(tmp_path):
    damage(tmp_path, lambda values: values.update(complete=False, scored_items=1))
    with pytest.raises(UserError, match="'overall': should be named 'overall of 1 of 2 prompts'"):
        read_result(tmp_path)


def test_a_result_that_is_not_complete_cannot_say_that_it_is(tmp_path):
    damage(tmp_path, lambda values: values.update(scored_items=1))
    with pytest.raises(UserError, match="complete: is true with 1 of 2 prompts scored; score the images again"):
        read_result(tmp_path)


def test_a_result_of_another_run_is_refused(tmp_path):
    write_result(tmp_path, RESULT)
    with pytest.raises(UserError, match=r"scores\.json: is of another run: its turn is 1, not 2; give another folder"):
        read_result(tmp_path, run="irg", turn=2)


def test_the_scores_of_another_command_are_named(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"samples": 3, "turn1": {}, "turn2": {}}))
    with pytest.raises(UserError, match="is of python -m irg_jax.report, not of a benchmark"):
        read_result(tmp_path)


def test_a_missing_or_torn_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"scores\.json: is missing; score the images again"):
        read_result(tmp_path)
    write_result(tmp_path, RESULT)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:200])
    with pytest.raises(UserError, match=r"scores\.json: is damaged at line \d+ column \d+ .*; score the images again"):
        read_result(tmp_path)
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"scores\.json: is not UTF-8"):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("run"), "run: is missing"),
        (lambda v: v.update(step="x"), 'step: is "x", not a whole number'),
        (lambda v: v.update(turn=-1), "turn: is -1, below 0"),
        (lambda v: v.update(turn=True), "turn: is true, not a whole number"),
        (lambda v: v.update(comparable=1), "comparable: is 1, not true or false"),
        (lambda v: v.update(format=2), "format: is 2, which this version"),
        (lambda v: v.update(rows={}), "rows: is {}, not a list"),
        (lambda v: v["rows"].append(3), r"rows\[2\]: is 3, not an object"),
        (lambda v: v["rows"][1]["values"].update(correct="yes"), r'rows\[1\] values correct: is "yes", not a number'),
        (lambda v: v["rows"].append(v["rows"][0]), r"rows\[2\]: is of 00000 sample 0, which an earlier row is of"),
        (lambda v: v["figures"]["overall"].pop("low"), "figures overall low: is missing"),
        (lambda v: v["protocol"].update(judge=None), "protocol judge: is null, not a text"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(tmp_path, change, message):
    damage(tmp_path, change)
    with pytest.raises(UserError, match=rf"scores\.json:? ?{message}.*; score the images again"):
        read_result(tmp_path)
