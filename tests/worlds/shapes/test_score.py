"""The exact scorer: correct images pass, every fault is named, and the prompt alone decides."""

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.faults import compare
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject, centres
from irg_jax.worlds.shapes.picture import Background
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import backdrop, render
from irg_jax.worlds.shapes.scene import Scene, Wanted
from irg_jax.worlds.shapes.score import compare_with_plan, score_image
from tests.worlds.shapes.drawing import draw, good, weak

CORNERS = tuple(centres(32))


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_the_improved_picture_is_right_and_has_full_detail(split):
    for scene, _, improved in draw(60, split=split):
        score = score_image(render(improved), scene)
        assert (score.correct, score.reasons) == (True, ())
        assert score.detail > 0.99
        assert frozenset(score.seen.things) == frozenset(scene.objects)


def test_planted_faults_are_reported_exactly():
    wrong = 0
    for scene, picture, improved in draw(150, seed=5):
        reported = compare_with_plan(read_picture(render(picture)), scene.plan)
        wrong += reported != compare(scene.plan, picture.content)
        assert compare_with_plan(read_picture(render(improved)), scene.plan) == ()
    assert wrong <= 1


def test_flaws_of_the_execution_do_not_make_a_picture_wrong():
    for scene, _, improved in draw(12, seed=7):
        score = score_image(weak(improved.objects), scene)
        assert score.correct and 0.1 < score.detail < 0.3


def test_a_blank_picture_is_wrong_for_every_scene():
    for scene, _, _ in draw(12):
        score = score_image(backdrop(Background()).astype(np.uint8), scene)
        assert (score.correct, score.detail, score.seen.objects) == (False, 0.0, ())


def test_a_fixed_image_passes_few_scenes_and_a_crowded_one_passes_none():
    scenes = [scene for scene, _, _ in draw(30)]  # 5 of each kind

    def share_correct(image):
        return np.mean([score_image(image, scene).correct for scene in scenes])

    crowd = [PlacedObject(*look) for look in zip(COLOURS, SHAPES, CORNERS, strict=False)]
    assert share_correct(good(crowd)) == 0.0
    for scene in scenes[:3]:
        assert share_correct(good(scene.objects)) < 0.25


def score_objects(kind, wanted, objects, relation=None):
    """The score of an image of ``objects``; it does not depend on the plan."""
    return score_image(good(objects), Scene(kind, wanted, relation, ()))


RED_CIRCLE, BLUE_SQUARE = PlacedObject("red", "circle", "northwest"), PlacedObject("blue", "square", "northeast")
SQUARE_BELOW = PlacedObject("blue", "square", "southwest")
TWO = (Wanted("circle"), Wanted("square"))
ATTRIBUTED = (Wanted("circle", "red"), Wanted("square", "blue"))


@pytest.mark.parametrize(
    ("kind", "wanted", "objects", "relation", "reason"),
    [
        ("single_object", TWO[:1], [RED_CIRCLE], None, None),
        ("single_object", TWO[:1], [BLUE_SQUARE], None, "wanted 1 of shape circle, saw 0"),
        ("single_object", TWO[:1], [RED_CIRCLE, BLUE_SQUARE], None, "a square is there"),
        ("two_object", TWO, [RED_CIRCLE, BLUE_SQUARE], None, None),
        ("two_object", TWO, [RED_CIRCLE], None, "wanted 1 of shape square, saw 0"),
        ("counting", (Wanted("circle", count=2),), [RED_CIRCLE], None, "wanted 2 of shape circle, saw 1"),
        ("colors", (Wanted("circle", "blue"),), [RED_CIRCLE], None, "wanted the circle blue, saw red"),
        ("color_attr", ATTRIBUTED, [RED_CIRCLE, BLUE_SQUARE], None, None),
        ("color_attr", ATTRIBUTED[::-1], [RED_CIRCLE, SQUARE_BELOW], None, None),
        (
            "color_attr",
            ATTRIBUTED,
            [PlacedObject("blue", "circle", "northwest"), PlacedObject("red", "square", "northeast")],
            None,
            "wanted the circle red, saw blue",
        ),
        ("position", TWO, [RED_CIRCLE, BLUE_SQUARE], "left of", None),
        ("position", TWO, [RED_CIRCLE, BLUE_SQUARE], "right of", "the circle is not right of the square"),
        ("position", TWO, [RED_CIRCLE, SQUARE_BELOW], "above", None),
        ("position", TWO, [RED_CIRCLE, SQUARE_BELOW], "left of", "the circle is not left of the square"),
    ],
)
def test_the_decision_follows_the_kind(kind, wanted, objects, relation, reason):
    score = score_objects(kind, wanted, objects, relation)
    assert score.correct == (reason is None)
    assert reason is None or score.reasons[0].startswith(reason)


def test_counting_is_exact():
    three = [PlacedObject("green", "cross", place) for place in CORNERS[:3]]
    correct = [score_objects("counting", (Wanted("cross", count=count),), three).correct for count in (2, 3, 4)]
    assert correct == [False, True, False]


@pytest.mark.parametrize("shape", [(32, 32), (32, 64, 3), (32, 32, 4), (20, 20, 3), (16, 16, 3)])
def test_an_array_that_is_not_an_image_is_refused(shape):
    with pytest.raises(UserError, match="cannot read an image"):
        score_image(np.zeros(shape, np.uint8), Scene("single_object", TWO[:1], None, ()))
