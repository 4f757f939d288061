"""TIIF-Bench's manner: every scene in a short and in a long wording, which ask for the same."""

from collections.abc import Callable

import numpy as np

from irg_jax.worlds.shapes.draw import pick
from irg_jax.worlds.shapes.manners import requests
from irg_jax.worlds.shapes.manners.requests import Request
from irg_jax.worlds.shapes.scene import Scene

# By TIIF-Bench's names of its attributes, as far as this world has them.
_DRAW: dict[str, Callable[[np.random.Generator, int], Request]] = {
    "shape+color": requests.attribute,
    "shape+texture": requests.texture,
    "2d_spatial_relation": lambda rng, size: requests.relation(rng, size, coloured=False),
    "numeracy": lambda rng, size: requests.counting(rng, size, coloured=False),
    "negation": lambda rng, size: requests.negation(rng, size, "shape"),
    "differentiation": requests.differentiation,
    "comparison": lambda rng, size: requests.comparison(rng, size, "shape"),
    "color+2d": lambda rng, size: requests.relation(rng, size, coloured=True),
    "numeracy+color": lambda rng, size: requests.counting(rng, size, coloured=True),
    "negation+color": lambda rng, size: requests.negation(rng, size, "colour"),
    "comparison+color": lambda rng, size: requests.comparison(rng, size, "colour"),
    "negation+2d": lambda rng, size: requests.relation(rng, size, coloured=False, negated=True),
    "text": requests.text,
    "style": requests.style,
}
KINDS = tuple(_DRAW)

_LISTED = (
    ("{all}.", "There is {all}."),
    ("nothing is to be seen but {all}, easy to tell from all that is around", "the scene consists of {all}"),
)
_RELATED = (
    ("{a} {relation} {b}.", "There is {a} {relation} {b}."),
    (
        "two things have been put down, {a} and {b}, and the {first} has its place {relation} the {second}",
        "{a} can be seen, and it is {relation} another thing, which is {b}",
    ),
)
_COUNTED = (
    ("{counted}.", "A picture of {counted}."),
    (
        "whoever counts what is there finds exactly {counted}, not one more and not one less",
        "someone has put down exactly {counted} and has left it at that",
    ),
)
_WITHOUT = (
    ("{counted} and no {excluded}.", "A picture of {counted} without {excluded}."),
    (
        "{counted} can be seen, and however long one looks, {excluded} are nowhere to be found",
        "someone has put down {counted}, taking care that there are no {excluded} among them",
    ),
)
_COMPARED = (
    ("{comparison}.", "There are {comparison}."),
    (
        "two kinds of things lie side by side, and whoever counts them finds {comparison}",
        "nothing is there but these two kinds, with {comparison}",
    ),
)
_NOT_RELATED = (
    ("{a} that is not {relation} {b}.", "There is {a}, but not {relation} {b}."),
    (
        "two things can be seen, {a} and {b}, and wherever the {first} is, it is not {relation} the {second}",
        "{a} shares the scene with {b}, though it has not been put {relation} it",
    ),
)
_WRITTEN = (
    ('{all} and the word "{word}".', 'The word "{word}" below {all}.'),
    (
        'there is {all}, and below it someone has written, in dark and clear capitals, the word "{word}"',
        'the word "{word}" can be read at the bottom, and {all} can be seen above it',
    ),
)
_STYLED = (
    ("{all} {in_style}.", "A drawing {in_style} of {all}."),
    (
        "there is {all}, and the whole of it is drawn {in_style} from the first line to the last",
        "an artist who works {in_style} and no other way has shown {all}",
    ),
)
# Short wordings, and what the long ones say between an opening and an end.
_WORDINGS = {
    "shape+color": _LISTED,
    "shape+texture": _LISTED,
    "2d_spatial_relation": _RELATED,
    "numeracy": _COUNTED,
    "negation": _WITHOUT,
    "differentiation": _LISTED,
    "comparison": _COMPARED,
    "color+2d": _RELATED,
    "numeracy+color": _COUNTED,
    "negation+color": _WITHOUT,
    "comparison+color": _COMPARED,
    "negation+2d": _NOT_RELATED,
    "text": _WRITTEN,
    "style": _STYLED,
}
_OPENINGS = (
    "In a quiet picture with a light background, ",
    "On a bright sheet that is otherwise empty, ",
    "Seen from straight above on a pale table, ",
)
_ENDS = (
    ", while everything around is left calm and bare.",
    ", and soft daylight falls evenly on all of it.",
    "; the rest of the picture stays empty.",
)


def draw(rng: np.random.Generator, kind: str, size: int, split: str) -> Scene:
    """A random scene of ``kind``, one of ``KINDS``, that belongs to ``split``, with a short and a long prompt."""
    request = requests.draw_in(split, _DRAW[kind], rng, size)
    short, long = _WORDINGS[kind]
    told = pick(rng, _OPENINGS, 1)[0] + pick(rng, long, 1)[0] + pick(rng, _ENDS, 1)[0]
    return request.scene("tiif", kind, (pick(rng, short, 1)[0], told))
