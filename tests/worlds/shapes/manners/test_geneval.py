"""GenEval's manner, whose scenes say what is wanted without questions."""

import collections

import pytest

from irg_jax.worlds.shapes.prompts import WORDINGS, parse_prompt, write_prompt
from irg_jax.worlds.shapes.relations import relative_position
from irg_jax.worlds.shapes.scene import Scene, Wanted
from tests.worlds.shapes.manners.drawing import imagine, scenes


@pytest.mark.parametrize("size", [32, 48])
def test_the_plan_is_what_the_prompt_asks_for(size):
    for scene in scenes("geneval", 300, size):
        seen = imagine(scene.objects, size).objects
        assert collections.Counter(thing.shape for thing in seen) == {item.shape: item.count for item in scene.wanted}
        wanted = {item.shape: item.colour for item in scene.wanted}
        assert all(wanted[thing.shape] in (None, thing.colour) for thing in seen)
        if scene.relation:
            first, second = (next(s.box for s in seen if s.shape == item.shape) for item in scene.wanted)
            assert scene.relation in relative_position(first, second)


def test_nine_places_take_up_to_six_of_a_kind_and_four_kinds():
    many = scenes("geneval", 600, 48)
    assert {len(scene.objects) for scene in many if scene.kind == "counting"} == {1, 2, 3, 4, 5, 6}
    assert {len(scene.wanted) for scene in many if scene.kind == "color_attr"} == {2, 3, 4}
    assert {len(scene.wanted) for scene in scenes("geneval", 300, 32) if scene.kind == "color_attr"} == {2}


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_prompt_is_read_back_as_what_it_asks_for(split, size):
    for scene in scenes("geneval", 300, size, split):
        for wording in range(len(WORDINGS[scene.kind])):
            read = parse_prompt(write_prompt(scene, wording))
            assert (read.wanted, read.relation) == (scene.wanted, scene.relation)


def test_a_list_is_read_in_its_order():
    wanted = (Wanted("cross", "red"), Wanted("circle", "blue"), Wanted("square", "orange"))
    assert parse_prompt("A red cross along with a blue circle and an orange square") == Scene("color_attr", wanted)
