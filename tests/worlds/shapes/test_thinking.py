"""The thinkings: true to plan and picture, the evidence before the verdict, and parsed back into what was written."""

import dataclasses
import re

import pytest

from irg_jax.worlds.shapes.faults import FAULT_KINDS, Fault, compare
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject, centres
from irg_jax.worlds.shapes.picture import Content
from irg_jax.worlds.shapes.thinking import (
    HEADINGS,
    NO_FAULT,
    has_four_parts,
    parse_plan,
    parse_reflection,
    said,
    write_fault,
    write_plan,
    write_reflection,
    write_remedy,
)
from tests.worlds.shapes.drawing import draw, plan

PLACES = tuple(centres(32))
CIRCLE = PlacedObject("red", "circle", "northwest")
CROSS = PlacedObject("orange", "cross", "southeast")
SEEN = PlacedObject("blue", "circle", "northwest")
STRAY = PlacedObject("green", "square", "southwest")
TEXT = write_reflection(plan(CIRCLE, CROSS), Content((SEEN, STRAY), ("blurred", "noisy")), PLACES)


def test_a_plan_is_written_and_parsed_back():
    text = write_plan(plan(CIRCLE, CROSS))
    assert text == "<think> I plan two objects: a red circle northwest, an orange cross southeast. </think>"
    assert parse_plan(text) == Content((CIRCLE, CROSS))


@pytest.mark.parametrize(
    ("word", "style", "end"),
    [
        ("CAT", "outlined", "; the word C A T"),
        ("", "flat", "; flat"),
        ("CAT", "striped", "; the word C A T, striped"),
        ("X", "outlined", "; the word X"),
    ],
)
def test_a_plan_ends_with_its_word_and_its_style(word, style, end):
    scene = dataclasses.replace(plan(CIRCLE), word=word, style=style)
    assert write_plan(scene) == f"<think> I plan one object: a red circle northwest{end}. </think>"
    assert parse_plan(write_plan(scene)) == scene.plan
    assert parse_plan(write_plan(scene).replace(end, f"{end}, odd")) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<think> I plan no objects. </think>",
        write_plan(plan(CIRCLE, CROSS)).replace("two", "three"),
        write_plan(plan(CIRCLE, CROSS)).replace("red", "pink"),
        write_plan(plan(CIRCLE, CROSS)).replace("</think>", ""),
        write_plan(plan(CIRCLE, CROSS)).replace("circle northwest", "circle"),
    ],
)
def test_an_incomplete_plan_is_not_parsed(text):
    assert parse_plan(text) is None


def test_a_reflection_says_what_is_seen_then_what_was_planned_then_what_is_wrong():
    assert TEXT == (
        "<think> Seen: northwest blue circle, northeast nothing, southwest green square, southeast nothing; "
        "outlined, blurred, vivid, noisy. "
        "Planned: red circle northwest, blue for red wrong, circle for circle right; "
        "orange cross southeast, nothing for orange wrong, nothing for cross wrong. "
        "Elsewhere: northeast nothing right, southwest green square wrong. "
        "The circle northwest is blue instead of red. The orange cross southeast is missing. "
        "The green square southwest is extra. The edges are blurred. The background is noisy.\n"
        "### Detailed Explanation of Required Improvements:\n"
        "Keep all that is right as it is.\n"
        "### Step-by-Step Modification Guidance:\n"
        "1. Paint the circle northwest red. 2. Add an orange cross southeast. 3. Remove the green square southwest. "
        "4. Sharpen the edges. 5. Clean the background.\n"
        "### Final Comprehensive Prompt for the Improved Image:\n"
        "A red circle northwest, an orange cross southeast. </think>"
    )


def test_a_reflection_without_fault_says_so():
    text = write_reflection(plan(CIRCLE), Content((CIRCLE,)), PLACES)
    assert NO_FAULT in text and "1. Keep it." in text
    assert parse_reflection(text).faults == frozenset()


