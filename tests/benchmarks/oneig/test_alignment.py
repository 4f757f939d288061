"""OneIG-Bench's alignment: the official cases, exact answers, and questions that depend on others."""

import pytest

from irg_jax.benchmarks.oneig import alignment
from irg_jax.benchmarks.oneig.references import Check, checks
from irg_jax.core.errors import UserError
from tests.benchmarks import official

CHAIN = (Check(1, "A cat?", ()), Check(2, "Is it red?", (1,)), Check(3, "A red tail?", (2,)))


def value(*answers, of=CHAIN):
    return alignment.values(of, {str(i): answer for i, answer in enumerate(answers, start=1)})["alignment"]


def test_official_cases():
    for case in official.load("oneig/golden_scoring.json")["alignment_cases"]:
        asked = checks({"question": dict.fromkeys(case["dependency"], "?"), "dependency": case["dependency"]}, "here")
        images = range(len(case["answers"]["1"]))
        scores = [
            alignment.values(asked, {number: answers[image] for number, answers in case["answers"].items()})[
                "alignment"
            ]
            for image in images
        ]
        assert sum(scores) / len(scores) == pytest.approx(case["score"], abs=1e-12), case["id"]


def test_what_is_asked():
    first, *_ = asked = alignment.questions(CHAIN)
    assert [one.id for one in asked] == ["1", "2", "3"]
    assert first.text.startswith("A cat?") and first.max_tokens == 128


def test_a_question_counts_only_if_its_direct_parents_do():
    assert value("Yes", "Yes", "Yes") == 1
    assert value("Yes", "No", "Yes") == pytest.approx(1 / 3)
    # The second does not count, but its answer is yes, so that the third one does.
    assert value("No", "Yes", "Yes") == pytest.approx(1 / 3)


def test_a_parent_may_come_later_and_one_of_two_is_enough_to_fail():
    later = (Check(1, "Is it red?", (2,)), Check(2, "A cat?", ()), Check(3, "Both?", (1, 2)))
    assert value("Yes", "No", "Yes", of=later) == 0
    assert value("No", "Yes", "Yes", of=later) == pytest.approx(1 / 3)


@pytest.mark.parametrize("answer", ["Yes.", "yes", " Yes", "Yes\n", "YES", ""])
def test_only_an_exact_yes_counts(answer):
    assert value(answer, "Yes", "Yes") == pytest.approx(1 / 3)
    assert alignment.unclear({"1": answer, "2": "Yes", "3": "No"}) == ["1"]


def test_a_question_without_an_answer():
    with pytest.raises(UserError, match="question 3 .A red tail.. has no answer"):
        value("Yes", "Yes")
