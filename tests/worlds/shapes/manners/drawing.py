"""Pictures for the tests of manners."""

from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.manners import draw_scene, kinds_of
from irg_jax.worlds.shapes.objects import PlacedObject, centres
from irg_jax.worlds.shapes.picture import Drawing, Picture
from irg_jax.worlds.shapes.questions import failed_checks
from irg_jax.worlds.shapes.reader import SeenObject, SeenPicture, read_picture
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene import Scene


def scenes(manner: str, count: int, size: int, split: str = "train") -> list[Scene]:
    """So many scenes, alternating over the kinds of a manner."""
    rng = np.random.default_rng(5)
    return [draw_scene(rng, manner, number, size, split) for number in range(count)]


def scene_of(manner: str, kind: str, size: int = 32, seed: int = 0) -> Scene:
    """A scene of one kind."""
    return draw_scene(np.random.default_rng(seed), manner, kinds_of(manner).index(kind), size, "train")


def read_back(scene: Scene, size: int) -> SeenPicture:
    """What the reader sees in a good picture of a scene."""
    drawings = tuple(Drawing(thing) for thing in scene.objects)
    return read_picture(render(Picture(drawings, word=scene.word, style=scene.style), size))


def imagine(objects: Sequence[PlacedObject], size: int, word: str = "", style: str = "outlined") -> SeenPicture:
    """What the reader would see in a good picture, without drawing it; the objects' boxes have 10 pixels."""
    seen = []
    for thing in objects:
        x, y = centres(size)[thing.place]
        box = (x - 5, y - 5, x + 5, y + 5)
        seen.append(SeenObject(thing.colour, thing.shape, thing.place, 25, 0, (x, y), box))
    return SeenPicture(tuple(seen), (), np.zeros((size, size, 3)), word, style)


def satisfies(scene: Scene, objects: Sequence[PlacedObject], size: int = 32) -> bool:
    """Whether a good picture of ``objects`` is what the prompt of a scene asks for."""
    return not failed_checks(scene.checks, imagine(objects, size, scene.word, scene.style))
