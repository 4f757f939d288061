"""Random scenes, with the split that separates training from held-out scenes."""

import functools
import zlib
from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject
from irg_jax.worlds.shapes.scene import RELATIONS, Scene, Wanted

SPLITS = ("train", "held_out")
# Chosen so that the held-out single objects cover at least four colours and four shapes.
SALT = "shapes-6"

_CELLS = ("northwest", "northeast", "southwest", "southeast")
# The pairs of places (first object, second object) that show each relation.
_PLACES_OF = {
    "left of": (("northwest", "northeast"), ("southwest", "southeast")),
    "right of": (("northeast", "northwest"), ("southeast", "southwest")),
    "above": (("northwest", "southwest"), ("northeast", "southeast")),
    "below": (("southwest", "northwest"), ("southeast", "northeast")),
}


@functools.lru_cache(maxsize=1 << 16)
def _held_out(combination: tuple[tuple[str, str], ...]) -> bool:
    text = "+".join(f"{colour} {shape}" for colour, shape in combination)
    return zlib.crc32(f"{SALT}:{text}".encode()) % 5 == 0


def split_of(objects: Sequence[PlacedObject]) -> str:
    """The split of this combination of (colour, shape); it does not depend on places, prompt or seed."""
    return SPLITS[_held_out(tuple(sorted((thing.colour, thing.shape) for thing in objects)))]


def draw_scene(rng: np.random.Generator, kind: str, split: str) -> Scene:
    """A random scene of ``kind`` (one of ``KINDS``) whose objects belong to ``split`` (one of ``SPLITS``)."""
    while True:
        scene = _draw_any(rng, kind)
        if split_of(scene.objects) == split:
            return scene


def _draw_any(rng: np.random.Generator, kind: str) -> Scene:
    pair = kind in ("two_object", "position", "color_attr")
    count = int(rng.integers(1, len(_CELLS) + 1)) if kind == "counting" else 1
    shapes = [SHAPES[i] for i in rng.permutation(len(SHAPES))[: 1 + pair]]
    if kind == "color_attr":  # two different colours, so that they can be attributed wrongly
        colours = [COLOURS[i] for i in rng.permutation(len(COLOURS))[:2]]
    else:
        colours = [COLOURS[i] for i in rng.integers(len(COLOURS), size=1 + pair)]
    relation = RELATIONS[rng.integers(len(RELATIONS))] if kind == "position" else None
    if relation:
        places: Sequence[str] = _PLACES_OF[relation][rng.integers(2)]
    else:  # in reading order
        places = [_CELLS[i] for i in sorted(rng.permutation(len(_CELLS))[: count * len(shapes)])]
    asks_colour = kind in ("colors", "color_attr")
    wanted = tuple(
        Wanted(shape, colour if asks_colour else None, count) for shape, colour in zip(shapes, colours, strict=True)
    )
    looks = [look for look in zip(colours, shapes, strict=True) for _ in range(count)]
    objects = tuple(PlacedObject(*look, place) for look, place in zip(looks, places, strict=False))
    return Scene(kind, wanted, relation, objects)
