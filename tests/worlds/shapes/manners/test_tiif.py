"""TIIF-Bench's manner: one scene in two lengths."""

from irg_jax.benchmarks.tiif.attributes import ATTRIBUTES
from irg_jax.worlds.shapes.manners import kinds_of
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, plural
from tests.worlds.shapes.manners.drawing import satisfies, scene_of, scenes


def test_kinds_are_attributes_of_the_benchmark():
    assert set(kinds_of("tiif")) <= set(ATTRIBUTES)


def test_a_short_and_a_long_prompt_ask_for_the_same():
    for scene in scenes("tiif", 300, 48):
        short, long = scene.prompts
        assert len(long.split()) >= len(short.split()) + 10
        named = [set(), set()]
        for names, prompt in zip(named, scene.prompts, strict=True):
            words = prompt.lower().replace(",", " ").replace(".", " ").replace(";", " ").split()
            names |= {word for word in words if word in {*COLOURS, *SHAPES, *map(plural, SHAPES)}}
        assert named[0] == named[1]


def test_a_negated_relation_must_not_be_shown():
    for seed in range(12):
        scene = scene_of("tiif", "negation+2d", seed=seed)
        first, second = scene.objects
        check = next(check for check in scene.checks if not check.expected)
        relation = check.question.partition(f"{first.shape} ")[2].rpartition(" the ")[0]
        west, south = {"left of": (0, 0), "right of": (1, 0), "above": (0, 0), "below": (0, 1)}[relation]
        places = {(0, 0): "northwest", (1, 0): "northeast", (0, 1): "southwest", (1, 1): "southeast"}
        across = relation in ("left of", "right of")
        at = places[west, south]
        opposite = places[1 - west, south] if across else places[west, 1 - south]
        shown = [type(first)(first.colour, first.shape, at), type(second)(second.colour, second.shape, opposite)]
        assert not satisfies(scene, shown)
        assert satisfies(scene, scene.objects)
