"""The exact reader: it reads back everything that the world draws, and nothing where no object is."""

import collections
import itertools

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject, cell_side, centres
from irg_jax.worlds.shapes.picture import FLAWS, OFFSETS, SIZES, TILTS, Background, Drawing, Picture
from irg_jax.worlds.shapes.reader import SeenObject, SeenPicture, read_objects, read_picture
from irg_jax.worlds.shapes.render import backdrop, centre, render
from tests.worlds.shapes.drawing import draw, good

PLAIN = backdrop(Background())


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def as_drawn(picture, size):
    """The drawings in the order in which the reader lists objects."""
    order = list(centres(size))
    return sorted(picture.drawings, key=lambda drawing: order.index(drawing.thing.place))


# 1,000 pictures: weak ones and improved ones, at both sizes.
@pytest.mark.parametrize(("size", "count"), [(32, 400), (64, 100)])
def test_random_pictures_are_read_back_exactly(size, count):
    wrong = collections.Counter()
    for _, weak, improved in draw(count, size=size):
        for picture in (weak, improved):
            seen, drawn = read_picture(render(picture, size)), as_drawn(picture, size)
            wrong["things"] += seen.things != tuple(drawing.thing for drawing in drawn)
            wrong["flaws"] += seen.flaws != picture.flaws
            wrong["pictures"] += 1
            if len(seen.objects) != len(drawn):
                continue
            for drawing, found in zip(drawn, seen.objects, strict=True):
                noise = "noisy" if "noisy" in picture.flaws else "clean"
                wrong[noise, "objects"] += 1
                wrong[noise, "size"] += found.size != drawing.size
                wrong[noise, "centre"] += found.centre != centre(drawing, size)
                wrong[noise, "tilt"] += found.tilt != drawing.tilt
    assert wrong["things"] + wrong["flaws"] <= 0.002 * wrong["pictures"], wrong
    for noise, what in itertools.product(("clean", "noisy"), ("size", "centre", "tilt")):
        assert wrong[noise, what] <= 0.005 * wrong[noise, "objects"], wrong


@pytest.mark.parametrize("size", [32, 64])
def test_every_object_is_read_at_every_size_and_tilt(size):
    for colour, shape in itertools.product(COLOURS, SHAPES):
        place = list(centres(size))[(len(colour) + len(shape)) % len(centres(size))]
        for length, tilt in itertools.product(SIZES, TILTS if shape != "circle" else (0,)):
            drawing = Drawing(PlacedObject(colour, shape, place), (OFFSETS[-1], OFFSETS[0]), length, tilt)
            seen = read_picture(render(Picture((drawing,)), size))
            (found,) = seen.objects
            assert (found.thing, found.size, found.tilt) == (drawing.thing, length, tilt)
            assert (found.centre, seen.flaws) == (centre(drawing, size), ())


@pytest.mark.parametrize("background", [Background((216, 246, 230), (12, -12), "checks"), Background(slope=(-12, 12))])
def test_the_background_is_read_without_its_texture(background):
    seen = read_picture(render(Picture((Drawing(PlacedObject("red", "square", "northwest")),), background)))
    plane = backdrop(Background(background.tint, background.slope))
    assert np.abs(seen.background - plane).mean() < 1.0


@pytest.mark.parametrize("flaw", FLAWS)
def test_each_flaw_is_seen_alone(flaw):
    for _, weak, _ in draw(12, seed=9):
        assert read_picture(render(Picture(weak.drawings, weak.background, (flaw,)))).flaws == (flaw,)


def test_noise_of_twelve_levels_changes_no_object(rng):
    for _, _, improved in draw(40, seed=1):
        clean = render(improved)
        noisy = np.clip(np.rint(clean + rng.normal(0, 12, clean.shape)), 0, 255).astype(np.uint8)
        assert read_picture(noisy).things == read_picture(clean).things


def test_an_object_off_its_place_is_found_where_it_is():
    image = np.roll(good([PlacedObject("green", "diamond", "northwest")]), (1, 2), (0, 1))
    (found,) = read_objects(image)
    assert (found.thing, found.centre) == (PlacedObject("green", "diamond", "northwest"), (10, 9))


def test_of_two_objects_in_one_place_the_larger_one_counts():
    small = SeenObject("red", "square", "northwest", 22, 0, (5, 5), (1, 1, 9, 9))
    large = SeenObject("blue", "circle", "northwest", 28, 0, (9, 9), (3, 3, 15, 15))
    for objects in ((small, large), (large, small)):
        assert SeenPicture(objects, (), PLAIN).things == (PlacedObject("blue", "circle", "northwest"),)


def gradients(rng):
    across = np.linspace(0, 1, 32)[None, :, None]
    for start, end in rng.integers(0, 256, (20, 2, 3)):
        for first in (start, PLAIN[0, 0]):
            yield first + (end - first) * across * np.ones((32, 1, 1))
            yield first + (end - first) * (across + across.transpose(1, 0, 2)) / 2
            yield first + (end - first) * ((across - 0.5) ** 2 + (across.transpose(1, 0, 2) - 0.5) ** 2) * 2


def images_without_objects(rng):
    """(name, pixels) of images without any object of the world."""
    yield "blank", PLAIN
    for colour in rng.integers(0, 256, (20, 3)):
        yield "constant", np.broadcast_to(colour, (32, 32, 3))
        yield "grain", colour + rng.normal(0, 25, (32, 32, 3))
        yield "uniform noise", rng.integers(0, 256, (32, 32, 3))
        yield "noisy background", PLAIN + rng.normal(0, 30, (32, 32, 3))
    for gradient in gradients(rng):
        yield "gradient", gradient
    stripes = PLAIN.copy()
    stripes[::4] = stripes[1::4] = (220, 20, 60)
    yield "stripes", stripes
    for grey in (0, 60, 120, 180):
        smudge = PLAIN.copy()
        smudge[2:14, 2:14] = grey
        yield "grey square", smudge


def test_nothing_is_found_in_images_without_objects(rng):
    for name, values in images_without_objects(rng):
        assert read_objects(np.clip(values, 0, 255).astype(np.uint8)) == (), name


def test_smudges_neither_hide_nor_add_objects(rng):
    wrong = 0
    for _, _, improved in draw(60, seed=5):
        clean = render(improved)
        smudged = clean.astype(float)
        for row, column in rng.integers(0, 29, (3, 2)):
            smudged[row : row + 3, column : column + 3] += rng.normal(0, 40, 3)
        smudged = np.clip(smudged, 0, 255).astype(np.uint8)
        wrong += read_picture(smudged).things != read_picture(clean).things
    assert wrong <= 3


@pytest.mark.parametrize("shape", [(32, 32), (32, 64, 3), (32, 32, 4), (40, 40, 3), (16, 16, 3)])
def test_an_array_that_is_not_an_image_is_refused(shape):
    with pytest.raises(UserError, match="cannot read an image"):
        read_picture(np.zeros(shape, np.uint8))
    with pytest.raises(UserError, match="cannot read an image float64"):
        read_picture(np.zeros((32, 32, 3)))


def test_a_place_has_room_for_every_object():
    assert all(size * cell_side(32) // 32 + 2 * OFFSETS[-1] <= cell_side(32) for size in SIZES)