ONE_OF_EACH = [
    (Fault("missing", CIRCLE), "The red circle northwest is missing.", "Add a red circle northwest."),
    (Fault("extra", None, STRAY), "The green square southwest is extra.", "Remove the green square southwest."),
    (Fault("miscoloured", CIRCLE, SEEN), "The circle northwest is blue instead of red.",
     "Paint the circle northwest red."),
    (Fault("misshapen", CIRCLE, PlacedObject("red", "cross", "northwest")),
     "The red cross northwest should be a circle.", "Turn the red cross northwest into a red circle."),
    (Fault("replaced", CROSS, PlacedObject("red", "circle", "southeast")),
     "The red circle southeast should be an orange cross.", "Turn the red circle southeast into an orange cross."),
    (Fault("misplaced", CIRCLE, PlacedObject("red", "circle", "southwest")),
     "The red circle is southwest instead of northwest.", "Move the red circle northwest."),
    (Fault("too few", CIRCLE), "The red circle northwest is missing.", "Add a red circle northwest."),
    (Fault("too many", None, CIRCLE), "The red circle northwest is extra.", "Remove the red circle northwest."),
    (Fault("wrong word", "CAT", "CUT"), "The word is C U T instead of C A T.", "Write the word C A T."),
    (Fault("wrong style", "flat", "striped"), "The objects are striped instead of flat.", "Make the objects flat."),
    (Fault("no outlines"), "The outlines are missing.", "Draw dark outlines."),
    (Fault("blurred"), "The edges are blurred.", "Sharpen the edges."),
    (Fault("ragged"), "The edges are ragged.", "Smooth the edges."),
    (Fault("faded"), "The colours are faded.", "Strengthen the colours."),
    (Fault("noisy"), "The background is noisy.", "Clean the background."),
]  # fmt: skip


def test_every_fault_has_a_sentence_and_a_remedy():
    assert [fault.kind for fault, _, _ in ONE_OF_EACH] == list(FAULT_KINDS)
    for fault, sentence, remedy in ONE_OF_EACH:
        assert (write_fault(fault), write_remedy(fault)) == (sentence, remedy)
        changed = parse_reflection(TEXT.replace("The circle northwest is blue instead of red.", sentence))
        assert fault.named in changed.faults


@pytest.mark.parametrize(
    ("fault", "sentence", "remedy"),
    [
        (Fault("wrong word", "CAT", None), "The word C A T is missing.", "Write the word C A T."),
        (Fault("wrong word", None, "CUT"), "The word C U T is extra.", "Remove the word C U T."),
    ],
)
def test_a_word_may_be_missing_or_extra(fault, sentence, remedy):
    assert (write_fault(fault), write_remedy(fault)) == (sentence, remedy)
    assert fault in parse_reflection(TEXT.replace("The edges are blurred.", sentence)).faults


def test_word_and_style_are_weighed_like_objects():
    scene = dataclasses.replace(plan(CIRCLE), word="CAT", style="striped")
    text = write_reflection(scene, Content((CIRCLE,), (), "CUT", "outlined"), PLACES)
    assert "; the word C U T, outlined, sharp, vivid, even. Planned:" in text
    assert "; the word C A T, C for C right, U for A wrong, T for T right; striped," in text
    assert "; striped, outlined for striped wrong. Elsewhere:" in text
    assert "The word is C U T instead of C A T. The objects are outlined instead of striped.\n" in text
    bare = write_reflection(scene, Content((CIRCLE,), ("no outlines",), "CAT", "striped"), PLACES)
    assert "C for C right, A for A right, T for T right; striped, bare for striped wrong." in bare
    assert parse_reflection(bare).faults == {Fault("no outlines")}


@pytest.mark.parametrize(
    ("seen", "evidence"),
    [
        ("A", "A for O wrong, nothing for X wrong"),
        ("OXO", "O for O right, X for X right, O for nothing wrong"),
        ("", "nothing for O wrong, nothing for X wrong"),
    ],
)
def test_letters_that_are_not_there_are_weighed_too(seen, evidence):
    scene = dataclasses.replace(plan(CIRCLE), word="OX")
    text = write_reflection(scene, Content((CIRCLE,), (), seen), PLACES)
    assert f"; the word O X, {evidence}. Elsewhere:" in text
    assert parse_reflection(text).faults == {Fault("wrong word", "OX", seen or None)}


@pytest.mark.parametrize("removed", ["<think>", "</think>", *HEADINGS, "Keep all that is right as it is."])
def test_a_reflection_without_all_four_parts_is_not_parsed(removed):
    assert not has_four_parts(TEXT.replace(removed, ""))
    assert parse_reflection(TEXT.replace(removed, "")) is None


def test_every_heading_must_appear_exactly_once_and_in_order():
    assert has_four_parts(TEXT)
    assert not has_four_parts(TEXT.replace(HEADINGS[1], HEADINGS[0]))
    assert not has_four_parts(TEXT.replace(HEADINGS[2], f"{HEADINGS[1]}\nAgain.\n{HEADINGS[2]}"))


