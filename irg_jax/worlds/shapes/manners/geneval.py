"""GenEval's manner: single objects, pairs, counts, colours, positions, and colours of several objects."""

import numpy as np

from irg_jax.worlds.shapes.draw import arrange, most_objects, open_places, pick, related_places, split_of
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject
from irg_jax.worlds.shapes.prompts import WORDINGS, write_prompt
from irg_jax.worlds.shapes.relations import RELATIONS
from irg_jax.worlds.shapes.scene import KINDS, MOST_WANTED, Scene, Wanted

__all__ = ["KINDS", "draw", "wordings"]


def draw(rng: np.random.Generator, kind: str, size: int, split: str) -> Scene:
    """A random scene of ``kind`` whose objects belong to ``split``.

    Counts go up to six where there are so many places. Where there are nine places, ``two_object`` and ``color_attr``
    ask for up to four objects; else for two.
    """
    while True:
        scene = _draw_any(rng, kind, size)
        if split_of(scene.objects) == split:
            return scene


def wordings(scene: Scene) -> tuple[str, ...]:
    """Every prompt of a scene."""
    return tuple(write_prompt(scene, wording) for wording in range(len(WORDINGS[scene.kind])))


def _draw_any(rng: np.random.Generator, kind: str, size: int) -> Scene:
    count = int(rng.integers(1, most_objects(size) + 1)) if kind == "counting" else 1
    shapes = pick(rng, SHAPES, _kinds_of_objects(rng, kind, size))
    if kind == "color_attr":  # different colours, so that they can be attributed wrongly
        colours = pick(rng, COLOURS, len(shapes))
    else:
        colours = [COLOURS[i] for i in rng.integers(len(COLOURS), size=len(shapes))]
    asks_colour = kind in ("colors", "color_attr")
    wanted = tuple(
        Wanted(shape, colour if asks_colour else None, count) for shape, colour in zip(shapes, colours, strict=True)
    )
    looks = [look for look in zip(colours, shapes, strict=True) for _ in range(count)]
    if kind != "position":
        return Scene(kind, wanted, None, arrange(rng, looks, open_places(size)))
    relation = RELATIONS[rng.integers(len(RELATIONS))]
    pairs = related_places(relation, size)
    places = pairs[rng.integers(len(pairs))]
    return Scene(
        kind, wanted, relation, tuple(PlacedObject(*look, place) for look, place in zip(looks, places, strict=True))
    )


def _kinds_of_objects(rng: np.random.Generator, kind: str, size: int) -> int:
    """Of how many different shapes a scene is."""
    if kind in ("two_object", "color_attr"):
        return int(rng.integers(2, MOST_WANTED + 1)) if len(open_places(size)) > MOST_WANTED else 2
    return 2 if kind == "position" else 1
