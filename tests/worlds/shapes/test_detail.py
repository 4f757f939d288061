"""Detail: full for good renderings, less for every flaw of the objects, and the same for every colour."""

import itertools

import numpy as np
import pytest

from irg_jax.worlds.shapes.detail import detail
from irg_jax.worlds.shapes.objects import COLOURS, PLACES, SHAPES, PlacedObject
from irg_jax.worlds.shapes.picture import Background, Picture
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import backdrop, render
from tests.worlds.shapes.drawing import draw, good, weak

SINGLES = [PlacedObject(colour, shape, "northwest") for colour, shape in itertools.product(COLOURS, SHAPES)]


def detail_of(image):
    return detail(image, read_picture(image))


def test_pictures_without_flaws_have_full_detail():
    for size, count in ((32, 60), (64, 15)):
        for _, _, improved in draw(count, size=size):
            assert detail_of(render(improved, size)) > 0.98


@pytest.mark.parametrize("size", [32, 64])
def test_a_weak_rendering_lacks_detail_in_every_colour_and_shape(size):
    for thing in SINGLES:
        assert 0.1 < detail_of(weak([thing], size)) < 0.3


@pytest.mark.parametrize(
    ("flaw", "low", "high"),
    [("no outlines", 0.4, 0.65), ("blurred", 0.4, 0.6), ("ragged", 0.5, 0.95), ("faded", 0.48, 0.52),
     ("noisy", 0.95, 1.0)],
)  # fmt: skip
def test_what_each_flaw_costs(flaw, low, high):
    details = [
        detail_of(render(Picture(improved.drawings, improved.background, (flaw,), 1))) for _, _, improved in draw(30)
    ]
    assert low < min(details) and max(details) <= high


def test_it_grows_from_the_weak_rendering_to_the_good_one():
    for thing in SINGLES[::7]:
        worst, best = weak([thing]).astype(float), good([thing]).astype(float)
        mixed = [(worst + (best - worst) * share / 4).round().astype(np.uint8) for share in range(5)]
        details = [detail_of(image) for image in mixed]
        assert details == sorted(details)
        assert details[0] < 0.3 and details[-1] > 0.99


def test_it_is_the_mean_over_the_objects_and_zero_without_any():
    sharp, soft = PlacedObject("red", "square", PLACES[0]), PlacedObject("red", "square", PLACES[8])
    image = good([sharp, soft])
    seen = read_picture(image)
    image[16:, 16:] = weak([soft])[16:, 16:]
    one, other = detail_of(good([sharp])), detail_of(weak([soft]))
    assert detail(image, seen) == pytest.approx((one + other) / 2, abs=0.03)
    assert detail_of(backdrop(Background()).astype(np.uint8)) == 0.0
