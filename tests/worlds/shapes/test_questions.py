"""What yes/no questions mean."""

import pytest

from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.oracle.questions import EXAMPLES, answer_question
from irg_jax.worlds.shapes.reader import read_objects
from tests.worlds.shapes.drawing import good

SHOWN = [("red", "circle", "northwest"), ("blue", "square", "northeast"), ("blue", "square", "southeast")]


@pytest.fixture(scope="module")
def objects():
    return read_objects(good([PlacedObject(*thing) for thing in SHOWN]))


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
    ],
)
def test_yes(question, objects):
    assert answer_question(question, objects) is True


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
    ],
)
def test_no(question, objects):
    assert answer_question(question, objects) is False


def test_a_relation_holds_for_every_pair(objects):
    first = objects[:2]
    assert answer_question("Is the circle left of the square?", first) is True
    assert answer_question("Is the square right of the circle?", first) is True
    assert answer_question("Is the square above the square?", objects) is False


@pytest.mark.parametrize("question", ["", "Is there a cat?", "Is the circle happy?", "A red circle", "Is there?"])
def test_what_is_not_understood_has_no_answer(question, objects):
    assert answer_question(question, objects) is None


def test_the_examples_of_the_error_are_understood(objects):
    assert None not in [answer_question(question, objects) for question in EXAMPLES]


def test_nothing_is_in_a_picture_without_objects():
    assert [answer_question(question, ()) for question in EXAMPLES] == [False] * 5
