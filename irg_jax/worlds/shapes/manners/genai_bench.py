"""GenAI-Bench's manner: one request for each of its skills that this world has."""

from collections.abc import Callable

import numpy as np

from irg_jax.worlds.shapes.manners import requests
from irg_jax.worlds.shapes.manners.requests import Request
from irg_jax.worlds.shapes.scene import Scene

_DRAW: dict[str, Callable[[np.random.Generator, int], Request]] = {
    "attribute": requests.attribute,
    "spatial relation": lambda rng, size: requests.relation(rng, size, coloured=bool(rng.integers(2))),
    "counting": lambda rng, size: requests.counting(rng, size, coloured=bool(rng.integers(2))),
    "comparison": lambda rng, size: requests.comparison(rng, size, ("shape", "colour")[rng.integers(2)]),
    "differentiation": requests.differentiation,
    "negation": lambda rng, size: requests.negation(rng, size, ("shape", "colour")[rng.integers(2)]),
    "universal": requests.universal,
}
KINDS = tuple(_DRAW)

_WORDINGS = {
    "attribute": ("{all}.", "A drawing of {all}.", "In this picture there is {all}.", "{all} on a bright surface."),
    "spatial relation": (
        "{a} is {relation} {b}.",
        "A drawing in which {a} is {relation} {b}.",
        "{a} rests {relation} {b} on a bright surface.",
        "Someone put {a} {relation} {b}.",
    ),
    "counting": (
        "{counted}, nothing more.",
        "A drawing of exactly {counted}.",
        "{counted} on a bright surface.",
        "Someone drew {counted}.",
    ),
    "comparison": (
        "There are {comparison}.",
        "A drawing with {comparison}.",
        "{comparison} lie on a bright surface.",
        "Someone drew {comparison}.",
    ),
    "differentiation": (
        "{all}.",
        "A drawing of {all}.",
        "On a bright surface lie {all}.",
        "Of all that could be here, there are only {all}.",
    ),
    "negation": (
        "{counted}, but no {excluded}.",
        "A drawing of {counted} without any {excluded}.",
        "There are no {excluded} here, only {counted}.",
        "{counted} on a bright surface that has no {excluded}.",
    ),
    "universal": (
        "{counted}, all of them {all_are}.",
        "A drawing of {counted} in which every object is {each_is}.",
        "On a bright surface lie {counted}, and all are {all_are}.",
        "{counted}; each one is {each_is}.",
    ),
}


def draw(rng: np.random.Generator, kind: str, size: int, split: str) -> Scene:
    """A random scene of ``kind``, one of ``KINDS``, whose objects belong to ``split``."""
    return requests.draw_in(split, _DRAW[kind], rng, size).scene("genai_bench", kind, _WORDINGS[kind])
