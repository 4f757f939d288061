"""What all random scenes share: the split between training and held-out ones, and where objects may stand."""

import functools
import zlib
from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.objects import PlacedObject, centres

SPLITS = ("train", "held_out")
# Chosen so that the held-out single objects cover at least four colours and four shapes.
SALT = "shapes-6"

Look = tuple[str, str]  # colour and shape


def split_of(objects: Sequence[PlacedObject]) -> str:
    """The split of this combination of (colour, shape); it does not depend on places, prompt or seed."""
    return _split("+".join(sorted(f"{thing.colour} {thing.shape}" for thing in objects)))


def split_of_word(word: str) -> str:
    """The split of pictures with this word, whatever else is in them."""
    return _split(word)


@functools.lru_cache(maxsize=1 << 16)
def _split(text: str) -> str:
    return SPLITS[zlib.crc32(f"{SALT}:{text}".encode()) % 5 == 0]


def most_objects(size: int, word: str = "") -> int:
    """How many objects a scene on a canvas of ``size`` pixels may have: up to six, as far as there are places."""
    return min(6, len(open_places(size, word)))


def open_places(size: int, word: str = "") -> tuple[str, ...]:
    """The places of a canvas of ``size`` pixels in which objects may stand; a word takes the southern row."""
    return tuple(place for place in centres(size) if not (word and place.startswith("south")))


def pick(rng: np.random.Generator, items: Sequence[str], count: int) -> list[str]:
    """So many different ``items``, in random order."""
    return [items[i] for i in rng.permutation(len(items))[:count]]


def arrange(rng: np.random.Generator, looks: Sequence[Look], places: Sequence[str]) -> tuple[PlacedObject, ...]:
    """The objects in random places of ``places``, in reading order."""
    chosen = sorted(rng.permutation(len(places))[: len(looks)])
    return tuple(PlacedObject(*look, places[i]) for look, i in zip(looks, chosen, strict=True))


@functools.cache
def related_places(relation: str, size: int) -> tuple[tuple[str, str], ...]:
    """The pairs of places (first object, second object) in one row or column that show a relation."""
    at = centres(size)
    axis = 0 if relation in ("left of", "right of") else 1
    sign = 1 if relation in ("left of", "above") else -1
    return tuple(
        (first, second)
        for first in at
        for second in at
        if at[first][1 - axis] == at[second][1 - axis] and sign * (at[second][axis] - at[first][axis]) > 0
    )
