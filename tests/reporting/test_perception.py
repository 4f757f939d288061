"""How true thinking 2 is of a picture: judged for pictures whose faults are known, and counted."""

import dataclasses
import json

import numpy as np
import pytest

from irg_jax.reporting import perception_table
from irg_jax.reporting.perception import Reading, from_record, judge, summarise, to_record
from irg_jax.worlds.shapes.faults import Fault, compare, draw_weak
from irg_jax.worlds.shapes.objects import PlacedObject, centres
from irg_jax.worlds.shapes.picture import Content, Drawing, Picture
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.thinking import write_reflection
from tests.worlds.shapes.drawing import plan

CIRCLE = PlacedObject("red", "circle", "northwest")
CROSS = PlacedObject("blue", "cross", "southeast")
GREEN = PlacedObject("green", "circle", "northwest")
PLACES = tuple(centres(32))
BOTH = Content((CIRCLE, CROSS))
MISSING, MISCOLOURED = Fault("missing", CROSS), Fault("miscoloured", CIRCLE, GREEN)
EXTRA, BLURRED = Fault("extra", None, CROSS), Fault("blurred")


def read(*shown, flaws=()):
    return read_picture(render(Picture(tuple(map(Drawing, shown)), flaws=flaws)))


def reflect(planned, shown, flaws=()):
    return write_reflection(plan(*planned.things), Content(tuple(shown), flaws), PLACES)


def reading(faults=(), named=(), seen=True):
    return Reading(seen, tuple(faults), None if named is None else frozenset(named))


@pytest.mark.parametrize(
    ("shown", "flaws", "faults"),
    [
        ([CIRCLE, CROSS], (), ()),
        ([GREEN, CROSS], (), (MISCOLOURED,)),
        ([CIRCLE], ("blurred",), (MISSING, BLURRED)),
        ([GREEN, CROSS], ("faded", "noisy"), (MISCOLOURED, Fault("faded"), Fault("noisy"))),
    ],
)
def test_a_true_reflection_sees_and_names_all_of_a_picture(shown, flaws, faults):
    picture, planned = read(*shown, flaws=flaws), BOTH
    judged = judge(picture, planned, reflect(planned, shown, flaws))
    assert judged == reading(faults, faults) and judged.exact
    false = judge(picture, planned, reflect(planned, [CROSS], ("ragged",)))
    assert not false.seen and not false.exact and false.faults == faults


def test_a_flat_picture_needs_no_outlines():
    picture, scene = read_picture(render(Picture((Drawing(CIRCLE),), style="flat"))), plan(CIRCLE)
    text = write_reflection(dataclasses.replace(scene, style="flat"), Content((CIRCLE,), style="flat"), PLACES)
    as_planned, as_outlined = (judge(picture, Content((CIRCLE,), style=style), text) for style in ("flat", "outlined"))
    assert as_planned.seen and as_planned.exact
    assert not as_outlined.seen and as_outlined.faults == (Fault("no outlines"),) and not as_outlined.exact


def test_words_are_judged_too():
    picture = read_picture(render(Picture((Drawing(CIRCLE),), word="CUT")))
    scene = dataclasses.replace(plan(CIRCLE), word="CAT")
    for word, right in (("CUT", True), ("CAT", False)):
        judged = judge(picture, scene.plan, write_reflection(scene, Content((CIRCLE,), word=word), PLACES))
        assert (judged.seen, judged.exact) == (right, right)
        assert judged.faults == (Fault("wrong word", "CAT", "CUT"),)
        assert from_record(json.loads(json.dumps(to_record(judged)))) == judged


def test_what_is_seen_and_what_is_named_are_judged_apart():
    picture, planned = read(GREEN, CROSS), BOTH
    text = reflect(planned, [GREEN, CROSS])
    sentence = "The circle northwest is green instead of red."
    assert sentence in text
    wrong = judge(picture, planned, text.replace(sentence, "Nothing is wrong."))
    assert wrong.seen and wrong.named == frozenset() and not wrong.exact
    silent = judge(picture, planned, text.replace(sentence, ""))
    assert silent.seen and silent.named is None and not silent.exact
    blind = judge(picture, planned, text.replace("Seen: northwest green", "Seen: northwest red"))
    assert not blind.seen and blind.exact


