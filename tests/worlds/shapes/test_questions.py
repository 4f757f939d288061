"""What yes/no questions mean."""

import dataclasses

import pytest

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.picture import Drawing, Picture
from irg_jax.worlds.shapes.questions import EXAMPLES, answer_question, failed_checks
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene import Check

SHOWN = [("red", "circle", "northwest"), ("blue", "square", "northeast"), ("blue", "square", "southeast")]


@pytest.fixture(scope="module")
def picture():
    return read_picture(render(Picture(tuple(Drawing(PlacedObject(*thing)) for thing in SHOWN))))


@pytest.mark.parametrize(
    "question",
    [
        "Is there a red circle in the image?  ",
        "Is there a circle?",
        "Are there any squares?",
        "Are there two blue squares in this picture?",
        "Are there 3 objects?",
        "Is there one circle?",
        "Is there more than one square?",
        "Are there fewer than 3 squares?",
        "Are there at least two squares?",
        "Is there only one circle?",
        "Are there no triangles?",
        "Is there both a red circle and a blue square?",
        "Does the image contain a red circle and two blue squares?",
        "Is the circle red?",
        "Are the squares blue?",
        "Is the red circle in the northwest?",
        "Is the circle left of the blue square?",
        "Is the red circle to the left of the blue squares?",
        "Are the squares on the right side of the circle?",
        "Are there more squares than circles?",
        "Are there fewer circles than blue objects?",
        "Are there as many circles as red objects?",
        "Are all objects red or blue?",
        "Are all objects circles or squares?",
        "Are all squares blue?",
        "Is the circle a circle or a cross?",
        "Are all squares of the same colour?",
        "Is the circle on the north side?",
        "Are the squares on the east side?",
        "Is the picture outlined?",
    ],
)
def test_yes(question, picture):
    assert answer_question(question, picture) is True


@pytest.mark.parametrize(
    "question",
    [
        "Is there a blue circle in the image?",
        "Are there three blue squares?",
        "Is there one blue square?",
        "Is there more than one circle?",
        "Are there no circles?",
        "Is the circle blue?",
        "Is the triangle blue?",
        "Is the circle left of the triangle?",
        "Is the circle above the square?",
        "Is there a red circle and a green square?",
        "Are there more circles than squares?",
        "Are there as many circles as squares?",
        "Are all objects blue?",
        "Are all triangles blue?",
        "Are all objects of the same shape?",
        "Are all objects of different colours?",
        "Are the squares on the north side?",
        "Does the image show the word CAT?",
        "Is there any text in the image?",
        "Is the picture in a flat style?",
    ],
)
def test_no(question, picture):
    assert answer_question(question, picture) is False


def test_a_relation_holds_for_every_pair(picture):
    upper = dataclasses.replace(picture, objects=picture.objects[:2])
    assert answer_question("Is the circle left of the square?", upper) is True
    assert answer_question("Is the square right of the circle?", upper) is True
    assert answer_question("Is the square above the square?", picture) is False


@pytest.mark.parametrize("question", ["", "Is there a cat?", "Is the circle happy?", "A red circle", "Is there?"])
def test_what_is_not_understood_has_no_answer(question, picture):
    assert answer_question(question, picture) is None


def test_the_examples_of_the_error_are_understood(picture):
    assert None not in [answer_question(question, picture) for question in EXAMPLES]


def test_nothing_is_in_a_picture_without_objects(picture):
    empty = dataclasses.replace(picture, objects=())
    assert not any(answer_question(question, empty) for question in EXAMPLES)


def test_words_and_styles(picture):
    written = dataclasses.replace(picture, word="CAT", style="striped")
    for question in ("Does the image show the word CAT?", "Is there the word 'cat'?", "Is there a word in the image?"):
        assert answer_question(question, written) is True
    assert answer_question("Does the picture show the text CAR?", written) is False
    assert answer_question("Are the objects striped?", written) is True
    assert answer_question("Is the picture outlined?", written) is False


def test_a_check_fails_if_the_answer_is_not_the_expected_one(picture):
    checks = (Check("Is there a red circle?"), Check("Is there a cross?"), Check("Is there a circle?", False))
    assert failed_checks(checks, picture) == checks[1:]
    with pytest.raises(UserError, match="happy"):
        failed_checks([Check("Is the circle happy?")], picture)
