"""WISE's manner: facts that the prompts do not tell."""

import dataclasses
import re

import pytest

from irg_jax.benchmarks.wise.prompts import CATEGORIES
from irg_jax.worlds.shapes.manners import kinds_of
from irg_jax.worlds.shapes.manners.facts import COLOUR_FACTS, FACTS, NUMBER_FACTS, SHAPE_FACTS, SIDE_FACTS
from irg_jax.worlds.shapes.manners.wise import split_of_wording
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, SHAPES, plural
from irg_jax.worlds.shapes.questions import SIDES
from tests.worlds.shapes.manners.drawing import satisfies, scenes


def test_there_are_many_facts_in_every_category_of_the_benchmark():
    assert kinds_of("wise") == CATEGORIES
    assert len({fact.clue for fact in FACTS}) == len(FACTS) >= 40
    assert all(sum(fact.category == category for fact in FACTS) >= 5 for category in CATEGORIES)
    assert {fact.answer for fact in FACTS} >= {1, 2, 3, 4, 5, 6, *COLOURS, *SHAPES, *SIDES}


def test_no_prompt_names_what_has_to_be_known():
    answers = {fact.clue: fact.answer for fact in FACTS}
    for scene in scenes("wise", 300, 48) + scenes("wise", 300, 48, "held_out"):
        answer = answers[scene.fact]
        hidden = {answer, plural(answer)} if isinstance(answer, str) else {NUMBERS[answer], str(answer)}
        for prompt in scene.prompts:
            assert scene.fact in prompt
            assert not hidden & set(re.findall(r"\w+", prompt.lower()))


def test_both_splits_have_every_fact_and_no_prompt_in_common():
    for fact in FACTS:
        assert sorted(split_of_wording(fact, wording) for wording in range(5)) == ["held_out"] + 4 * ["train"]
    train, held_out = (
        {p for s in scenes("wise", 600, 48, split) for p in s.prompts} for split in ("train", "held_out")
    )
    assert not train & held_out
    assert len({scene.fact for scene in scenes("wise", 600, 48, "held_out")}) > 0.9 * len(FACTS)


@pytest.mark.parametrize(
    ("sort", "count", "wrong"),
    [
        (NUMBER_FACTS, 2, {}),
        (COLOUR_FACTS, 1, {"colour": "another"}),
        (SHAPE_FACTS, 1, {"shape": "another"}),
        (SIDE_FACTS, 1, {"place": "centre"}),
    ],
)
def test_a_picture_that_does_not_know_the_fact_fails(sort, count, wrong):
    clues = {fact.clue for fact in sort}
    for scene in [scene for scene in scenes("wise", 300, 48) if scene.fact in clues and len(scene.objects) >= count]:
        assert not satisfies(scene, [*scene.objects[:-count], dataclasses.replace(scene.objects[-1], **wrong)], 48)
