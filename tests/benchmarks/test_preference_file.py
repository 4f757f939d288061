"""preference.json: what is written is read again, and what is wrong with a file is named."""

import json

import pytest

from irg_jax.benchmarks.benchmark import Problem
from irg_jax.benchmarks.preference import Verdict
from irg_jax.benchmarks.preference_file import FILE, Verdicts, has_verdicts, read_verdicts, write_verdicts
from irg_jax.core.errors import UserError

VERDICTS = Verdicts(
    benchmark="geneval",
    version="short",
    a="irg turn 2",
    b="irg turn 1",
    protocol={"template": "12ab"},
    categories={"00000": "colors"},
    verdicts=(Verdict("00000", 0, "judge", "ab", "first"), Verdict("00000", 0, "judge", "ba", "tie")),
    problems=(Problem("unreadable", "00000", "the judge refused; ask again"),),
)


def test_verdicts_are_read_as_they_were_written(tmp_path):
    assert not has_verdicts(tmp_path)
    write_verdicts(tmp_path, VERDICTS)
    assert has_verdicts(tmp_path) and read_verdicts(tmp_path) == VERDICTS


def test_a_choice_that_is_none_is_named_with_its_place(tmp_path):
    write_verdicts(tmp_path, VERDICTS)
    values = json.loads((tmp_path / FILE).read_text("utf-8"))
    values["verdicts"][1]["choice"] = "both"
    (tmp_path / FILE).write_text(json.dumps(values), "utf-8")
    with pytest.raises(UserError, match=r"verdicts\[1\] choice: is 'both', not one of first, second, tie; ask the"):
        read_verdicts(tmp_path)
