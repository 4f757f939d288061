"""What a judge of two images is asked, and how its answer is read."""

import pytest

from irg_jax.benchmarks.benchmark import UnreadableAnswer
from irg_jax.benchmarks.preference_question import question, read_answer, template_digest


def test_the_prompt_stands_in_the_question_as_it_is():
    prompt = 'a sign that says "{prompt}" \\1'
    assert question(prompt).count(prompt) == 1
    assert question("x") != question("y")
    assert len(template_digest()) == 64


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Answer: first", "first"),
        ("The second has three cats.\n\nAnswer: second\n", "second"),
        ("**Answer:** tie", "tie"),
        ("**Answer: First.**", "first"),
        ("answer : SECOND!", "second"),
        ("Tie.", "tie"),
        ("Answer: first\r\nAnswer: first", "first"),
    ],
)
def test_the_choice_is_read(text, choice):
    assert read_answer(text) == choice


@pytest.mark.parametrize("text", ["", "I cannot help with that.", "The first is better.", "Answer: both", "Answer:"])
def test_an_answer_without_a_choice_is_unreadable(text):
    with pytest.raises(UnreadableAnswer, match="has no line 'Answer: first'"):
        read_answer(text)


def test_an_answer_that_contradicts_itself_is_unreadable():
    with pytest.raises(UnreadableAnswer, match="says both first and second"):
        read_answer("Answer: first\nAnswer: second")


def test_a_long_answer_is_cut_in_the_error():
    with pytest.raises(UnreadableAnswer) as caught:
        read_answer("no " * 1000)
    assert len(str(caught.value)) < 400
