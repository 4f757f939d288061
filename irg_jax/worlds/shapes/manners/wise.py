"""WISE's manner: prompts that leave a number, colour, shape or side for the model to know."""

import dataclasses
import zlib

import numpy as np

from irg_jax.worlds.shapes.draw import SPLITS, arrange, most_objects, open_places, pick
from irg_jax.worlds.shapes.manners import facts
from irg_jax.worlds.shapes.manners.facts import Fact
from irg_jax.worlds.shapes.manners.requests import Request, there_are
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject, plural, with_article
from irg_jax.worlds.shapes.scene import Check, Scene

KINDS = facts.CATEGORIES

# Ways to ask for what each sort of fact is about; {a} and {things} are what the prompt says itself.
_WORDINGS = {
    facts.NUMBER_FACTS: (
        "As many {things} as {clue}.",
        "Draw as many {things} as {clue}.",
        "A picture with as many {things} as {clue}.",
        "Show me {things}, exactly as many as {clue}.",
        "{things}, and of those as many as {clue}.",
    ),
    facts.COLOUR_FACTS: (
        "{a} of the colour of {clue}.",
        "Draw {a} in the colour of {clue}.",
        "A picture of {a} that has the colour of {clue}.",
        "Show me {a}, painted in the colour of {clue}.",
        "{a} whose colour is that of {clue}.",
    ),
    facts.SHAPE_FACTS: (
        "{a} in the shape of {clue}.",
        "Draw {a} in the shape of {clue}.",
        "A picture of {a} that has the shape of {clue}.",
        "Show me {a}, cut in the shape of {clue}.",
        "{a} whose outline is that of {clue}.",
    ),
    facts.SIDE_FACTS: (
        "{a} on the side {clue}.",
        "Draw {a} on the side {clue}.",
        "A picture of {a}, put on the side {clue}.",
        "Show me {a} that is on the side {clue}.",
        "{a} whose place is on the side {clue}.",
    ),
}


def draw(rng: np.random.Generator, kind: str, size: int, split: str) -> Scene:
    """A random scene about a fact of category ``kind``, whose prompts are the fact's wordings of ``split``."""
    known = [fact for fact in facts.FACTS if fact.category == kind and _fits(fact, size)]
    fact = known[rng.integers(len(known))]
    sort = next(sort for sort in _WORDINGS if fact in sort)
    request = _DRAW[sort](rng, fact, size)
    request = request._replace(slots={**request.slots, "clue": fact.clue})
    wordings = [text for number, text in enumerate(_WORDINGS[sort]) if split_of_wording(fact, number) == split]
    return dataclasses.replace(request.scene("wise", kind, wordings), fact=fact.clue)


def split_of_wording(fact: Fact, wording: int) -> str:
    """The split of a fact in wording number ``wording`` of five: every fact has one that is held out."""
    return SPLITS[zlib.crc32(fact.clue.encode()) % 5 == wording]


def _fits(fact: Fact, size: int) -> bool:
    """Whether a canvas has as many places as a fact needs."""
    return not isinstance(fact.answer, int) or fact.answer <= most_objects(size)


def _number(rng: np.random.Generator, fact: Fact, size: int) -> Request:
    (colour,), (shape,), coloured = pick(rng, COLOURS, 1), pick(rng, SHAPES, 1), bool(rng.integers(2))
    count = int(fact.answer)
    checks = (there_are(count, colour if coloured else "", shape), there_are(count))
    things = f"{colour} {plural(shape)}" if coloured else plural(shape)
    return Request(arrange(rng, [(colour, shape)] * count, open_places(size)), checks, {"things": things})


def _colour(rng: np.random.Generator, fact: Fact, size: int) -> Request:
    (shape,), colour = pick(rng, SHAPES, 1), str(fact.answer)
    checks = (there_are(1, colour, shape), there_are(1))
    return Request(arrange(rng, [(colour, shape)], open_places(size)), checks, {"a": with_article(shape)})


def _shape(rng: np.random.Generator, fact: Fact, size: int) -> Request:
    (colour,), shape = pick(rng, COLOURS, 1), str(fact.answer)
    checks = (there_are(1, colour, shape), there_are(1))
    a = with_article(f"{colour} piece of paper")
    return Request(arrange(rng, [(colour, shape)], open_places(size)), checks, {"a": a})


def _side(rng: np.random.Generator, fact: Fact, size: int) -> Request:
    (colour,), (shape,) = pick(rng, COLOURS, 1), pick(rng, SHAPES, 1)
    (place,) = pick(rng, [place for place in open_places(size) if str(fact.answer) in place], 1)
    checks = (there_are(1, colour, shape), there_are(1), Check(f"Is the {shape} on the {fact.answer} side?"))
    return Request((PlacedObject(colour, shape, place),), checks, {"a": with_article(f"{colour} {shape}")})


_DRAW = {facts.NUMBER_FACTS: _number, facts.COLOUR_FACTS: _colour, facts.SHAPE_FACTS: _shape, facts.SIDE_FACTS: _side}
