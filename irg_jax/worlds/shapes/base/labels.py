"""Labelled pictures, from which the image encoder alone learns to see."""

from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.base.plans import Plans, generator, weaker_picture
from irg_jax.worlds.shapes.lettering import LETTERS, MOST_LETTERS
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES
from irg_jax.worlds.shapes.picture import Picture
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene_pictures import improved_picture, weak_picture

_OUTLINES, _EDGES, _COLOURS, _NOISE = ("no outlines",), ("blurred", "ragged"), ("faded",), ("noisy",)
_ASPECTS = (_OUTLINES, _EDGES, _COLOURS, _NOISE)
_ONEIG = "oneig"
_SHARE_OF_ONEIG = 3  # one picture in so many is of one of its kinds, so that words and styles are seen often enough


def labelled_pictures(seed: int, plans: Plans, indices: Sequence[int]) -> dict[str, np.ndarray]:
    """Good and weak pictures, half of the weak ones with any number of differences from a plan.

    The labels are the colour and the shape in every place, 0 for nothing, and the four aspects of the execution, 0 for
    as it should be; then, where the manners have words and styles, whether there are stripes, and each letter, 0 for
    none. A flat picture has no outlines, which is all that can be seen of its style.

    Args:
      seed: of all pictures.
      plans: of the pictures.
      indices: of the pictures.

    Returns:
      ``pictures`` uint8 [N, S, S, 3], ``labels`` int32 [N, H] and ``classes`` int32 [H].
    """
    places, size, written = plans.places, plans.size, _ONEIG in plans.manners
    pictures, labels = np.empty((len(indices), size, size, 3), np.uint8), []
    for row, index in enumerate(indices):
        rng = generator(seed, 8 if plans.split == "train" else 9, index)
        scene = plans.draw(rng, _ONEIG if written and index % _SHARE_OF_ONEIG == 0 else "")
        picture = (weaker_picture if index % 2 else weak_picture)(rng, scene, size)
        if rng.integers(3) == 0:
            picture = improved_picture(picture, scene)
        pictures[row] = render(picture, size)
        labels.append(_labels(picture, places) + (_written(picture) if written else []))
    each = [len(COLOURS) + 1, len(SHAPES) + 1]
    classes = [*each * len(places), *(len(flaws) + 1 for flaws in _ASPECTS)]
    if written:
        classes += [2, *[len(LETTERS) + 1] * MOST_LETTERS]
    return {"pictures": pictures, "labels": np.array(labels, np.int32), "classes": np.array(classes, np.int32)}


def _labels(picture: Picture, places: Sequence[str]) -> list[int]:
    at = {thing.place: thing for thing in picture.objects}
    found = []
    for place in places:
        thing = at.get(place)
        found += [COLOURS.index(thing.colour) + 1, SHAPES.index(thing.shape) + 1] if thing else [0, 0]
    flaws = {*picture.flaws, *(_OUTLINES if picture.style == "flat" else ())}
    return found + [next((aspect.index(x) + 1 for x in flaws if x in aspect), 0) for aspect in _ASPECTS]


def _written(picture: Picture) -> list[int]:
    letters = [LETTERS.index(letter) + 1 for letter in picture.word]
    return [int(picture.style == "striped"), *letters, *[0] * (MOST_LETTERS - len(letters))]
