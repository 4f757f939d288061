"""Captions with pictures, and edits of pictures, for painting."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from irg_jax.worlds.shapes.base.plans import Plans, generator, weaker_picture
from irg_jax.worlds.shapes.faults import Fault, compare
from irg_jax.worlds.shapes.manners import write_prompt
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene_pictures import improved_picture, weak_picture
from irg_jax.worlds.shapes.thinking import write_plan, write_remedy, write_seen


class Captioned(NamedTuple):
    """A picture, uint8 [S, S, 3], and its captions by name."""

    picture: np.ndarray
    captions: Mapping[str, str]


class Edit(NamedTuple):
    """A picture, what to do about it, and the improved picture; both uint8 [S, S, 3]."""

    before: np.ndarray
    instruction: str
    after: np.ndarray


def captioned(seed: int, plans: Plans, indices: Iterable[int]) -> Iterator[Captioned]:
    """Two in three are good pictures with their prompt and their plan, one is a weak one with what is seen in it."""
    for index in indices:
        rng = generator(seed, 11, index)
        scene = plans.draw(rng)
        weak = (weak_picture if index % 2 else weaker_picture)(rng, scene, plans.size)
        if index % 3 == 0:
            yield Captioned(render(weak, plans.size), {"seen": write_seen(weak.content, plans.places)})
        else:
            captions = {"prompt": write_prompt(scene, rng), "plan": write_plan(scene)}
            yield Captioned(render(improved_picture(weak, scene), plans.size), captions)


def edits(seed: int, plans: Plans, indices: Iterable[int]) -> Iterator[Edit]:
    """Weak pictures that are improved; every third one has more faults than the world's records have."""
    for index in indices:
        rng = generator(seed, 12, index)
        scene = plans.draw(rng)
        weak = (weaker_picture if index % 3 == 0 else weak_picture)(rng, scene, plans.size)
        steps = write_steps(compare(scene.plan, weak.content))
        yield Edit(render(weak, plans.size), steps, render(improved_picture(weak, scene), plans.size))


def write_steps(faults: Iterable[Fault]) -> str:
    """What to do about all faults of a picture."""
    return " ".join(map(write_remedy, faults)) or "Keep it."
