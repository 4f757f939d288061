"""The prompts of GenEval: short requests of six kinds, each in several wordings, none of which names a place."""

import functools
import re
from collections.abc import Sequence

from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, SHAPES, plural, with_article
from irg_jax.worlds.shapes.relations import RELATIONS
from irg_jax.worlds.shapes.scene import MOST_WANTED, Scene, Wanted

# {all} are the wanted objects with their articles, {a} the first and {rest} the others; {one} and {others} are the same
# behind "one"; {b} is the second of two.
_SINGLE = ("{a}", "a picture of {a}", "draw {a}", "show me {one}", "{a} on a plain background")
_SEVERAL = ("{all}", "a picture of {all}", "draw {all}", "{one} together with {others}", "{a} along with {rest}")
WORDINGS = {
    "single_object": _SINGLE,
    "two_object": _SEVERAL,
    "counting": ("{a}", "a picture of {a}", "draw exactly {a}", "show me {a}", "{a} on a plain background"),
    "colors": _SINGLE,
    "position": (
        "{a} {relation} {b}",
        "a picture of {a} {relation} {b}",
        "draw {a} {relation} {b}",
        "{a} placed {relation} {b}",
    ),
    "color_attr": _SEVERAL,
}
_COUNTED = {name: i for i, name in enumerate(NUMBERS) if i}
_NOUN = re.compile(
    rf"(?:(?P<count>an?|{'|'.join(_COUNTED)}) )(?:(?P<colour>{'|'.join(COLOURS)}) )?"
    rf"(?P<shape>{'|'.join(SHAPES)})(?:e?s)?"
)


def write_prompt(scene: Scene, wording: int) -> str:
    """The prompt of a scene in wording number ``wording``, an index into ``WORDINGS[scene.kind]``."""
    names = [f"{item.colour} {item.shape}" if item.colour else item.shape for item in scene.wanted]
    articles, ones = [with_article(name) for name in names], [f"one {name}" for name in names]
    if scene.kind == "counting":
        articles = [_counted(scene.wanted[0])]
    return WORDINGS[scene.kind][wording].format(
        a=articles[0],
        b=articles[-1],
        all=in_a_row(articles),
        rest=in_a_row(articles[1:]),
        one=ones[0],
        others=in_a_row(ones[1:]),
        relation=scene.relation,
    )


def in_a_row(items: Sequence[str]) -> str:
    """A list in words: "a circle, a square and a cross"."""
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def _counted(wanted: Wanted) -> str:
    return f"{NUMBERS[wanted.count]} {wanted.shape if wanted.count == 1 else plural(wanted.shape)}"


def parse_prompt(text: str) -> Scene | None:
    """What a prompt in one of the ``WORDINGS`` asks for, without a plan (``objects`` is ()); None for any other text.

    Case, spaces around it and a full stop at its end do not matter.
    """
    text = " ".join(text.lower().split()).removesuffix(".")
    for kind, wordings in WORDINGS.items():
        for wording, pattern in enumerate(map(_pattern, wordings)):
            found = pattern.fullmatch(text)
            scene = _scene(kind, found.groupdict()) if found else None
            # Written again, so that the grammar of the texts is that of the wordings and nothing more.
            if scene and write_prompt(scene, wording) == text:
                return scene
    return None


@functools.cache
def _pattern(wording: str) -> re.Pattern[str]:
    return re.compile(
        re.sub(
            r"\{(\w+)\}",
            lambda slot: f"(?P<{slot[1]}>{'|'.join(RELATIONS)})" if slot[1] == "relation" else f"(?P<{slot[1]}>.+)",
            wording,
        )
    )


def _scene(kind: str, slots: dict[str, str]) -> Scene | None:
    """A scene of ``kind`` of the objects in the slots of a wording, in their order; None if they do not make one."""
    relation = slots.pop("relation", None)
    nouns = [_NOUN.fullmatch(item) for slot in slots.values() for item in re.split(", | and ", slot)]
    wanted = [Wanted(noun["shape"], noun["colour"], _COUNTED.get(noun["count"], 1)) for noun in nouns if noun]
    number = 1 if kind in ("single_object", "counting", "colors") else 2
    most = MOST_WANTED if kind in ("two_object", "color_attr") else number
    coloured = kind in ("colors", "color_attr")
    if (
        len(wanted) != len(nouns)
        or not number <= len(wanted) <= most
        or len({item.shape for item in wanted}) != len(wanted)
        or any(bool(item.colour) != coloured for item in wanted)
        or (kind != "counting" and any(item.count != 1 for item in wanted))
    ):
        return None
    return Scene(kind, tuple(wanted), relation)
