"""Prompts: short requests of GenEval's six kinds, each in several wordings, none of which names a place."""

import functools
import itertools
from collections.abc import Iterator, Mapping

from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, SHAPES, plural, with_article
from irg_jax.worlds.shapes.scene import RELATIONS, Scene, Wanted

# {a} and {b} are the wanted objects with their article; {one} and {other} the same behind "one".
WORDINGS = {
    "single_object": ("{a}", "a picture of {a}", "draw {a}", "show me {one}", "{a} on a plain background"),
    "two_object": (
        "{a} and {b}",
        "a picture of {a} and {b}",
        "draw {a} and {b}",
        "{one} together with {other}",
        "{a} along with {b}",
    ),
    "counting": ("{a}", "a picture of {a}", "draw exactly {a}", "show me {a}", "{a} on a plain background"),
    "colors": ("{a}", "a picture of {a}", "draw {a}", "show me {one}", "{a} on a plain background"),
    "position": (
        "{a} {relation} {b}",
        "a picture of {a} {relation} {b}",
        "draw {a} {relation} {b}",
        "{a} placed {relation} {b}",
    ),
    "color_attr": (
        "{a} and {b}",
        "a picture of {a} and {b}",
        "draw {a} and {b}",
        "{one} together with {other}",
        "{a} along with {b}",
    ),
}


def write_prompt(scene: Scene, wording: int) -> str:
    """The prompt of a scene in wording number ``wording``, an index into ``WORDINGS[scene.kind]``."""
    names = [f"{item.colour} {item.shape}" if item.colour else item.shape for item in scene.wanted]
    first, last = names[0], names[-1]
    return WORDINGS[scene.kind][wording].format(
        a=_counted(scene.wanted[0]) if scene.kind == "counting" else with_article(first),
        b=with_article(last),
        one=f"one {first}",
        other=f"one {last}",
        relation=scene.relation,
    )


def _counted(wanted: Wanted) -> str:
    return f"{NUMBERS[wanted.count]} {wanted.shape if wanted.count == 1 else plural(wanted.shape)}"


def parse_prompt(text: str) -> Scene | None:
    """What a prompt in one of the ``WORDINGS`` asks for, without a plan (``objects`` is ()); None for any other text.

    Case, spaces around it and a full stop at its end do not matter.
    """
    return _scenes().get(" ".join(text.lower().split()).removesuffix("."))


@functools.cache
def _scenes() -> Mapping[str, Scene]:
    """Every prompt of the world; the wordings are its grammar, so that what is written is read back."""
    scenes: dict[str, Scene] = {}
    for scene in _all_scenes():
        for wording in range(len(WORDINGS[scene.kind])):
            # "Show me one circle" belongs to two kinds, which ask for the same.
            scenes.setdefault(write_prompt(scene, wording), scene)
    return scenes


def _all_scenes() -> Iterator[Scene]:
    for shape in SHAPES:
        yield Scene("single_object", (Wanted(shape),), None, ())
        for colour in COLOURS:
            yield Scene("colors", (Wanted(shape, colour),), None, ())
        for count in range(1, len(NUMBERS)):
            yield Scene("counting", (Wanted(shape, count=count),), None, ())
    for first, second in itertools.permutations(SHAPES, 2):
        yield Scene("two_object", (Wanted(first), Wanted(second)), None, ())
        for relation in RELATIONS:
            yield Scene("position", (Wanted(first), Wanted(second)), relation, ())
        for one, other in itertools.product(COLOURS, repeat=2):
            yield Scene("color_attr", (Wanted(first, one), Wanted(second, other)), None, ())
