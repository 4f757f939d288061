"""The exact scorer: correct images pass, every fault is named, and nothing is found in images without objects."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import BACKGROUND, COLOURS, PLACES, SHAPES, PlacedObject
from irg_jax.worlds.shapes.reader import read_image
from irg_jax.worlds.shapes.render import render_good, render_weak
from irg_jax.worlds.shapes.scene import Scene, Wanted
from irg_jax.worlds.shapes.score import compare_with_plan, relative_position, score_image
from irg_jax.worlds.shapes.thinking import parse_faults
from irg_jax.worlds.shapes.world import make_trajectory

SINGLES = [PlacedObject(*look) for look in itertools.product(COLOURS, SHAPES, PLACES)]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


def records(count, seed=0, split="train"):
    for index in range(count):
        record = make_trajectory(seed, split, index)
        yield record, Scene.from_json(record.scene)


def seen_in(image):
    return sorted((seen.colour, seen.shape, seen.place) for seen in read_image(image))


def noisy(rng, image, sigma):
    return np.clip(np.rint(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("render", [render_good, render_weak])
def test_every_single_object_is_read_in_both_renderings(render, size):
    for thing in SINGLES:
        (seen,) = read_image(render([thing], size))
        assert (seen.colour, seen.shape, seen.place) == (thing.colour, thing.shape, thing.place)
        assert seen.corner == tuple(start * size // 2 for start in PLACES[thing.place])


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_good_renderings_have_full_detail_and_weak_ones_lack_it(split):
    for record, scene in records(240, split=split):
        good, weak = score_image(pixels(record.image2), scene), score_image(pixels(record.image1), scene)
        assert (good.correct, good.reasons, good.detail) == (True, (), 1.0)
        assert 0.1 < weak.detail < 0.3


def test_planted_faults_are_reported_exactly():
    for record, scene in records(240, seed=5):
        assert compare_with_plan(pixels(record.image1), scene) == parse_faults(record.thinking2)
        assert compare_with_plan(pixels(record.image2), scene) == []


def test_noise_of_twelve_levels_changes_no_object_and_little_detail(rng):
    for record, scene in records(60, seed=1):
        for encoded in (record.image1, record.image2):
            assert seen_in(noisy(rng, pixels(encoded), 12)) == seen_in(pixels(encoded))
        assert score_image(noisy(rng, pixels(record.image2), 12), scene).detail > 0.9


def test_detail_grows_from_the_weak_rendering_to_the_good_one():
    for thing in SINGLES[::7]:
        scene = Scene("colors", (Wanted(thing.shape, thing.colour),), None, (thing,))
        weak, good = (render([thing]).astype(float) for render in (render_weak, render_good))
        mixed = [(weak + (good - weak) * share / 4).round().astype(np.uint8) for share in range(5)]
        scores = [score_image(image, scene) for image in mixed]
        assert all(score.correct for score in scores)
        details = [score.detail for score in scores]
        assert details == sorted(details)
        assert details[0] <= 0.3
        assert details[-1] == 1.0


def test_a_shifted_object_is_found_at_its_real_position():
    image = np.roll(render_good([PlacedObject("green", "diamond", "northwest")]), (1, 2), (0, 1))
    (seen,) = read_image(image)
    assert (seen.colour, seen.shape, seen.place, seen.corner) == ("green", "diamond", "northwest", (1, 2))


def gradients(rng):
    across = np.linspace(0, 1, 32)[None, :, None]
    for start, end in rng.integers(0, 256, (20, 2, 3)):
        for first in (start, BACKGROUND):
            yield first + (end - first) * across * np.ones((32, 1, 1))
            yield first + (end - first) * (across + across.transpose(1, 0, 2)) / 2
            yield first + (end - first) * ((across - 0.5) ** 2 + (across.transpose(1, 0, 2) - 0.5) ** 2) * 2


def images_without_objects(rng):
    """(name, pixels) of images without any object of the world."""
    yield "blank", np.full((32, 32, 3), 238)
    for colour in rng.integers(0, 256, (20, 3)):
        yield "constant", np.broadcast_to(colour, (32, 32, 3))
        yield "grain", colour + rng.normal(0, 25, (32, 32, 3))
        yield "uniform noise", rng.integers(0, 256, (32, 32, 3))
        yield "noisy background", BACKGROUND + rng.normal(0, 30, (32, 32, 3))
    for gradient in gradients(rng):
        yield "gradient", gradient
    stripes = np.full((32, 32, 3), 238)
    stripes[::4] = stripes[1::4] = (220, 20, 60)
    yield "stripes", stripes
    for grey in (0, 60, 120, 180):
        smudge = np.full((32, 32, 3), 238)
        smudge[2:14, 2:14] = grey
        yield "grey square", smudge


def test_nothing_is_found_in_images_without_objects(rng):
    scenes = [scene for _, scene in records(6)]
    for name, values in images_without_objects(rng):
        image = np.clip(values, 0, 255).astype(np.uint8)
        assert read_image(image) == (), name
        for scene in scenes:
            score = score_image(image, scene)
            assert not score.correct
            assert score.detail == 0.0


def test_smudges_neither_hide_nor_add_objects(rng):
    wrong = 0
    for record, _ in records(60, seed=5):
        clean = pixels(record.image2)
        smudged = clean.astype(float)
        for row, column in rng.integers(0, 29, (3, 2)):
            smudged[row : row + 3, column : column + 3] += rng.normal(0, 40, 3)
        wrong += seen_in(np.clip(smudged, 0, 255).astype(np.uint8)) != seen_in(clean)
    assert wrong <= 2


def test_a_fixed_image_passes_few_scenes_and_a_crowded_one_passes_none():
    scenes = [scene for _, scene in records(120)]  # 20 of each kind

    def share_correct(image):
        return np.mean([score_image(image, scene).correct for scene in scenes])

    crowd = [PlacedObject(colour, shape, place) for colour, shape, place in zip(COLOURS, SHAPES, PLACES, strict=False)]
    assert share_correct(render_good(crowd)) == 0.0
    for scene in scenes[:12]:
        assert share_correct(render_good(scene.objects)) < 0.2


def score_objects(kind, wanted, objects, relation=None):
    """The score of an image of ``objects``; it does not depend on the plan."""
    return score_image(render_good(objects), Scene(kind, wanted, relation, ()))


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
    three = [PlacedObject("green", "cross", place) for place in list(PLACES)[:3]]
    correct = [score_objects("counting", (Wanted("cross", count=count),), three).correct for count in (2, 3, 4)]
    assert correct == [False, True, False]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (20, 0, 30, 10), {"left of"}),
        ((20, 0, 30, 10), (0, 0, 10, 10), {"right of"}),
        ((0, 20, 10, 30), (0, 0, 10, 10), {"below"}),
        ((0, 0, 10, 10), (20, 20, 30, 30), {"left of", "above"}),
        ((0, 0, 10, 10), (2, 0, 12, 10), set()),  # within the tolerance of 0.1 * (10 + 10)
        ((0, 0, 10, 10), (0, 0, 10, 10), set()),
    ],
)
def test_relative_position_follows_genevals_rule(a, b, expected):
    assert relative_position(a, b) == expected


@pytest.mark.parametrize("shape", [(32, 32), (32, 64, 3), (32, 32, 4), (20, 20, 3), (16, 16, 3)])
def test_an_array_that_is_not_an_image_is_refused(shape):
    with pytest.raises(UserError, match="cannot read an image"):
        read_image(np.zeros(shape, np.uint8))
