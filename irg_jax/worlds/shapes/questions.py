"""Yes/no questions about the objects of a picture: read from English, and answered."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, PLACES, SHAPES, plural
from irg_jax.worlds.shapes.reader import SeenObject
from irg_jax.worlds.shapes.score import relative_position

EXAMPLES = (
    "Is there a red circle in the image?",
    "Are there three blue squares?",
    "Is there more than one circle?",
    "Is the circle red?",
    "Is the red circle left of the blue square?",
)

_NUMBERS = {word: i for i, word in enumerate((*NUMBERS, "five", "six", "seven", "eight", "nine", "ten"))}
_SHAPES: dict[str, str | None] = {word: shape for shape in SHAPES for word in (shape, plural(shape))}
_SHAPES |= dict.fromkeys(("object", "objects", "shape", "shapes"))  # of any shape
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "more than": operator.gt,
    "at least": operator.ge,
    "fewer than": operator.lt,
    "less than": operator.lt,
    "at most": operator.le,
    "exactly": operator.eq,
    "only": operator.eq,
}
_RELATIONS = {
    "left of": r"(?:(?:to|on) the )?left (?:side )?of",
    "right of": r"(?:(?:to|on) the )?right (?:side )?of",
    "above": r"(?:above|over|on (?:the )?top of)",
    "below": r"(?:below|beneath|under|underneath|on the bottom of)",
}


def _noun(number: int) -> str:
    return rf"(?:(?P<colour{number}>{'|'.join(COLOURS)}) )?(?P<shape{number}>{'|'.join(_SHAPES)})"


_IMAGE = r"(?:image|picture|photo|figure|scene|drawing)"
_QUANTITY = rf"(?:(?P<how>{'|'.join(_COMPARISONS)}) )?(?:(?P<number>{'|'.join(_NUMBERS)}|\d+|an?|any|some|no) )?"
_EXISTS = re.compile(r"(?:is|are) there (?:both )?(.+)")
_SHOWS = re.compile(rf"does th(?:e|is) {_IMAGE} (?:show|contain|have|include|depict) (?:both )?(.+)")
_COUNTED = re.compile(_QUANTITY + _noun(0))
_COLOURED = re.compile(rf"(?:is|are) (?:all )?the {_noun(0)} (?P<is>{'|'.join(COLOURS)})")
_PLACED = re.compile(rf"(?:is|are) (?:all )?the {_noun(0)} (?:in the )?(?P<place>{'|'.join(PLACES)})(?: corner)?")
_RELATED = re.compile(
    rf"(?:is|are) (?:the|an?) {_noun(0)} (?:placed |located |positioned )?"
    rf"(?:{'|'.join(f'(?P<r{i}>{words})' for i, words in enumerate(_RELATIONS.values()))}) (?:the|an?) {_noun(1)}"
)


class _Noun(NamedTuple):
    colour: str | None
    shape: str | None

    def among(self, objects: Sequence[SeenObject]) -> list[SeenObject]:
        """Those of ``objects`` that it names."""
        return [
            seen
            for seen in objects
            if self.colour in (None, seen.colour) and self.shape in (None, seen.shape)
        ]  # fmt: skip


def answer_question(question: str, objects: Sequence[SeenObject]) -> bool | None:
    """Whether the answer to a question is yes; None if it is of no form that is known here.

    "A" and "any" mean one or more, a number means exactly so many, "the" means all of them and at least one, and a
    relation holds, as in ``score_image``, if it does for every pair.

    Args:
      question: such as one of ``EXAMPLES``.
      objects: what ``read_image`` found.
    """
    text = re.sub(rf"\b(?:in|within|on) th(?:e|is) {_IMAGE}\b", "", question.lower())
    text = " ".join(text.split()).strip(" ,?\"'*`“”")
    if found := _EXISTS.fullmatch(text) or _SHOWS.fullmatch(text):
        parts = [_COUNTED.fullmatch(part) for part in re.split(r",? and |, ", found[1])]
        counted = [_counted(part, objects) for part in parts if part]
        return all(counted) if len(counted) == len(parts) else None
    if found := _COLOURED.fullmatch(text):
        named = _named(found, 0).among(objects)
        return bool(named) and all(seen.colour == found["is"] for seen in named)
    if found := _PLACED.fullmatch(text):
        named = _named(found, 0).among(objects)
        return bool(named) and all(seen.place == found["place"] for seen in named)
    if found := _RELATED.fullmatch(text):
        relation = next(name for i, name in enumerate(_RELATIONS) if found[f"r{i}"])
        first, second = (_named(found, number).among(objects) for number in (0, 1))
        pairs = [(a, b) for a in first for b in second if a is not b]
        return bool(pairs) and all(relation in relative_position(a.box, b.box) for a, b in pairs)
    return None


def _named(found: re.Match[str], number: int) -> _Noun:
    return _Noun(found[f"colour{number}"], _SHAPES[found[f"shape{number}"]])


def _counted(found: re.Match[str], objects: Sequence[SeenObject]) -> bool:
    count, number = len(_named(found, 0).among(objects)), found["number"]
    if number == "no":
        return count == 0
    if number in (None, "a", "an", "any", "some"):
        wanted, compare = 1, _COMPARISONS[found["how"] or "at least"]
    else:
        wanted = int(number) if number.isdecimal() else _NUMBERS[number]
        compare = _COMPARISONS[found["how"] or "exactly"]
    return compare(count, wanted)
