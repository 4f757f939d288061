"""Samples about pictures that a model has painted itself, which are read, because they are not what was asked for.

A model's own pictures have faults that no drawn picture has, such as an edge that is sharp on one side only. Whoever
shall reflect on them has to have seen them with what the reader says of them.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from irg_jax.worlds.shapes.base.painting import Edit, write_steps
from irg_jax.worlds.shapes.base.plans import Plans, generator, weaker_picture
from irg_jax.worlds.shapes.base.understanding import turns_of_comparing, turns_of_seeing
from irg_jax.worlds.shapes.faults import compare
from irg_jax.worlds.shapes.picture import Content
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.repaint import repaint_seen
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.scene_pictures import weak_picture
from irg_jax.worlds.shapes.thinking import write_plan, write_seen

_SEEING = 4  # one sample in so many says only what is seen


class Task(NamedTuple):
    """A text to paint by, and the scene with whose plan the picture is compared."""

    caption: str
    scene: Scene


class OwnSamples(NamedTuple):
    """What is learned from one picture: what is seen in it, turns by a human and a model, and its improvement."""

    seen: Content
    turns: tuple[str, str]
    edit: Edit


def tasks(seed: int, plans: Plans, indices: Iterable[int]) -> Iterator[Task]:
    """Half of the texts are plans, half say what a weak picture of a plan shows, so that all faults are painted."""
    for index in indices:
        rng = generator(seed, 13, index)
        scene = plans.draw(rng)
        if index % 2:
            yield Task(write_plan(scene), scene)
        else:
            weak = (weak_picture if index % 4 else weaker_picture)(rng, scene, plans.size)
            yield Task(write_seen(weak.content, plans.places), scene)


def own_samples(task: Task, picture: np.ndarray, plans: Plans, number: int) -> OwnSamples:
    """The samples of a picture.

    Args:
      task: by whose caption it was painted.
      picture: uint8 [S, S, 3].
      plans: of the task.
      number: any, which decides about the form.

    Raises:
      UserError: the picture is of another size.
    """
    read, scene = read_picture(picture), task.scene
    seen = read.content(scene.style)
    steps = write_steps(compare(scene.plan, seen))
    # Tasks alternate in fours.
    sees = number // 4 % _SEEING == 0
    turns = turns_of_seeing(seen, plans.places) if sees else turns_of_comparing(scene, seen, plans.places)
    return OwnSamples(seen, turns, Edit(picture, steps, repaint_seen(picture, read, scene)))