def test_a_text_in_another_form_says_nothing_and_without_a_plan_nothing_is_compared():
    picture = read(CIRCLE)
    assert judge(picture, Content((CIRCLE,)), "a red circle") == reading((), None, seen=False)
    unplanned = judge(picture, None, reflect(Content((CIRCLE,)), [CIRCLE]))
    assert unplanned.seen and unplanned.faults is None and not unplanned.exact


def test_always_accusing_and_always_acquitting_are_balanced_at_half():
    pictures = [(MISSING,)] * 6 + [()] * 2
    accusing = summarise([reading(faults, [MISSING]) for faults in pictures])
    acquitting = summarise([reading(faults, []) for faults in pictures])
    looking = summarise([reading(faults, faults) for faults in pictures])
    for figures, faulty, faultless, balanced in ((accusing, 6, 0, 0.5), (acquitting, 0, 2, 0.5), (looking, 6, 2, 1.0)):
        assert (figures["faulty"]["correct"], figures["faulty"]["count"]) == (faulty, 6)
        assert (figures["faultless"]["correct"], figures["faultless"]["count"]) == (faultless, 2)
        assert figures["balanced"] == balanced


def test_figures_by_kind_are_recalls_and_by_count_are_exact():
    figures = summarise(
        [
            reading([MISSING, BLURRED], [MISSING]),
            reading([MISSING], []),
            reading([MISCOLOURED, EXTRA, BLURRED], [MISCOLOURED, EXTRA, BLURRED]),
            reading([MISSING], [MISSING, EXTRA], seen=False),
            reading([], None, seen=False),
            Reading(True, None, frozenset()),  # has no plan
        ]
    )
    kinds = {kind: (share["correct"], share["count"]) for kind, share in figures["by_kind"].items()}
    assert kinds == {"missing": (2, 3), "extra": (1, 1), "miscoloured": (1, 1), "blurred": (1, 2)}
    counts = {count: (share["correct"], share["count"]) for count, share in figures["by_count"].items()}
    assert counts == {"0": (0, 1), "1": (0, 2), "2": (0, 1), "3 or more": (1, 1)}
    assert (figures["seen"]["correct"], figures["seen"]["count"]) == (4, 6)
    assert (figures["several"]["correct"], figures["several"]["count"]) == (2, 5)
    assert (figures["unplanned"]["correct"], figures["unplanned"]["count"]) == (1, 5)


def test_without_faulty_or_faultless_pictures_there_is_no_balance():
    assert summarise([reading([MISSING], [MISSING])])["balanced"] is None
    assert summarise([])["seen"]["share"] is None


def test_records_are_json_and_come_back():
    for some in (reading([MISCOLOURED, BLURRED], [EXTRA, BLURRED]), reading([], None), Reading(False, None, None)):
        assert from_record(json.loads(json.dumps(to_record(some)))) == some
    for broken in ({"faults": [], "named": []}, {"seen": True, "faults": [{"kind": "odd"}], "named": None}):
        with pytest.raises((KeyError, ValueError)):
            from_record(broken)


def test_the_table_has_given_pictures_beside_own_drafts():
    given = summarise([reading([MISSING], [MISSING])] * 3 + [reading()]) | {"step": 40}
    own = summarise([reading([BLURRED, EXTRA], [])])
    text = perception_table.section({"perception": given, "reflection": own, "scored": 1, "kept": 0.25})
    assert "of the checkpoint of step 40" in text and "<td>0.25</td>" in text
    rows = dict(row.split("</th>", 1) for row in text.split("<tr><th>")[1:])
    faulty = rows["names exactly the faults, where there are some"]
    assert "3 of 3" in faulty and "0 of 1" in faulty
    assert rows["names the fault “missing”"].endswith("<td>—</td></tr>")
    assert rows["names the fault “blurred”"].startswith("<td>—</td>")
    assert "1 of 1" in rows["pictures with two or more faults"]
    assert "3 of 3" in rows["names exactly the faults, 1 of them"]
    assert "0 of 1" in rows["names exactly the faults, 2 of them"]
    without = perception_table.section({"perception": None, "reflection": own, "scored": 1, "kept": None})
    assert "not measured" in without and "image 2 keeps" not in without
    assert perception_table.section({"perception": None, "reflection": summarise([]), "scored": 0, "kept": None}) == ""


def test_judging_agrees_with_the_comparison_that_writes_the_texts():
    """On weak pictures with everything that a plan leaves open drawn at random."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        weak = draw_weak(rng, BOTH, PLACES)
        judged = judge(read_picture(render(weak)), BOTH, "")
        assert judged.faults == compare(BOTH, weak.content)
