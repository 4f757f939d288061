"""The six learning modes: conditions and targets of each, against the table in ``modes``."""

import dataclasses

import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import modes
from irg_jax.data.conversation import Image, Text
from tests import tiny

T = tiny.trajectory(3)
INITIAL = Text(f"{modes.INITIAL_QUESTION}\n{T.prompt}")
IMPROVING = Text(f"{modes.IMPROVING_QUESTION}\n{T.prompt}")
FIRST_TURN = (Text(T.prompt), Text(T.thinking1), Image(T.image1, need_vae=True, need_vit=True))
TABLE = {
    # mode: conditions, targets
    "initial_thinking_understanding_learning": (
        (INITIAL, Image(T.image2, need_vit=True)),
        (Text(T.thinking1, need_loss=True),),
    ),
    "initial_thinking_generation_learning": ((Text(T.prompt),), (Text(T.thinking1, need_loss=True),)),
    "initial_full_learning": (
        (Text(T.prompt),),
        (Text(T.thinking1, need_loss=True), Image(T.image2, need_loss=True)),
    ),
    "improving_thinking_understanding_learning": (
        (IMPROVING, Image(T.image1, need_vit=True), Image(T.image2, need_vit=True)),
        (Text(T.thinking2, need_loss=True),),
    ),
    "improving_thinking_generation_learning": (FIRST_TURN, (Text(T.thinking2, need_loss=True),)),
    "improving_full_learning": (FIRST_TURN, (Text(T.thinking2, need_loss=True), Image(T.image2, need_loss=True))),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_mode_has_the_conditions_and_targets_of_the_table(name):
    conversation = modes.conversation(T, modes.learning_mode(name))
    assert conversation.key == T.key
    assert conversation.parts == TABLE[name][0] + TABLE[name][1]


def test_the_table_lists_all_modes():
    assert set(modes.MODES) == set(TABLE)


def test_the_initial_target_changes_only_initial_full_learning():
    changed = [name for name in TABLE if modes.learning_mode(name, "draft") != modes.learning_mode(name, "good")]
    assert changed == ["initial_full_learning"]
    target = modes.conversation(T, modes.learning_mode("initial_full_learning", "draft")).parts[-1]
    assert target == Image(T.image1, need_loss=True)


def test_an_unknown_mode_is_named_with_the_known_ones():
    with pytest.raises(UserError, match="'initial_learning'.*initial_full_learning, improving_thinking_understanding"):
        modes.learning_mode("initial_learning", "good")


def test_thinking1_none_empties_the_first_thinking_and_plan_keeps_it():
    for name, mode in modes.MODES.items():
        plain, without = (
            modes.conversation(T, modes.learning_mode(name, thinking1=which)) for which in ("plan", "none")
        )
        assert plain == modes.conversation(T, mode)
        expected = modes.conversation(dataclasses.replace(T, thinking1="<think> </think>"), mode)
        assert without == expected


def test_a_mode_asks_for_the_fields_that_it_needs():
    required = {name: set(modes.required_fields(mode)) for name, mode in modes.MODES.items()}
    assert required == {
        "initial_thinking_understanding_learning": {"prompt", "image2", "thinking1"},
        "initial_thinking_generation_learning": {"prompt", "thinking1"},
        "initial_full_learning": {"prompt", "thinking1", "image2"},
        "improving_thinking_understanding_learning": {"prompt", "image1", "image2", "thinking2"},
        "improving_thinking_generation_learning": {"prompt", "thinking1", "image1", "thinking2"},
        "improving_full_learning": {"prompt", "thinking1", "image1", "thinking2", "image2"},
    }
    without_plan = modes.learning_mode("improving_full_learning", thinking1="none")
    assert "thinking1" not in modes.required_fields(without_plan)
