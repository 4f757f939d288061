"""GenEval's decision: the cases that the official script has decided, and each rule by itself."""

import pytest

from irg_jax.benchmarks.geneval.classes import COLORS
from irg_jax.benchmarks.geneval.decision import (
    Object,
    decide,
    keep_objects,
    overlap,
    relative_position,
    stated_colors,
)
from irg_jax.core.errors import UserError
from tests.benchmarks import official


def box(left=0, top=0, size=100):
    return (left, top, left + size, top + size)


def objects(*boxes, score=0.95, color=""):
    return [Object(one, score, color) for one in boxes]


def entry(*clauses, exclude=()):
    return {"tag": "any", "include": list(clauses), "exclude": list(exclude), "prompt": "any"}


def clause(name, count=1, **more):
    return {"class": name, "count": count, **more}


def reasons(found, wanted):
    return decide(found, wanted, stated_colors).reasons


def test_relations_of_the_official_script():
    for case in official.load("geneval/golden_decisions.json")["relative_position"]:
        assert relative_position(case["a"], case["b"]) == set(case["relations"]), case


def test_decisions_of_the_official_script():
    def colors(found, name):
        return [COLORS[int(one.box[0]) % 10] for one in found]

    cases = official.load("geneval/golden_decisions.json")["decisions"]
    assert len(cases) == 240
    for case in cases:
        detected = {
            name: [Object(tuple(values[:4]), values[4]) for values in ones] for name, ones in case["detections"].items()
        }
        kept = keep_objects(detected, case["metadata"]["tag"])
        assert {name: [[*one.box, one.score] for one in ones] for name, ones in kept.items()} == case["kept"], case
        decision = decide(kept, case["metadata"], colors)
        assert (decision.correct, len(decision.reasons)) == (case["correct"], case["n_reasons"]), case


@pytest.mark.parametrize(
    ("tag", "scores", "kept"),
    [
        ("colors", [0.3, 0.31, 0.9], [0.9, 0.31]),
        ("counting", [0.9, 0.91, 0.3], [0.91]),
        ("colors", [0.1], None),
        ("colors", [0.5 + i / 100 for i in range(20)], [0.5 + i / 100 for i in reversed(range(4, 20))]),
    ],
)
def test_which_objects_count(tag, scores, kept):
    found = keep_objects({"cat": [Object(box(), score) for score in scores]}, tag)
    assert [one.score for one in found.get("cat", ())] == (kept or [])
    assert ("cat" in found) == (kept is not None)


def test_of_equal_scores_the_later_object_is_first():
    found = keep_objects({"cat": objects(box(1), box(2), box(3))}, "colors")
    assert [one.box[0] for one in found["cat"]] == [3, 2, 1]


def test_overlapping_objects_are_left_out_only_if_asked():
    detected = {"cat": [Object(box(0), 0.9), Object(box(2), 0.8), Object(box(300), 0.7)]}
    assert [len(keep_objects(detected, "any", limit)["cat"]) for limit in (1.0, 0.9)] == [3, 2]


def test_overlap_counts_both_edges():
    assert overlap(box(size=9), box(size=9)) == 1
    assert overlap((0, 0, 9, 9), (5, 0, 14, 9)) == pytest.approx(50 / 150)
    assert overlap((0, 0, 9, 9), (10, 0, 19, 9)) == 0
    assert overlap((5, 5, 0, 0), (5, 5, 0, 0)) == 0


@pytest.mark.parametrize(
    ("a", "relations"),
    [
        (box(300, 0), {"right of"}),
        (box(-300, 0), {"left of"}),
        (box(0, -300), {"above"}),
        (box(300, 300), {"below", "right of"}),
        (box(300, 150), {"right of"}),
        (box(0, 0), set()),
        (box(20, 0), set()),
        (box(21, 0), set()),  # far enough, but only a little
        (box(50, 0), {"right of"}),
    ],
)
def test_relative_position(a, relations):
    assert relative_position(a, box()) == relations


def test_too_few_and_too_many_objects():
    wanted = entry(clause("dog", 2), exclude=[clause("dog", 3)])
    for count, expected in [(1, ("expected dog>=2, found 1",)), (2, ()), (3, ("expected dog<3, found 3",))]:
        assert reasons({"dog": objects(*[box()] * count)}, wanted) == expected


def test_colors_are_those_of_the_best_objects():
    wanted = entry(clause("car", 1, color="red"))
    red, blue = objects(box(), color="red"), objects(box(), color="blue")
    assert reasons({"car": red + blue}, wanted) == ()
    assert reasons({"car": blue + red}, wanted) == ("expected red car>=1, found 0 red; and 1 blue",)


def test_colors_are_not_asked_where_objects_are_missing():
    def never(found, name):
        raise AssertionError

    assert decide({}, entry(clause("car", 1, color="red")), never).reasons == ("expected car>=1, found 0",)


def test_a_position_needs_its_target():
    wanted = entry(clause("tie", color="red"), clause("cup", position=["above", 0]))
    tie = objects(box(0, 300), color="blue")
    assert reasons({"tie": tie, "cup": objects(box())}, wanted) == (
        "expected red tie>=1, found 0 red; and 1 blue",
        "no target for cup to be above",
    )


def test_every_object_stands_so_to_every_target():
    wanted = entry(clause("tie", 2), clause("cup", 1, position=["above", 0]))
    cup = objects(box(0, 300))
    assert reasons({"tie": objects(box(0, 600), box(0, 900)), "cup": cup}, wanted) == ()
    assert reasons({"tie": objects(box(0, 600), box(0, 0)), "cup": cup}, wanted) == (
        "expected cup above target, found below target",
    )


def test_a_color_that_is_not_there():
    with pytest.raises(UserError, match="the car at .* has no color"):
        decide({"car": objects(box())}, entry(clause("car", color="red")), stated_colors)


def test_a_position_of_no_clause():
    with pytest.raises(UserError, match="names no clause before it"):
        decide({"cup": objects(box())}, entry(clause("cup", position=["above", 0])), stated_colors)
