"""Which texts are prompts of GenEval; that all of them are read back is in ``manners/test_geneval.py``."""

import pytest

from irg_jax.worlds.shapes.prompts import parse_prompt
from irg_jax.worlds.shapes.scene import Scene, Wanted


def test_case_spaces_and_a_full_stop_do_not_matter():
    assert parse_prompt(" Draw a  red circle. ") == Scene("colors", (Wanted("circle", "red"),), None, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a cat",
        "a red circle and",
        "seven circles",
        "a red circle and a square",
        "two circle",
        "a circle and a circle",
        "a pink cross",
    ],
)
def test_other_texts_are_no_prompts(text):
    assert parse_prompt(text) is None
