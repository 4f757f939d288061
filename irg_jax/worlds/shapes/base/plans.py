"""Random plans and pictures of them, for samples about any difference between the two."""

from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.draw import draw_scene
from irg_jax.worlds.shapes.faults import draw_weak
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject
from irg_jax.worlds.shapes.picture import Drawing, Picture, draw_freely
from irg_jax.worlds.shapes.scene import KINDS, Scene


def generator(seed: int, stream: int, index: int) -> np.random.Generator:
    """The generator of sample ``index`` of a stream, of any seed of 64 bits."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream << 48 | index], np.uint64)))


def draw_plan(rng: np.random.Generator, split: str) -> Scene:
    """A random scene of a split, of any kind."""
    return draw_scene(rng, KINDS[rng.integers(len(KINDS))], split)


def draw_other(rng: np.random.Generator, planned: Sequence[PlacedObject], places: Sequence[str]) -> Picture:
    """A weak picture with any number of differences from its plan: half of the objects are as planned.

    A model's own pictures have more faults than those of the world's records, and this prepares it for them.
    """
    weak = draw_weak(rng, planned, places)
    at = {thing.place: thing for thing in planned}
    drawings: list[Drawing] = []
    for place in places:
        thing = at.get(place)
        if thing is None:
            if rng.integers(4) == 0:
                drawings.append(draw_freely(rng, _any(rng, place)))
        elif rng.integers(2):
            drawings.append(draw_freely(rng, thing))
        else:
            other, kind = _any(rng, place), rng.integers(4)
            colour = thing.colour if kind == 1 else other.colour
            shape = thing.shape if kind == 0 else other.shape
            if kind < 3:
                drawings.append(draw_freely(rng, PlacedObject(colour, shape, place)))
    if not drawings:
        drawings.append(draw_freely(rng, _any(rng, places[int(rng.integers(len(places)))])))
    return Picture(tuple(drawings), weak.background, weak.flaws, weak.noise)


def _any(rng: np.random.Generator, place: str) -> PlacedObject:
    return PlacedObject(COLOURS[rng.integers(len(COLOURS))], SHAPES[rng.integers(len(SHAPES))], place)
