"""The vocabulary of the world: its colours, shapes and places, one placed object, and where the places are."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

SIZE = 32  # canvas side in pixels; every function takes any multiple of 16 from 32 up
OUTLINE = np.array([40, 40, 40], np.int64)

# Blending with the background keeps the direction background - rgb, so it identifies washed-out colours. On every
# background that the world draws, these six are at least 18 degrees from each other.
PALETTE = {
    "red": (220, 20, 60),
    "orange": (250, 135, 15),
    "yellow": (240, 225, 15),
    "green": (25, 160, 60),
    "blue": (20, 90, 220),
    "purple": (170, 30, 200),
}
COLOURS = tuple(PALETTE)
SHAPES = ("circle", "square", "triangle", "diamond", "cross")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")

_ROWS = ("north", "", "south")
_COLUMNS = ("west", "", "east")
# Every place of the larger grid in reading order; the smaller grid has its corners.
PLACES = tuple((row + column) or "centre" for row in _ROWS for column in _COLUMNS)


@dataclasses.dataclass(frozen=True)
class PlacedObject:
    """One object: its colour (a key of ``PALETTE``), shape (one of ``SHAPES``) and place (one of ``PLACES``)."""

    colour: str
    shape: str
    place: str


def grid_side(size: int) -> int:
    """Places along each side of a canvas of ``size`` pixels: 2 below 48 pixels, else 3."""
    return 2 if size < 48 else 3


def cell_side(size: int) -> int:
    """Side in pixels, even, of the square that one place has on a canvas of ``size`` pixels."""
    return 2 * -(-size // (2 * grid_side(size)))


@functools.cache
def centres(size: int) -> Mapping[str, tuple[int, int]]:
    """The centre (x, y) in pixels of each place of a canvas, in reading order."""
    grid = grid_side(size)
    names = [name for i, name in enumerate(PLACES) if grid == 3 or (i // 3 != 1 and i % 3 != 1)]
    at = [(2 * i + 1) * size // (2 * grid) for i in range(grid)]
    return {name: (at[i % grid], at[i // grid]) for i, name in enumerate(names)}


def with_article(words: str) -> str:
    """``words`` after "a" or "an", such as "an orange circle"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(shape: str) -> str:
    """The plural of a shape's name."""
    return shape + ("es" if shape.endswith("s") else "s")


def in_words(thing: PlacedObject) -> str:
    """The object in the words of plans and reflections: "a red circle northwest"."""
    return f"{with_article(f'{thing.colour} {thing.shape}')} {thing.place}"
