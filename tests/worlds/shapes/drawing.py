"""Pictures for tests: plain ones of given objects, and random ones as the world draws them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from irg_jax.worlds.shapes.manners import draw_scene
from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.picture import Drawing, Picture
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.scene_pictures import improved_picture, weak_picture


def good(objects: Iterable[PlacedObject], size: int = 32) -> np.ndarray:
    """Objects in the middle of their places, on the plain light background, uint8 [size, size, 3]."""
    return render(Picture(tuple(map(Drawing, objects))), size)


def weak(objects: Iterable[PlacedObject], size: int = 32) -> np.ndarray:
    """The same blurred, faded and without outlines."""
    return render(Picture(tuple(map(Drawing, objects)), flaws=("no outlines", "blurred", "faded")), size)


def plan(*objects: PlacedObject) -> Scene:
    """A scene of which only the plan matters."""
    return Scene("single_object", objects=objects)


class Drawn(NamedTuple):
    """A scene with a weak picture of its plan and the improved one."""

    scene: Scene
    weak: Picture
    good: Picture


def draw(count: int, seed: int = 0, size: int = 32, split: str = "train") -> Iterator[Drawn]:
    """Random scenes of all kinds, drawn as the world's records are."""
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        scene = draw_scene(rng, "geneval", index, size, split)
        picture = weak_picture(rng, scene, size)
        yield Drawn(scene, picture, improved_picture(picture, scene))
