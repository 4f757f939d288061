"""What the oracle teaches: the record's own texts and pictures, borne out by the pictures that it is shown."""

import dataclasses

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data.images import decode, encode_png
from irg_jax.worlds.shapes.objects import centres
from irg_jax.worlds.shapes.oracle.protocol import Question
from irg_jax.worlds.shapes.oracle.teacher import Teacher
from irg_jax.worlds.shapes.picture import Background, Content, Picture, improve
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import backdrop, render
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.score import compare_with_plan
from irg_jax.worlds.shapes.thinking import parse_reflection, write_reflection
from irg_jax.worlds.shapes.world import make_trajectory
from tests.worlds.shapes.drawing import good
from tests.worlds.shapes.oracle.asking import chat

BLANK = encode_png(backdrop(Background()).astype(np.uint8))


@pytest.fixture(scope="module")
def records():
    return [make_trajectory(21, "train", index) for index in range(30)]


@pytest.fixture(scope="module")
def teacher(records):
    return Teacher(records)


def own(records):
    """The records whose prompt no earlier one has: those that a teacher knows."""
    return list({record.prompt: record for record in reversed(records)}.values())


def ask(record, *pictures):
    return chat(f"Somebody asked for this picture:\n\n{record.prompt}\n\nBegin with <think>.", *pictures)


def pixels(content):
    return np.asarray(decode(content, "picture"))


def test_thinking_1_and_a_generated_picture_are_the_records(teacher, records):
    for record in own(records):
        assert teacher(ask(record)).text == teacher(ask(record, record.image2)).text == record.thinking1
        assert teacher(Question("generate", f"{record.prompt}\n\nPaint it.", (), {})) == record.image2


def test_thinking_2_is_that_of_the_record_for_its_pictures_with_any_number_of_faults(teacher, records):
    numbers = set()
    for record in own(records):
        text = teacher(ask(record, record.image1, record.image2)).text
        assert text == record.thinking2
        numbers.add(len(parse_reflection(text).faults))
    assert {0, 1, 2, 3} <= numbers


def test_thinking_2_says_what_is_seen_in_any_picture(teacher, records):
    record, other = own(records)[:2]
    seen = read_picture(pixels(other.image1))
    text = teacher(ask(record, other.image1, record.image2)).text
    scene, places = Scene.from_json(record.scene), tuple(centres(32))
    assert text == write_reflection(scene, Content(seen.things, seen.flaws), places)
    for nothing in (BLANK, b"no picture"):
        text = teacher(ask(record, nothing, record.image2)).text
        assert parse_reflection(text).seen.things == ()
        assert len(parse_reflection(text).faults) == len(scene.objects)


def test_an_edited_picture_has_no_faults_and_keeps_its_background(teacher, records):
    for record in own(records)[:10]:
        planned = Scene.from_json(record.scene).plan
        for shown in (record.image1, BLANK, b"no picture"):
            edited = teacher(Question("edit", f"for the following request:\n\n{record.prompt}\n\nx", (shown,), {}))
            assert compare_with_plan(read_picture(pixels(edited)), planned) == ()
        background = Background((220, 240, 225))
        weak = render(Picture(improve(Picture(()), planned).drawings[:1], background, ("faded",)))
        edited = teacher(Question("edit", record.prompt, (encode_png(weak),), {}))
        assert np.abs(read_picture(pixels(edited)).background - (220, 240, 225)).max() < 2


def test_what_does_not_fit_together_is_refused(teacher, records):
    record = own(records)[0]
    wrong = encode_png(good(()))
    with pytest.raises(UserError, match="does not show what its record plans"):
        teacher(ask(record, record.image1, wrong))
    with pytest.raises(UserError, match="3 pictures"):
        teacher(ask(record, record.image1, record.image1, record.image2))
    with pytest.raises(UserError, match="no record for the prompt 'a cat'"):
        teacher(ask(dataclasses.replace(record, prompt="a cat")))
