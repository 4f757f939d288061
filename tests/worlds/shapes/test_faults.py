"""Faults: planted as often as the world says, and found by comparison of a picture with its plan."""

import collections

import pytest

from irg_jax.worlds.shapes.faults import FAULT_KINDS, FAULTS_PERCENT, Fault, compare
from irg_jax.worlds.shapes.objects import PlacedObject, centres
from irg_jax.worlds.shapes.picture import FLAWS
from tests.worlds.shapes.drawing import draw

RED, BLUE = PlacedObject("red", "circle", "northwest"), PlacedObject("blue", "square", "southeast")
RED_TOO = PlacedObject("red", "circle", "northeast")
GREEN = PlacedObject("green", "cross", "southwest")


def at(thing, **changes):
    return PlacedObject(**(vars(thing) | changes))


@pytest.mark.parametrize(
    ("planned", "seen", "faults"),
    [
        ((RED, BLUE), (BLUE, RED), ()),
        ((RED, BLUE), (BLUE,), (Fault("missing", RED),)),
        ((RED, RED_TOO), (RED,), (Fault("too few", RED_TOO),)),
        ((RED,), (RED, GREEN), (Fault("extra", None, GREEN),)),
        ((RED,), (RED, RED_TOO), (Fault("too many", None, RED_TOO),)),
        ((RED,), (at(RED, colour="blue"),), (Fault("miscoloured", RED, at(RED, colour="blue")),)),
        ((RED,), (at(RED, shape="cross"),), (Fault("misshapen", RED, at(RED, shape="cross")),)),
        ((RED,), (at(GREEN, place="northwest"),), (Fault("replaced", RED, at(GREEN, place="northwest")),)),
        ((RED,), (RED_TOO,), (Fault("misplaced", RED, RED_TOO),)),
        ((RED,), (), (Fault("missing", RED),)),
        ((RED, BLUE), (RED_TOO, GREEN), (Fault("misplaced", RED, RED_TOO), Fault("missing", BLUE),
                                         Fault("extra", None, GREEN))),
    ],
)  # fmt: skip
def test_a_picture_is_compared_with_its_plan(planned, seen, faults):
    assert compare(planned, seen) == faults
    assert compare(planned, seen, ("noisy", "blurred")) == (*faults, Fault("blurred"), Fault("noisy"))


def test_a_stray_object_explains_one_missing_object_only():
    south = at(RED, place="southwest")
    assert compare((RED, RED_TOO), (south,)) == (Fault("misplaced", RED, south), Fault("too few", RED_TOO))


def test_only_flaws_are_of_the_execution():
    assert [kind for kind in FAULT_KINDS if Fault(kind).is_flaw] == list(FLAWS)


def faults_of(drawn):
    return compare(drawn.scene.objects, drawn.weak.objects, drawn.weak.flaws)


@pytest.mark.parametrize("size", [32, 64])
def test_the_number_of_faults_follows_its_percentages_and_every_kind_occurs(size):
    numbers, kinds = collections.Counter(), collections.Counter()
    for drawn in draw(2000, seed=3, size=size):
        faults = faults_of(drawn)
        numbers[len(faults)] += 1
        kinds.update(fault.kind for fault in faults)
    # Three standard deviations of the largest share, in 2,000 draws, are 3.2 percent.
    assert [100 * numbers[number] / 2000 for number in range(4)] == pytest.approx(FAULTS_PERCENT, abs=3.2)
    assert sum(numbers.values()) == sum(numbers[number] for number in range(4)), "never more than three"
    assert set(kinds) == set(FAULT_KINDS)
    assert min(kinds.values()) > 10
    flaws = sum(kinds[kind] for kind in FLAWS) / sum(kinds.values())
    assert 0.45 < flaws < 0.6, "half of them are of the execution; a few more, where nothing can be changed"


def test_pictures_are_possible():
    for scene, weak, _ in draw(600, seed=4):
        places = [thing.place for thing in weak.objects]
        assert places == [place for place in centres(32) if place in places], "in reading order, one in each place"
        assert weak.drawings, "one object stays"
        assert weak.flaws == tuple(flaw for flaw in FLAWS if flaw in weak.flaws)
        assert not {"blurred", "ragged"} <= set(weak.flaws)
        assert {thing.place for thing in scene.objects} <= set(centres(32))


def test_the_improved_picture_has_no_faults_and_keeps_what_was_right():
    for scene, weak, improved in draw(600, seed=5):
        assert compare(scene.objects, improved.objects, improved.flaws) == ()
        assert improved.background == weak.background
        before = {drawing.thing: drawing for drawing in weak.drawings}
        for drawing in improved.drawings:
            assert before.get(drawing.thing, drawing) == drawing, "what was as planned stays as it was"


def test_what_is_wrong_keeps_what_can_be_kept():
    moved = 0
    for drawn in draw(300, seed=6):
        old = {drawing.thing.place: drawing for drawing in drawn.weak.drawings}
        new = {drawing.thing.place: drawing for drawing in drawn.good.drawings}
        for fault in faults_of(drawn):
            if fault.planned is None or fault.seen is None:
                continue
            before, after = old[fault.seen.place], new[fault.planned.place]
            assert (after.size, after.offset) == (before.size, before.offset)
            assert after.tilt == (0 if fault.planned.shape == "circle" else before.tilt)
            moved += fault.kind == "misplaced"
    assert moved > 10
