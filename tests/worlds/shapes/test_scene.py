"""Which JSON is a scene."""

import json

import pytest

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.scene import Check, Scene, Wanted

CIRCLE = PlacedObject("red", "circle", "northwest")
ASKED = Scene("colors", (Wanted("circle", "red"),), None, (CIRCLE,))
CHECKED = Scene(
    "text",
    objects=(CIRCLE,),
    manner="oneig",
    checks=(Check("Is there a circle?"), Check("Is there a square?", False)),
    prompts=('a red circle and the word "OX"',),
    word="OX",
    style="flat",
)


@pytest.mark.parametrize("scene", [ASKED, CHECKED])
def test_a_scene_is_read_back_and_its_json_leaves_out_what_is_not_used(scene):
    assert Scene.from_json(scene.to_json()) == scene
    assert ("checks" in json.loads(scene.to_json())) == bool(scene.checks)
    assert ("wanted" in json.loads(scene.to_json())) == bool(scene.wanted)


@pytest.mark.parametrize(
    ("scene", "change", "message"),
    [
        (ASKED, {"kind": "colour"}, "scene.kind"),
        (ASKED, {"wanted": []}, "takes 1 entries"),
        (ASKED, {"relation": "above"}, "takes null"),
        (ASKED, {"objects": []}, "does not follow"),
        (ASKED, {"word": "OX"}, "no checks, prompts, word"),
        (ASKED, {"mood": "calm"}, "mood"),
        (CHECKED, {"objects": [vars(CIRCLE), vars(CIRCLE)]}, "share a place"),
        (CHECKED, {"manner": "poem"}, "scene.manner"),
        (CHECKED, {"style": "baroque"}, "scene.style"),
        (CHECKED, {"word": 5}, "scene.word"),
        (CHECKED, {"checks": []}, "takes checks and prompts"),
        (CHECKED, {"checks": [{"question": "Is it?"}]}, "question, expected"),
        (CHECKED, {"checks": [{"question": "Is it?", "expected": "yes"}]}, "true or false"),
        (CHECKED, {"prompts": [""]}, "is not a prompt"),
        (CHECKED, {"wanted": [{"shape": "circle", "colour": None, "count": 1}]}, "neither wanted"),
    ],
)
def test_what_is_wrong_is_named(scene, change, message):
    with pytest.raises(UserError, match=message):
        Scene.from_json(json.dumps(json.loads(scene.to_json()) | change))


def test_a_text_that_is_no_json_is_no_scene():
    with pytest.raises(UserError, match="not JSON"):
        Scene.from_json("a red circle")
