"""Short questions and answers about pictures and texts, in LLaVA's form."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from irg_jax.worlds.shapes.base.plans import Plans, generator, weaker_picture
from irg_jax.worlds.shapes.manners import write_prompt
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, SHAPES, PlacedObject, in_words, with_article
from irg_jax.worlds.shapes.picture import Content, Picture
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.scene_pictures import improved_picture, weak_picture
from irg_jax.worlds.shapes.thinking import write_plan, write_seen, write_verdict

MARK = "<image>"
WHAT_IS_SEEN = "What is seen?"


class Sample(NamedTuple):
    """Turns by a human and a model in alternation, and the picture that the mark in the first one stands for."""

    turns: tuple[str, ...]
    picture: Picture | None


def see(rng: np.random.Generator, plans: Plans) -> Sample:
    """A picture, then everything that is in it."""
    picture = _any_picture(rng, plans)[1]
    return Sample(turns_of_seeing(picture.content, plans.places), picture)


def turns_of_seeing(seen: Content, places: Sequence[str]) -> tuple[str, str]:
    """The question what is seen in a picture, and the answer."""
    return f"{MARK}\n{WHAT_IS_SEEN}", write_seen(seen, places)


def answer(rng: np.random.Generator, plans: Plans) -> Sample:
    """A picture, then three questions about it, each with its answer."""
    picture = _any_picture(rng, plans)[1]
    turns: list[str] = []
    for _ in range(3):
        turns += _question(rng, picture.objects, plans.places)
    return Sample((f"{MARK}\n{turns[0]}", *turns[1:]), picture)


def compare_texts(rng: np.random.Generator, plans: Plans) -> Sample:
    """A plan and what is seen, both in words, then what differs."""
    scene, picture = _any_picture(rng, plans)
    seen = picture.content
    question = f"{write_plan(scene)}\n{write_seen(seen, plans.places)}"
    return Sample((question, write_verdict(scene.plan, seen, plans.places)), None)


def compare_with_picture(rng: np.random.Generator, plans: Plans) -> Sample:
    """A plan and a picture, then what is seen and what differs."""
    scene, picture = _any_picture(rng, plans)
    return Sample(turns_of_comparing(scene, picture.content, plans.places), picture)


def turns_of_comparing(scene: Scene, seen: Content, places: Sequence[str]) -> tuple[str, str]:
    """A plan with a picture, then what is seen and what differs."""
    text = f"<think> {write_seen(seen, places)} {write_verdict(scene.plan, seen, places)}"
    return f"{write_plan(scene)}\n{MARK}", text


def plan_of_picture(rng: np.random.Generator, plans: Plans) -> Sample:
    """A good picture, then the plan that it follows."""
    scene = plans.draw(rng)
    ordered = sorted(scene.objects, key=lambda thing: plans.places.index(thing.place))
    picture = improved_picture(weak_picture(rng, scene, plans.size), scene)
    plan = write_plan(dataclasses.replace(scene, objects=tuple(ordered)))
    return Sample((f"{MARK}\nHow is this picture planned?", plan), picture)


def plan_of_prompt(rng: np.random.Generator, plans: Plans) -> Sample:
    """A prompt, then a plan for it."""
    scene = plans.draw(rng)
    return Sample((write_prompt(scene, rng), write_plan(scene)), None)


# Each kind of sample with its share in twentieths.
_KINDS: tuple[tuple[Callable[[np.random.Generator, Plans], Sample], int], ...] = (
    (see, 4),
    (answer, 2),
    (compare_texts, 3),
    (compare_with_picture, 8),
    (plan_of_picture, 1),
    (plan_of_prompt, 2),
)


def samples(seed: int, plans: Plans, indices: Iterable[int]) -> Iterator[Sample]:
    """The samples of these indices, of all kinds in a fixed alternation."""
    kinds = [kind for kind, share in _KINDS for _ in range(share)]
    for index in indices:
        # A step that has no factor with the number of kinds, so that neighbours differ.
        yield kinds[index * 7 % len(kinds)](generator(seed, 10, index), plans)


def _any_picture(rng: np.random.Generator, plans: Plans) -> tuple[Scene, Picture]:
    """A scene, and a picture of it: good, weak as in the world's records, or weaker."""
    scene = plans.draw(rng)
    kind = rng.integers(8)
    picture = (weak_picture if kind < 5 else weaker_picture)(rng, scene, plans.size)
    return scene, improved_picture(picture, scene) if kind == 0 else picture


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
        return f"How many objects of shape {thing.shape}?", f"{NUMBERS[of_shape]}."
    colour = COLOURS[rng.integers(len(COLOURS))] if rng.integers(2) else thing.colour
    shape = SHAPES[rng.integers(len(SHAPES))] if rng.integers(2) else thing.shape
    there_is = any((other.colour, other.shape) == (colour, shape) for other in objects)
    return f"Is there {with_article(f'{colour} {shape}')}?", "Yes." if there_is else "No."