def test_an_opening_that_names_no_fault_is_not_taken_for_faultless():
    right = write_reflection(plan(CIRCLE), Content((CIRCLE,)), PLACES)
    assert parse_reflection(right.replace(NO_FAULT, "It looks odd.")).faults is None


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("Seen:", "It shows:", None),
        ("northeast nothing", "northeast a hat", None),
        ("outlined, blurred", "lovely, blurred", None),
        ("outlined, blurred, vivid, noisy", "bare, ragged, faded, even",
         Content((SEEN, STRAY), ("no outlines", "ragged", "faded"))),
        ("outlined, blurred, vivid, noisy", "the word C A T, flat, sharp, vivid, even",
         Content((SEEN, STRAY), (), "CAT", "flat")),
    ],
)  # fmt: skip
def test_what_is_seen_is_read_where_it_is_said_in_the_fixed_form(old, new, seen):
    assert parse_reflection(TEXT.replace(old, new)).seen == seen


@pytest.mark.parametrize("size", [32, 64])
def test_a_random_reflection_is_parsed_back_into_what_it_was_written_from(size):
    for scene, weak, _ in draw(500, seed=2, size=size):
        assert parse_plan(write_plan(scene)) == scene.plan
        parsed = parse_reflection(write_reflection(scene, weak.content, tuple(centres(size))))
        assert parsed.seen == said(weak.content)
        assert parsed.faults == {fault.named for fault in compare(scene.plan, weak.content)}


SEEN_AT = re.compile(r"(\w+) (?:nothing|(\w+) (\w+))")
CHECK = re.compile(r"(\w+) (\w+) (\w+), (\w+) for (\w+) (right|wrong), (\w+) for (\w+) (right|wrong)")


def opening_of(drawn, places=PLACES):
    text = write_reflection(drawn.scene, drawn.weak.content, places)
    return text.split(HEADINGS[0])[0]


def test_what_is_seen_comes_before_any_planned_word():
    """Of two scenes with the same picture, the reflections are the same up to the plan."""
    drawn = list(draw(40, seed=3))
    for one, other in zip(drawn, drawn[1:], strict=False):
        swapped = one._replace(scene=other.scene)
        start, end = (opening_of(each).partition(" Planned: ") for each in (one, swapped))
        assert start[0] == end[0]
        listed = start[0].removeprefix("<think> Seen: ").partition("; ")[0].split(", ")
        assert [item.split()[0] for item in listed] == list(PLACES)


def test_every_verdict_follows_from_the_words_before_it():
    """Reads a reflection as the model does, from left to right: each statement is true of what is listed before it."""
    for drawn in draw(300, seed=4):
        before, _, after = opening_of(drawn).partition(" Planned: ")
        checks, _, rest = after.partition(". ")
        seen = {
            place: (colour, shape) if colour else None
            for place, colour, shape in SEEN_AT.findall(before.partition("; ")[0].removeprefix("<think> Seen: "))
        }
        planned = {}
        for colour, shape, place, *words in (CHECK.fullmatch(check).groups() for check in checks.split("; ")):
            planned[place] = (colour, shape)
            there = seen[place] or ("nothing", "nothing")
            for own, (saw, wanted, verdict) in zip(planned[place], (words[:3], words[3:]), strict=True):
                assert (saw, wanted) == (there[own == shape], own)
                assert verdict == ("right" if saw == wanted else "wrong")
        elsewhere = rest.removeprefix("Elsewhere: ").partition(". ")[0] if "Elsewhere" in rest else ""
        for item in filter(None, elsewhere.split(", ")):
            place, *words, verdict = item.split()
            assert place not in planned and words == list(seen[place] or ("nothing",))
            assert (verdict == "right") == (seen[place] is None)
        assert set(planned) | {item.split()[0] for item in filter(None, elsewhere.split(", "))} == set(PLACES)
        # The sentences are those of the comparison, which needs nothing else than these words.
        objects = tuple(PlacedObject(*look, place) for place, look in planned.items())
        there = tuple(PlacedObject(*look, place) for place, look in seen.items() if look)
        parsed = parse_reflection(write_reflection(drawn.scene, drawn.weak.content, PLACES))
        found = compare(Content(objects), Content(there, parsed.seen.flaws))
        assert parsed.faults == {fault.named for fault in found}


def test_thinkings_are_short_and_never_mention_the_improved_image():
    for drawn in draw(300, seed=4):
        text = write_reflection(drawn.scene, drawn.weak.content, PLACES)
        for mark in (*HEADINGS, "<think>", "</think>"):
            text = text.replace(mark, "")
        assert len(text.split()) <= 160
        assert "improved" not in text.lower()


def test_words_are_of_the_vocabulary_alone():
    words = {word for drawn in draw(60, seed=8) for word in re.findall(r"[a-z]+", opening_of(drawn).lower())}
    assert {*COLOURS, *SHAPES, *PLACES} <= words
    assert len(words) < 80
