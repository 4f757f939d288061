"""Prompts: short requests of GenEval's six kinds, each in several wordings, none of which names a place."""

from irg_jax.worlds.shapes.objects import NUMBERS, plural, with_article
from irg_jax.worlds.shapes.scene import Scene, Wanted

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
