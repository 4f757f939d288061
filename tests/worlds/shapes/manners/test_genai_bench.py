"""GenAI-Bench's manner: faults that matter for a skill are found by its checks."""

import dataclasses

import pytest

from irg_jax.benchmarks.genai_bench.prompts import ADVANCED, BASIC
from irg_jax.worlds.shapes.draw import open_places
from irg_jax.worlds.shapes.manners import kinds_of
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject
from tests.worlds.shapes.manners.drawing import satisfies, scene_of

SEEDS = range(12)


def test_kinds_are_skills_of_the_benchmark():
    assert set(ADVANCED) <= set(kinds_of("genai_bench")) <= {*BASIC, *ADVANCED}


def changed(thing, **values):
    return dataclasses.replace(thing, **values)


def other(words, *than):
    return next(word for word in words if word not in than)


def without_first(scene):
    return scene.objects[1:]


def with_one_more(scene):
    (free, *_) = [place for place in open_places(48) if place not in {thing.place for thing in scene.objects}]
    return (*scene.objects, changed(scene.objects[-1], place=free))


def painted(scene):
    """The first object in a colour that nothing else has."""
    first, *rest = scene.objects
    return (changed(first, colour=other(COLOURS, *(thing.colour for thing in scene.objects))), *rest)


def swapped(scene):
    first, second = scene.objects
    return (changed(first, place=second.place), changed(second, place=first.place))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("attribute", painted),
        ("attribute", without_first),
        ("attribute", with_one_more),
        ("spatial relation", swapped),
        ("counting", without_first),
        ("counting", with_one_more),
        ("differentiation", painted),
        ("differentiation", without_first),
        ("negation", with_one_more),
    ],
)
def test_a_fault_that_matters_is_found(kind, damage, seed):
    scene = scene_of("genai_bench", kind, 48, seed)
    assert satisfies(scene, scene.objects, 48)
    assert not satisfies(scene, damage(scene), 48)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_excluded_must_not_be_there(seed):
    scene = scene_of("genai_bench", "negation", 48, seed)
    (excluded,) = [check.question for check in scene.checks if not check.expected]
    for first in [PlacedObject(colour, shape, scene.objects[0].place) for colour in COLOURS for shape in SHAPES]:
        if f" {first.colour} objects" in excluded or f" {first.shape}" in excluded:
            assert not satisfies(scene, (first, *scene.objects[1:]), 48)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_means_all(seed):
    scene = scene_of("genai_bench", "universal", 48, seed)
    first, *rest = scene.objects
    shapes, colours = ({getattr(thing, name) for thing in scene.objects} for name in ("shape", "colour"))
    odd = PlacedObject(
        other(COLOURS, *colours), other(SHAPES, *shapes) if len(shapes) < 5 else first.shape, first.place
    )
    assert not satisfies(scene, (odd, *rest), 48)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_comparison_needs_both_kinds_and_the_right_one_of_them_more_often(seed):
    scene = scene_of("genai_bench", "comparison", 48, seed)
    looks = [(thing.colour, thing.shape) for thing in scene.objects]
    kinds = sorted(set(looks), key=looks.index)
    assert not satisfies(scene, [PlacedObject(*kinds[0], t.place) for t in scene.objects], 48)
    others = {kinds[0]: kinds[1], kinds[1]: kinds[0]}
    turned = [PlacedObject(*others[look], t.place) for look, t in zip(looks, scene.objects, strict=True)]
    assert satisfies(scene, turned, 48) == ("as many" in scene.prompts[0])
