"""Prompts are read back as what they were written from."""

import pytest

from irg_jax.worlds.shapes.prompts import parse_prompt
from irg_jax.worlds.shapes.scene import Scene, Wanted
from irg_jax.worlds.shapes.world import make_trajectory


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_prompt_is_read_back_as_what_it_asks_for(split):
    for index in range(300):
        record = make_trajectory(3, split, index)
        written, read = Scene.from_json(record.scene), parse_prompt(record.prompt)
        assert (read.wanted, read.relation) == (written.wanted, written.relation)


def test_case_spaces_and_a_full_stop_do_not_matter():
    assert parse_prompt(" Draw a  red circle. ") == Scene("colors", (Wanted("circle", "red"),), None, ())


@pytest.mark.parametrize(
    "text", ["", "a cat", "a red circle and", "seven circles", "a circle and a circle", "a pink cross"]
)
def test_other_texts_are_no_prompts(text):
    assert parse_prompt(text) is None
