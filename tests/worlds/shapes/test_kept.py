"""What a second picture keeps of a first: all of it if it is the improved one, little if it is a fresh drawing."""

import dataclasses

import numpy as np
import pytest

from irg_jax.worlds.shapes.faults import draw_weak
from irg_jax.worlds.shapes.kept import kept
from irg_jax.worlds.shapes.objects import PlacedObject, centres
from irg_jax.worlds.shapes.picture import Background, Drawing, Picture, improve
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import render
from tests.worlds.shapes.drawing import draw

PLAN = (PlacedObject("red", "square", "northwest"), PlacedObject("blue", "circle", "southeast"))
FIRST = Picture(tuple(map(Drawing, PLAN)))


def read(picture):
    return read_picture(render(picture))


def kept_by(second, first=FIRST):
    return kept(read(first), read(second), PLAN)


def test_the_worlds_second_pictures_keep_everything_and_a_fresh_drawing_hardly_anything():
    own, fresh = [], []
    for index, (scene, weak, improved) in enumerate(draw(100, seed=2)):
        first = read(weak)
        own.append(kept(first, read(improved), scene.objects))
        other = draw_weak(np.random.default_rng([99, index]), scene.plan, tuple(centres(32)))
        fresh.append(kept(first, read(improve(other, scene.plan)), scene.objects))
    assert np.mean(own) >= 0.98 and np.median(own) == 1.0
    assert 0.05 < np.mean(fresh) < 0.2


def change(number, **values):
    drawings = list(FIRST.drawings)
    drawings[number] = dataclasses.replace(drawings[number], **values)
    return Picture(tuple(drawings))


@pytest.mark.parametrize(
    ("second", "share"),
    [
        (FIRST, 1.0),
        (change(0, size=25), 2 / 3),  # another size
        (change(0, offset=(2, 0)), (1 + 0 + 1) / 3),  # an eighth of the place
        (change(0, offset=(1, 0)), (1 + 0.0625 / 0.085 + 1) / 3),
        (change(0, thing=PlacedObject("red", "circle", "northwest")), 2 / 3),
        (Picture(FIRST.drawings[:1]), 2 / 3),
        (Picture(FIRST.drawings, Background((230, 230, 230))), 2 / 3),  # eight levels
        (Picture(FIRST.drawings, Background((233, 233, 233))), (0.5 + 1 + 1) / 3),
        (Picture(FIRST.drawings, flaws=("faded",)), 1.0),
    ],
)
def test_every_part_counts_the_same(second, share):
    assert kept_by(second) == pytest.approx(share, abs=0.02)


def test_only_what_was_right_counts():
    wrong = change(1, thing=PlacedObject("green", "circle", "southeast"), offset=(1, 1))
    assert kept_by(FIRST, first=wrong) == 1.0
    extra = Picture((*FIRST.drawings, Drawing(PlacedObject("green", "cross", "northeast"))))
    assert kept_by(FIRST, first=extra) == 1.0
