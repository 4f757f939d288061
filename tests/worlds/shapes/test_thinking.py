"""The thinkings: short, true to the scene, and parsed back into exactly what was written."""

import collections

import pytest

from irg_jax.worlds.shapes.faults import FAULT_KINDS, Fault
from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.thinking import (
    HEADINGS,
    has_four_parts,
    parse_faults,
    parse_plan,
    write_plan,
    write_reflection,
)
from irg_jax.worlds.shapes.world import make_trajectory

CIRCLE = PlacedObject("red", "circle", "northwest")
CROSS = PlacedObject("orange", "cross", "southeast")
MISSING = write_reflection((CIRCLE, CROSS), Fault("missing", CIRCLE))


def test_a_plan_is_written_and_parsed_back():
    text = write_plan((CIRCLE, CROSS))
    assert text == ("<think> I plan two objects: a red circle northwest, an orange cross southeast. </think>")
    assert parse_plan(text) == [CIRCLE, CROSS]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<think> I plan no objects. </think>",
        write_plan((CIRCLE, CROSS)).replace("two", "three"),
        write_plan((CIRCLE, CROSS)).replace("red", "pink"),
        write_plan((CIRCLE, CROSS)).replace("</think>", ""),
        write_plan((CIRCLE, CROSS)).replace("circle northwest", "circle"),
    ],
)
def test_an_incomplete_plan_is_not_parsed(text):
    assert parse_plan(text) is None


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault("missing", CIRCLE), "The red circle northwest is missing."),
        (Fault("miscoloured", CIRCLE, "blue"), "The circle northwest is blue instead of red."),
        (Fault("misplaced", CIRCLE, "southwest"), "The red circle is southwest instead of northwest."),
    ],
)
def test_a_reflection_names_its_fault(fault, sentence):
    text = write_reflection((CIRCLE, CROSS), fault)
    assert sentence in text.split(HEADINGS[0])[0]
    assert has_four_parts(text)
    assert parse_faults(text) == [fault]


def test_a_reflection_without_fault_says_so():
    text = write_reflection((CIRCLE,), None)
    assert "Nothing is missing." in text
    assert has_four_parts(text)
    assert parse_faults(text) == []


@pytest.mark.parametrize(
    "removed", ["<think>", "</think>", *HEADINGS, "Edges must be sharp, colours vivid, outlines dark."]
)
def test_a_reflection_without_all_four_parts_is_not_parsed(removed):
    broken = MISSING.replace(removed, "")
    assert not has_four_parts(broken)
    assert parse_faults(broken) is None


def test_every_heading_must_appear_exactly_once_and_in_order():
    assert not has_four_parts(MISSING.replace(HEADINGS[1], HEADINGS[0]))
    assert not has_four_parts(MISSING.replace(HEADINGS[2], f"{HEADINGS[1]}\nAgain.\n{HEADINGS[2]}"))


def test_an_opening_that_names_no_fault_is_not_taken_for_faultless():
    assert parse_faults(MISSING.replace("The red circle northwest is missing.", "It looks odd.")) is None


def test_every_record_is_parsed_back():
    faults = collections.Counter()
    for index in range(300):
        record = make_trajectory(2, "train", index)
        objects = list(Scene.from_json(record.scene).objects)
        assert parse_plan(record.thinking1) == objects
        assert has_four_parts(record.thinking2)
        faults.update(fault.kind for fault in parse_faults(record.thinking2))
    assert 0.5 < sum(faults.values()) / 300 < 0.7
    assert set(faults) == set(FAULT_KINDS)


def test_thinkings_are_short_and_never_mention_the_improved_image():
    for index in range(300):
        record = make_trajectory(4, "train", index)
        objects = len(Scene.from_json(record.scene).objects)
        text = record.thinking2
        for mark in (*HEADINGS, "<think>", "</think>"):
            text = text.replace(mark, "")
        assert len(record.thinking1.split()) <= 8 + 7 * objects
        assert len(text.split()) <= 41 + 7 * objects
        assert "improved" not in text.lower()
