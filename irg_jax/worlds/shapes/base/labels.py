"""Labelled pictures, from which the image encoder alone learns to see."""

from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.base.plans import Plans, generator, weaker_picture
from irg_jax.worlds.shapes.lettering import LETTERS, MOST_LETTERS
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES
from irg_jax.worlds.shapes.picture import Content
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene_pictures import improved_picture, weak_picture

_OUTLINES, _EDGES, _COLOURS, _NOISE = ("no outlines",), ("blurred", "ragged"), ("faded",), ("noisy",)
_ASPECTS = (_OUTLINES, _EDGES, _COLOURS, _NOISE)
_SHARE_OF_WORDS = 2  # one picture in so many has a word, where manners have words


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
    size, written = plans.size, plans.have_words
    pictures, labels = np.empty((len(indices), size, size, 3), np.uint8), []
    for row, index in enumerate(indices):
        rng = generator(seed, 8 if plans.split == "train" else 9, index)
        # In pairs, because every second picture has more faults.
        has_word = written and index // 2 % _SHARE_OF_WORDS == 0
        scene = plans.draw_written(rng) if has_word else plans.draw(rng)
        picture = (weaker_picture if index % 2 else weak_picture)(rng, scene, size)
        if rng.integers(3) == 0:
            picture = improved_picture(picture, scene)
        pictures[row] = render(picture, size)
        labels.append(labels_of(picture.content, plans))
    return {"pictures": pictures, "labels": np.array(labels, np.int32), "classes": classes(plans)}


def classes(plans: Plans) -> np.ndarray:
    """The number of classes of each label of the pictures of plans, int32 [H]."""
    each = [len(COLOURS) + 1, len(SHAPES) + 1]
    found = [*each * len(plans.places), *(len(flaws) + 1 for flaws in _ASPECTS)]
    if plans.have_words:
        found += [2, *[len(LETTERS) + 1] * MOST_LETTERS]
    return np.array(found, np.int32)


def labels_of(content: Content, plans: Plans) -> list[int]:
    """The labels of a picture that shows ``content``, as ``labelled_pictures`` describes them."""
    at = {thing.place: thing for thing in content.things}
    found = []
    for place in plans.places:
        thing = at.get(place)
        found += [COLOURS.index(thing.colour) + 1, SHAPES.index(thing.shape) + 1] if thing else [0, 0]
    flaws = {*content.flaws, *(_OUTLINES if content.style == "flat" else ())}
    found += [next((aspect.index(x) + 1 for x in flaws if x in aspect), 0) for aspect in _ASPECTS]
    if plans.have_words:
        letters = [LETTERS.index(letter) + 1 for letter in content.word]
        found += [int(content.style == "striped"), *letters, *[0] * (MOST_LETTERS - len(letters))]
    return found
