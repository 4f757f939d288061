"""The pictures of a scene: a weak one, and the improved one."""

import numpy as np

from irg_jax.worlds.shapes.draw import open_places
from irg_jax.worlds.shapes.faults import draw_weak
from irg_jax.worlds.shapes.picture import Picture, improve
from irg_jax.worlds.shapes.scene import Scene


def weak_picture(rng: np.random.Generator, scene: Scene, size: int) -> Picture:
    """A random weak picture of the plan of a scene, for a canvas of ``size`` pixels; see ``faults.draw_weak``."""
    return draw_weak(rng, scene.plan, open_places(size, scene.word))


def improved_picture(picture: Picture, scene: Scene) -> Picture:
    """The good picture of the plan of a scene that keeps what is right in ``picture``; see ``picture.improve``."""
    return improve(picture, scene.plan)
