"""Captions with pictures, and edits of pictures, for painting."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from irg_jax.worlds.shapes.base.plans import draw_other, draw_plan, generator
from irg_jax.worlds.shapes.faults import compare, draw_weak
from irg_jax.worlds.shapes.objects import centres
from irg_jax.worlds.shapes.picture import improve
from irg_jax.worlds.shapes.prompts import WORDINGS, write_prompt
from irg_jax.worlds.shapes.render import render
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


def captioned(seed: int, count: int, size: int) -> Iterator[Captioned]:
    """Two in three are good pictures with their prompt and their plan, one is a weak one with what is seen in it."""
    places = tuple(centres(size))
    for index in range(count):
        rng = generator(seed, 11, index)
        scene = draw_plan(rng, "train")
        weak = (draw_weak if index % 2 else draw_other)(rng, scene.objects, places)
        if index % 3 == 0:
            seen = write_seen(weak.objects, weak.flaws, places)
            yield Captioned(render(weak, size), {"seen": seen})
        else:
            prompt = write_prompt(scene, int(rng.integers(len(WORDINGS[scene.kind]))))
            plan = write_plan(scene.objects)
            yield Captioned(render(improve(weak, scene.objects), size), {"prompt": prompt, "plan": plan})


def edits(seed: int, count: int, size: int) -> Iterator[Edit]:
    """Weak pictures that are improved; every third one has more faults than the world's records have."""
    places = tuple(centres(size))
    for index in range(count):
        rng = generator(seed, 12, index)
        planned = draw_plan(rng, "train").objects
        weak = (draw_other if index % 3 == 0 else draw_weak)(rng, planned, places)
        steps = " ".join(map(write_remedy, compare(planned, weak.objects, weak.flaws))) or "Keep it."
        yield Edit(render(weak, size), steps, render(improve(weak, planned), size))
