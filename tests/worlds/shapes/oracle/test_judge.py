"""The requests of the five benchmarks, in their wordings, about pictures of the world."""

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.oracle.judge import CONFIDENCE, judge
from tests.worlds.shapes.drawing import good, weak
from tests.worlds.shapes.oracle.asking import RED_CIRCLE_AND_BLUE_SQUARE as PICTURE
from tests.worlds.shapes.oracle.asking import chat, encode

RIGHT, WRONG = "a red circle and a blue square", "a red circle and a green square"
BLANK = np.full((32, 32, 3), 238, np.uint8)
MARKS = (
    'PROMPT: "{}"\nEXPLANATION: "Two shapes."\nMark from 0 to 2:\nConsistency\nRealism\nAesthetic Quality\n'
    "Score 0, 1 or 2 each."
)
PAIR = 'Which picture is better for "{}"? End with a line that is "first", "second" or "tie".'


def test_one_question_has_one_word_as_its_answer():
    for ask in ("{} Please answer 'Yes' or 'No' only.", "{}. Please answer 'Yes' or 'No' only."):
        assert judge(chat(ask.format("Is there a red circle?"), PICTURE)).text == "Yes"
        assert judge(chat(ask.format("Is there a red square?"), PICTURE)).text == "No"


def test_each_question_has_a_line():
    text = (
        "You are a critic.\nAnswer each question:\nIs there a circle?  \n1. Is there a cross?\nQ2: Is the square blue?"
    )
    assert judge(chat(text + "\nAnswer yes or no, one line each.", PICTURE)).text == "Yes\nNo\nYes"


def test_the_probability_of_yes_is_that_of_the_right_answer():
    for prompt, yes in ((RIGHT, CONFIDENCE), (WRONG, 1 - CONFIDENCE)):
        answer = judge(chat(f'Does this figure show "{prompt}"? Please answer yes or no.', PICTURE))
        assert answer.first["Yes"] == pytest.approx(yes) and answer.first["No"] == pytest.approx(1 - yes)
        assert answer.text == ("Yes" if yes > 0.5 else "No")


@pytest.mark.parametrize(
    ("prompt", "picture", "marks"),
    [
        (RIGHT, PICTURE, (2, 2, 2)),
        (WRONG, PICTURE, (1, 2, 2)),
        ("a circle", weak([PlacedObject("red", "circle", "northwest")]), (2, 1, 0)),
        (RIGHT, BLANK, (0, 0, 0)),
    ],
)
def test_marks(prompt, picture, marks):
    expected = "Consistency: {}\nRealism: {}\nAesthetic Quality: {}".format(*marks)
    assert judge(chat(MARKS.format(prompt), picture)).text == expected


@pytest.mark.parametrize("form", ["Score: 0 or 1", "Score: [0/1]", "either\nScore: 0\nor\nScore: 1"])
def test_a_binary_score(form):
    for prompt, score in ((RIGHT, 1), (WRONG, 0)):
        text = f"Prompt: {prompt}\nJudge consistency, realism and aesthetic quality together. Answer with {form}"
        assert judge(chat(text, PICTURE)).text == f"Score: {score}"


def test_no_picture_of_the_world_has_text_in_it():
    assert judge(chat("Recognize the text in the image, only reply with it.", PICTURE)).text == "No text recognized."


@pytest.mark.parametrize(
    ("prompt", "first", "second", "better"),
    [
        (RIGHT, PICTURE, BLANK, "first"),
        (WRONG, BLANK, PICTURE, "second"),  # something is better than nothing
        ("a circle", weak([PlacedObject("red", "circle", "northwest")]),
         good([PlacedObject("blue", "circle", "southeast")]), "second"),
        (RIGHT, PICTURE, PICTURE, "tie"),
        (WRONG, BLANK, BLANK, "tie"),
    ],
)  # fmt: skip
def test_the_better_of_two_pictures_whatever_their_order(prompt, first, second, better):
    assert judge(chat(PAIR.format(prompt), first, second)).text.splitlines()[-1] == better
    other = {"first": "second", "second": "first", "tie": "tie"}[better]
    assert judge(chat(PAIR.format(prompt), second, first)).text.splitlines()[-1] == other


def test_a_preference_has_the_form_that_is_asked_for():
    ask = f"Two images, the first and the second:\n-----\n{RIGHT}\n-----\nWhich is better?\nAnswer: first\nAnswer: tie"
    assert judge(chat(ask, PICTURE, BLANK)).text.splitlines()[-1] == "Answer: first"


@pytest.mark.parametrize(
    "picture", [b"", b"no picture", encode(PICTURE)[:90], encode(PICTURE[:, :16]), encode(PICTURE[:24, :24])]
)
def test_what_is_no_picture_of_the_world_shows_nothing(picture):
    assert judge(chat("Is there an object?\nAre there no objects?", picture)).text == "No\nYes"
    assert judge(chat(MARKS.format(RIGHT), picture)).text.startswith("Consistency: 0\nRealism: 0")


@pytest.mark.parametrize("factor", [2, 4, 5, 16])
def test_larger_pictures_are_seen_too(factor):
    shown = [PlacedObject("red", "circle", "northwest"), PlacedObject("blue", "square", "northeast")]
    text = f"{RIGHT}\nScore: 0 or 1"
    assert judge(chat(text, good(shown, 32 * factor))).text == "Score: 1"


@pytest.mark.parametrize(
    ("text", "pictures", "message"),
    [
        ("Is there a cat?", [PICTURE], "the question 'Is there a cat?'"),
        ("Describe it.", [PICTURE], "no question in 'Describe it.'"),
        ("Is there a circle?", [], "0 pictures"),
        ("Is there a circle?", [PICTURE, PICTURE], "2 pictures"),
        ('Does this figure show "a cat"? Please answer yes or no.', [PICTURE], "the oracle understands"),
        (MARKS.format("a cat"), [PICTURE], "no prompt of the shapes world"),
    ],
)
def test_a_request_of_no_known_form_is_told_which_are_known(text, pictures, message):
    with pytest.raises(UserError) as error:
        judge(chat(text, *pictures))
    assert message in str(error.value) and "'Is there a red circle in the image?'" in str(error.value)
