"""The improved picture of given pixels: of the world's own weak pictures, and of what models paint."""

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.detail import detail
from irg_jax.worlds.shapes.kept import kept
from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.picture import TEXTURES, Background, Drawing, Picture
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import backdrop, render
from irg_jax.worlds.shapes.repaint import repaint
from irg_jax.worlds.shapes.score import compare_with_plan
from tests.worlds.shapes.drawing import draw, good, plan

PLAN = (PlacedObject("red", "square", "northwest"), PlacedObject("blue", "circle", "southeast"))


@pytest.mark.parametrize(("size", "count"), [(32, 80), (64, 16)])
def test_a_weak_picture_of_the_world_becomes_faultless_and_keeps_what_was_right(size, count):
    shares = []
    for scene, weak, _ in draw(count, seed=13, size=size):
        image = render(weak, size)
        first, painted = read_picture(image), repaint(image, scene)
        second = read_picture(painted)
        assert compare_with_plan(second, scene.plan) == ()
        assert detail(painted, second) >= 0.9
        shares.append(kept(first, second, scene.objects))
    assert np.mean(shares) >= 0.98 and min(shares) > 0.9


def test_it_is_close_to_the_improved_picture_of_the_record():
    off = []
    for scene, weak, improved in draw(40, seed=14):
        off.append(np.abs(repaint(render(weak), scene).astype(int) - render(improved)).mean())
    assert np.median(off) < 0.5


def smear(image, rng):
    """What a model makes of it: soft, uneven, a little noisy and not quite in its colours."""
    values = image.astype(float)
    for axis in (0, 1):
        values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    values = 238 + (values - 238) * rng.uniform(0.7, 1.0) + rng.normal(0, 5, image.shape)
    row, column = rng.integers(0, 29, 2)
    values[row : row + 2, column : column + 2] += rng.normal(0, 30, 3)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def test_a_models_smeared_attempt_is_painted_cleanly():
    rng, wrong, shares = np.random.default_rng(0), 0, []
    for scene, weak, _ in draw(40, seed=15):
        image = smear(render(weak), rng)
        painted = repaint(image, scene)
        second = read_picture(painted)
        wrong += compare_with_plan(second, scene.plan) != ()
        shares.append(kept(read_picture(image), second, scene.objects))
        assert detail(painted, second) >= 0.9
    assert wrong == 0
    assert np.mean(shares) >= 0.95


@pytest.mark.parametrize("size", [32, 64])
def test_on_a_blank_picture_everything_is_drawn_anew(size):
    blank = backdrop(Background(), size).astype(np.uint8)
    assert (repaint(blank, plan(*PLAN)) == good(PLAN, size)).all()


def test_of_anything_else_it_makes_a_picture_of_the_plan():
    rng = np.random.default_rng(0)
    black, noise = np.zeros((32, 32, 3), np.uint8), rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for image in (black, noise):
        assert repaint(image, plan(*PLAN)).shape == (32, 32, 3)


@pytest.mark.parametrize("texture", TEXTURES)
def test_the_texture_goes_on_behind_what_was_removed(texture):
    background = Background((230, 225, 240), (8, -6), texture)
    both = Picture((Drawing(PLAN[0]), Drawing(PLAN[1], (1, -1), 28)), background)
    alone = Picture((Drawing(PLAN[0]),), background)
    for flaws in ((), ("noisy", "blurred")):
        image = render(Picture(both.drawings, background, flaws, 5))
        assert np.abs(repaint(image, plan(PLAN[0])).astype(int) - render(alone)).max() <= 6


def test_an_object_across_the_border_of_its_place_is_moved_into_it():
    far = render(Picture((Drawing(PLAN[0], (4, 0)),)))
    (seen,) = read_picture(repaint(far, plan(PLAN[0]))).objects
    assert seen.centre == (10, 8)


def test_a_plan_that_has_no_place_on_the_picture_is_refused():
    with pytest.raises(UserError, match="32 pixels has no place 'north'"):
        repaint(good(PLAN), plan(PlacedObject("red", "square", "north")))
