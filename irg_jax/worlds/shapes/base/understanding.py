"""Short questions and answers about pictures and texts, in LLaVA's form."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from irg_jax.worlds.shapes.base.plans import draw_other, draw_plan, generator
from irg_jax.worlds.shapes.faults import compare, draw_weak
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject, centres, in_words, with_article
from irg_jax.worlds.shapes.picture import Picture, improve
from irg_jax.worlds.shapes.thinking import write_evidence, write_faults, write_plan, write_seen

MARK = "<image>"
WHAT_IS_SEEN = "What is seen?"


class Sample(NamedTuple):
    """Turns by a human and a model in alternation, and the picture that the mark in the first one stands for."""

    turns: tuple[str, ...]
    picture: Picture | None


def see(rng: np.random.Generator, places: Sequence[str]) -> Sample:
    """A picture, then everything that is in it."""
    picture = _any_picture(rng, places)[1]
    return Sample((f"{MARK}\n{WHAT_IS_SEEN}", write_seen(picture.objects, picture.flaws, places)), picture)


def answer(rng: np.random.Generator, places: Sequence[str]) -> Sample:
    """A picture, then three questions about it, each with its answer."""
    picture = _any_picture(rng, places)[1]
    turns: list[str] = []
    for _ in range(3):
        turns += _question(rng, picture.objects, places)
    return Sample((f"{MARK}\n{turns[0]}", *turns[1:]), picture)


def compare_texts(rng: np.random.Generator, places: Sequence[str]) -> Sample:
    """A plan and what is seen, both in words, then what differs."""
    planned, picture = _any_picture(rng, places)
    seen, flaws = picture.objects, picture.flaws
    verdict = f"{write_evidence(planned, seen, places)} {write_faults(compare(planned, seen, flaws))}"
    return Sample((f"{write_plan(planned)}\n{write_seen(seen, flaws, places)}", verdict), None)


def compare_with_picture(rng: np.random.Generator, places: Sequence[str]) -> Sample:
    """A plan and a picture, then what is seen and what differs."""
    planned, picture = _any_picture(rng, places)
    seen, flaws = picture.objects, picture.flaws
    text = (
        f"{write_seen(seen, flaws, places)} {write_evidence(planned, seen, places)} "
        f"{write_faults(compare(planned, seen, flaws))}"
    )
    return Sample((f"{write_plan(planned)}\n{MARK}", f"<think> {text}"), picture)


def plan_of_picture(rng: np.random.Generator, places: Sequence[str]) -> Sample:
    """A good picture, then the plan that it follows."""
    planned = draw_plan(rng, "train").objects
    ordered = tuple(sorted(planned, key=lambda thing: places.index(thing.place)))
    picture = improve(draw_weak(rng, planned, places), planned)
    return Sample((f"{MARK}\nHow is this picture planned?", write_plan(ordered)), picture)


# Each kind of sample with its share in twentieths.
_KINDS: tuple[tuple[Callable[[np.random.Generator, Sequence[str]], Sample], int], ...] = (
    (see, 5),
    (answer, 2),
    (compare_texts, 3),
    (compare_with_picture, 9),
    (plan_of_picture, 1),
)


def samples(seed: int, count: int, size: int) -> Iterator[Sample]:
    """So many samples of all kinds, in a fixed alternation; ``size`` is that of a picture in pixels."""
    places = tuple(centres(size))
    kinds = [kind for kind, share in _KINDS for _ in range(share)]
    for index in range(count):
        # A step that has no factor with the number of kinds, so that neighbours differ.
        yield kinds[index * 7 % len(kinds)](generator(seed, 10, index), places)


def _any_picture(rng: np.random.Generator, places: Sequence[str]) -> tuple[tuple[PlacedObject, ...], Picture]:
    """A plan of the training split, and a picture of it: good, weak as in the world's records, or weaker."""
    planned = draw_plan(rng, "train").objects
    kind = rng.integers(8)
    picture = (draw_weak if kind < 5 else draw_other)(rng, planned, places)
    return planned, improve(picture, planned) if kind == 0 else picture


def _question(rng: np.random.Generator, objects: Sequence[PlacedObject], places: Sequence[str]) -> tuple[str, str]:
    thing = objects[int(rng.integers(len(objects)))]
    kind = rng.integers(4)
    if kind == 0:
        place = places[int(rng.integers(len(places)))]
        there = next((thing for thing in objects if thing.place == place), None)
        return f"What is {place}?", f"{in_words(there)}." if there else "nothing."
    if kind == 1:
        return f"What colour is the {thing.shape} {thing.place}?", f"{thing.colour}."
    if kind == 2:
        of_shape = sum(other.shape == thing.shape for other in objects)
        return f"How many objects of shape {thing.shape}?", f"{('zero', 'one', 'two', 'three', 'four')[of_shape]}."
    colour = COLOURS[rng.integers(len(COLOURS))] if rng.integers(2) else thing.colour
    shape = SHAPES[rng.integers(len(SHAPES))] if rng.integers(2) else thing.shape
    there_is = any((other.colour, other.shape) == (colour, shape) for other in objects)
    return f"Is there {with_article(f'{colour} {shape}')}?", "Yes." if there_is else "No."
