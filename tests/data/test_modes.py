"""The six learning modes: conditions and targets of each, against the table in ``modes``."""

import dataclasses

import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import modes
from irg_jax.data.conversation import Image, MappedSource, Text
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
    conversation = modes.learning_mode(name, "good")(T)
    assert conversation.key == T.key
    assert conversation.parts == TABLE[name][0] + TABLE[name][1]


def test_the_table_lists_all_modes():
    assert set(modes.MODES) == set(TABLE)


def test_the_initial_target_changes_only_initial_full_learning():
    changed = [name for name in TABLE if modes.learning_mode(name, "draft")(T) != modes.learning_mode(name, "good")(T)]
    assert changed == ["initial_full_learning"]
    target = modes.learning_mode("initial_full_learning", "draft")(T).parts[-1]
    assert target == Image(T.image1, need_loss=True)


def test_an_unknown_mode_is_named_with_the_known_ones():
    with pytest.raises(UserError, match="'initial_learning'.*initial_full_learning, improving_thinking_understanding"):
        modes.learning_mode("initial_learning", "good")


def test_thinking1_none_empties_the_first_thinking_and_plan_keeps_it():
    assert modes.THINKING1["plan"](T) == T
    assert modes.THINKING1["none"](T) == dataclasses.replace(T, thinking1="<think> </think>")


def test_a_mapped_source_applies_a_mode_to_every_trajectory():
    source = MappedSource([tiny.trajectory(i) for i in range(3)], modes.learning_mode("initial_full_learning", "good"))
    assert len(source) == 3
    assert [source[i].key for i in range(3)] == ["train/000000", "train/000001", "train/000002"]
