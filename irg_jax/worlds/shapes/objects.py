"""The vocabulary of the world: the canvas, its colours, shapes and places, and one placed object."""

import dataclasses

import numpy as np

SIZE = 32  # canvas side in pixels; every function takes any multiple of 16 from 32 up

BACKGROUND = np.array([238, 238, 238], np.int64)
OUTLINE = np.array([40, 40, 40], np.int64)

# Blending with the background keeps the direction BACKGROUND - rgb, so it identifies washed-out colours. These six are
# at least 20 degrees from each other, and at least 25 without the grey part.
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
# Place -> (row, column) of its cell; a cell is a quarter of the canvas.
PLACES = {"northwest": (0, 0), "northeast": (0, 1), "southwest": (1, 0), "southeast": (1, 1)}
NUMBERS = ("zero", "one", "two", "three", "four")


@dataclasses.dataclass(frozen=True)
class PlacedObject:
    """One object: its colour (a key of ``PALETTE``), shape (one of ``SHAPES``) and place (a key of ``PLACES``)."""

    colour: str
    shape: str
    place: str


def with_article(words: str) -> str:
    """``words`` after "a" or "an", such as "an orange circle"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(shape: str) -> str:
    """The plural of a shape's name."""
    return shape + ("es" if shape.endswith("s") else "s")


def in_words(thing: PlacedObject) -> str:
    """The object in the words of plans and reflections: "a red circle northwest"."""
    return f"{with_article(f'{thing.colour} {thing.shape}')} {thing.place}"
