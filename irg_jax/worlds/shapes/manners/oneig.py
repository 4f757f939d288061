"""OneIG-Bench's manner: words to be written, styles, and prompts that leave much open."""

from collections.abc import Callable, Sequence

import numpy as np

from irg_jax.worlds.shapes.draw import arrange, most_objects, open_places, pick
from irg_jax.worlds.shapes.manners import requests
from irg_jax.worlds.shapes.manners.requests import Request
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject, with_article
from irg_jax.worlds.shapes.scene import Check, Scene


def _different(rng: np.random.Generator, size: int) -> Request:
    """Objects that differ in colour or in shape: "three objects of different colours"."""
    what = ("colour", "shape")[rng.integers(2)]
    count = int(rng.integers(2, min(most_objects(size), len(SHAPES)) + 1))
    colours, shapes = _any(rng, COLOURS, count), _any(rng, SHAPES, count)
    if what == "colour":
        colours = pick(rng, COLOURS, count)
    else:
        shapes = pick(rng, SHAPES, count)
    checks = (requests.there_are(count), Check(f"Are all objects of different {what}s?"))
    told = f"{requests.counted(count, '', 'object')} of different {what}s"
    return Request(_arranged(rng, colours, shapes, size), checks, {"all": told})


def _alike(rng: np.random.Generator, size: int) -> Request:
    """Objects that share a colour or a shape, which the prompt leaves open: "several objects of the same colour"."""
    what = ("colour", "shape")[rng.integers(2)]
    count = int(rng.integers(2, most_objects(size) + 1))
    colours, shapes = _any(rng, COLOURS, count), _any(rng, SHAPES, count)
    if what == "colour":
        colours = colours[:1] * count
    else:
        shapes = shapes[:1] * count
    checks = (Check("Is there more than one object?"), Check(f"Are all objects of the same {what}?"))
    return Request(_arranged(rng, colours, shapes, size), checks, {"all": f"several objects of the same {what}"})


def _single(rng: np.random.Generator, size: int) -> Request:
    """One object of which only the colour or only the shape is given: "a circle of any colour"."""
    (colour,), (shape,) = pick(rng, COLOURS, 1), pick(rng, SHAPES, 1)
    if rng.integers(2):
        check, told = requests.there_are(1, colour), f"{with_article(colour)} shape of any kind"
    else:
        check, told = requests.there_are(1, "", shape), f"{with_article(shape)} of any colour"
    return Request(_arranged(rng, [colour], [shape], size), (check, requests.there_are(1)), {"all": told})


def _any(rng: np.random.Generator, items: tuple[str, ...], count: int) -> list[str]:
    return [items[i] for i in rng.integers(len(items), size=count)]


def _arranged(
    rng: np.random.Generator, colours: Sequence[str], shapes: Sequence[str], size: int
) -> tuple[PlacedObject, ...]:
    return arrange(rng, list(zip(colours, shapes, strict=True)), open_places(size))


def _diversity(rng: np.random.Generator, size: int) -> Request:
    return (_different, _alike, _single)[rng.integers(3)](rng, size)


_DRAW: dict[str, Callable[[np.random.Generator, int], Request]] = {
    "text": requests.text,
    "style": requests.style,
    "diversity": _diversity,
}
KINDS = tuple(_DRAW)
_WORDINGS = {
    "text": (
        'a poster with the word "{word}" below {all}',
        'the word "{word}", and above it {all}',
        '{all}, captioned "{word}"',
        '{all} over a line of text that reads "{word}"',
    ),
    "style": (
        "{all}, {in_style}",
        "{all} drawn {in_style}",
        "an illustration {in_style} of {all}",
        "a poster {in_style} that shows {all}",
    ),
    "diversity": ("{all}", "{all}, minimalist poster", "clean illustration, {all}", "{all} on a bright background"),
}


def draw(rng: np.random.Generator, kind: str, size: int, split: str) -> Scene:
    """A random scene of ``kind``, one of ``KINDS``, whose objects and word belong to ``split``."""
    return requests.draw_in(split, _DRAW[kind], rng, size).scene("oneig", kind, _WORDINGS[kind])
