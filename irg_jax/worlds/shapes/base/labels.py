"""Labelled pictures, from which the image encoder alone learns to see."""

from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.base.plans import draw_other, draw_plan, generator
from irg_jax.worlds.shapes.faults import draw_weak
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, centres
from irg_jax.worlds.shapes.picture import Picture, improve
from irg_jax.worlds.shapes.render import render

_OUTLINES, _EDGES, _COLOURS, _NOISE = ("no outlines",), ("blurred", "ragged"), ("faded",), ("noisy",)
_ASPECTS = (_OUTLINES, _EDGES, _COLOURS, _NOISE)


def labelled_pictures(seed: int, split: str, count: int, size: int) -> dict[str, np.ndarray]:
    """Good and weak pictures, half of the weak ones with any number of differences from a plan.

    The labels are the colour and the shape in every place, 0 for nothing, and the four aspects of the execution, 0 for
    as it should be.

    Args:
      seed: of all pictures.
      split: ``train`` or ``held_out``, of the plans.
      count: number of pictures.
      size: of a picture in pixels.

    Returns:
      ``pictures`` uint8 [N, S, S, 3], ``labels`` int32 [N, H] and ``classes`` int32 [H].
    """
    places = tuple(centres(size))
    pictures, labels = np.empty((count, size, size, 3), np.uint8), []
    for index in range(count):
        rng = generator(seed, 8 if split == "train" else 9, index)
        planned = draw_plan(rng, split).objects
        picture = (draw_other if index % 2 else draw_weak)(rng, planned, places)
        if index % 3 == 0:
            picture = improve(picture, planned)
        pictures[index] = render(picture, size)
        labels.append(_labels(picture, places))
    each = [len(COLOURS) + 1, len(SHAPES) + 1]
    classes = [*each * len(places), *(len(flaws) + 1 for flaws in _ASPECTS)]
    return {"pictures": pictures, "labels": np.array(labels, np.int32), "classes": np.array(classes, np.int32)}


def _labels(picture: Picture, places: Sequence[str]) -> list[int]:
    at = {thing.place: thing for thing in picture.objects}
    found = []
    for place in places:
        thing = at.get(place)
        found += [COLOURS.index(thing.colour) + 1, SHAPES.index(thing.shape) + 1] if thing else [0, 0]
    return found + [next((flaws.index(x) + 1 for x in picture.flaws if x in flaws), 0) for flaws in _ASPECTS]
