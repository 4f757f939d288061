"""TIIF-Bench's question, its choice of templates, and the reading of answers."""

import hashlib
from collections import Counter

import pytest

from irg_jax.benchmarks.benchmark import UnreadableAnswer
from irg_jax.benchmarks.judge import Template
from irg_jax.benchmarks.tiif import judge
from irg_jax.core.errors import UserError
from tests.benchmarks.tiif.prompts import read

TEMPLATES = [Template(f"{name}: ##YNQuestions##", "You judge.", "", name, False) for name in "abc"]


def test_all_questions_are_asked_at_once(tmp_path):
    item = read(tmp_path).items[1]
    asked = judge.question(item, TEMPLATES[0])
    assert asked.text == "a: Is it 1?\nIs it red?"
    assert (asked.key, asked.system, asked.max_tokens) == (item.key, "You judge.", None)


@pytest.mark.parametrize(
    ("answer", "answers"),
    [
        ("yes\nno", ["yes", "no"]),
        ("Here they are:\n\n  YES, there is.\r\nNo. It is blue.\n", ["yes", "no"]),
        ("yes\nnothing\nnot\nno", ["yes", "no"]),
    ],
)
def test_lines_that_begin_with_yes_or_no_are_answers(answer, answers):
    assert judge.parse(answer, 2) == answers


@pytest.mark.parametrize("answer", ["", "yes", "yes\nno\nno", "1. yes\n2. no", "**yes**\n**no**", "I cannot say."])
def test_another_number_of_answers_is_none(answer):
    with pytest.raises(UnreadableAnswer, match="for 2 questions; ask again"):
        judge.parse(answer, 2)


def test_values_count_right_answers(tmp_path):
    item = read(tmp_path).items[0]
    assert judge.values(item, "Yes\nyes") == {"correct": 1.0, "questions": 2.0}
    assert judge.values(item, "yes\nno") == {"correct": 2.0, "questions": 2.0}


def test_the_choice_of_a_template_is_the_first_or_drawn_by_seed_and_key():
    keys = [f"text/short/{line}" for line in range(300)]
    assert {judge.choose_template(TEMPLATES, key).name for key in keys} == {"a"}
    drawn = [judge.choose_template(TEMPLATES, key, seed=1).name for key in keys]
    assert drawn == [judge.choose_template(TEMPLATES, key, seed=1).name for key in keys]
    assert drawn != [judge.choose_template(TEMPLATES, key, seed=2).name for key in keys]
    assert all(70 < count < 130 for count in Counter(drawn).values())


def test_templates_of_a_folder_are_in_the_official_order(tmp_path, monkeypatch):
    for name in ("1", "2", "3"):
        (tmp_path / f"{name}.txt").write_text(f"{name} ##YNQuestions##")
    digests = [hashlib.sha256(f"{name} ##YNQuestions##".encode()).hexdigest() for name in ("3", "1")]
    monkeypatch.setattr(judge, "_OFFICIAL", dict(zip(digests, ["first", "second"], strict=True)))
    monkeypatch.setattr(judge, "_OFFICIAL_SYSTEM", hashlib.sha256(b"You judge.").hexdigest())
    (tmp_path / "system.txt").write_text("You judge.\n")
    loaded = judge.load_templates(tmp_path)
    assert [(template.text[0], template.name) for template in loaded] == [
        ("3", "first"),
        ("1", "second"),
        ("2", "custom"),
    ]


def test_one_template_or_the_own_one(tmp_path):
    (own,) = judge.load_templates(None)
    assert not own.comparable
    (tmp_path / "one.txt").write_text("##YNQuestions##")
    assert [template.text for template in judge.load_templates(tmp_path / "one.txt")] == ["##YNQuestions##"]
    (tmp_path / "one.txt").write_text("questions")
    with pytest.raises(UserError, match="has no ##YNQuestions##"):
        judge.load_templates(tmp_path)
    (tmp_path / "one.txt").unlink()
    with pytest.raises(UserError, match="has no .txt"):
        judge.load_templates(tmp_path)
