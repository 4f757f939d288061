"""What all manners have in common."""

import numpy as np
import pytest

from irg_jax.worlds.shapes.draw import open_places, split_of
from irg_jax.worlds.shapes.manners import MANNERS, draw_scene, kinds_of, write_prompt
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, SHAPES, PlacedObject
from irg_jax.worlds.shapes.questions import answer_question, failed_checks
from irg_jax.worlds.shapes.scene import Scene
from tests.worlds.shapes.manners.drawing import imagine, read_back, satisfies, scenes

WITH_CHECKS = MANNERS[1:]


@pytest.mark.parametrize("manner", WITH_CHECKS)
@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("size", [32, 48])
def test_the_plan_is_what_the_prompt_asks_for(manner, split, size):
    for scene in scenes(manner, 300, size, split):
        assert satisfies(scene, scene.objects, size), scene


@pytest.mark.parametrize("manner", WITH_CHECKS)
@pytest.mark.parametrize(("size", "count"), [(32, 40), (64, 8)])
def test_the_planned_picture_is_what_the_prompt_asks_for(manner, size, count):
    for scene in scenes(manner, count, size):
        assert not failed_checks(scene.checks, read_back(scene, size)), scene


@pytest.mark.parametrize("manner", WITH_CHECKS)
def test_a_picture_without_objects_is_never_what_is_asked_for(manner):
    assert not any(satisfies(scene, ()) for scene in scenes(manner, 60, 32))


@pytest.mark.parametrize("manner", WITH_CHECKS)
def test_a_picture_full_of_different_objects_is_never_what_is_asked_for(manner):
    every = [PlacedObject(*look) for look in zip(COLOURS, (*SHAPES, "circle"), open_places(48), strict=False)]
    full = [*every, PlacedObject("red", "square", "south"), PlacedObject("blue", "circle", "southeast")]
    assert not any(satisfies(scene, full, 48) for scene in scenes(manner, 200, 48))


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("size", [32, 48])
def test_plans_fit_the_canvas(manner, size):
    for scene in scenes(manner, 300, size):
        assert 1 <= len(scene.objects) <= min(len(NUMBERS) - 1, len(open_places(size, scene.word)))
        assert {thing.place for thing in scene.objects} <= set(open_places(size, scene.word))


@pytest.mark.parametrize("manner", MANNERS)
def test_a_scene_is_read_back_from_its_json(manner):
    for scene in scenes(manner, 60, 48):
        assert Scene.from_json(scene.to_json()) == scene


@pytest.mark.parametrize("manner", [manner for manner in MANNERS if manner != "wise"])
def test_the_splits_share_no_combination_of_objects(manner):
    for split in ("train", "held_out"):
        assert all(split_of(scene.objects) == split for scene in scenes(manner, 100, 32, split))


@pytest.mark.parametrize("manner", MANNERS)
def test_the_same_generator_draws_the_same_scene_and_prompt(manner):
    def draw():
        rng = np.random.default_rng(11)
        scene = draw_scene(rng, manner, 2, 48, "train")
        return scene, write_prompt(scene, rng)

    assert draw() == draw()


@pytest.mark.parametrize("manner", MANNERS)
def test_kinds_alternate(manner):
    kinds = kinds_of(manner)
    assert [scene.kind for scene in scenes(manner, 2 * len(kinds), 32)] == [*kinds, *kinds]
    assert {scene.manner for scene in scenes(manner, len(kinds), 32)} == {manner}


@pytest.mark.parametrize("manner", WITH_CHECKS)
def test_every_check_is_understood_and_none_is_asked_twice(manner):
    empty = imagine((), 48)
    for scene in scenes(manner, 100, 48):
        assert None not in [answer_question(check.question, empty) for check in scene.checks]
        assert len(set(scene.checks)) == len(scene.checks)


@pytest.mark.parametrize("manner", MANNERS)
def test_prompts_are_short_and_name_no_place(manner):
    rng = np.random.default_rng(0)
    for scene in scenes(manner, 200, 48):
        words = write_prompt(scene, rng).lower().replace(",", "").split()
        assert 2 <= len(words) <= 60
        assert not {thing.place for thing in scene.objects} & set(words)
