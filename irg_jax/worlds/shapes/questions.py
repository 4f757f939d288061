"""Yes/no questions about a picture: read from English, and answered from what the exact reader sees.

This one language says what every manner of prompts but GenEval's asks for, and is what judges are asked in.
"""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, PLACES, SHAPES, plural
from irg_jax.worlds.shapes.picture import STYLES
from irg_jax.worlds.shapes.reader import SeenObject, SeenPicture
from irg_jax.worlds.shapes.relations import relative_position
from irg_jax.worlds.shapes.scene import Check

EXAMPLES = (
    "Is there a red circle in the image?",
    "Are there three blue squares?",
    "Is there more than one circle?",
    "Is the circle red?",
    "Is the red circle left of the blue square?",
    "Are there more circles than squares?",
    "Are all objects green or blue?",
    "Are all objects of the same shape?",
    "Is the circle on the west side?",
    "Does the image show the word CAT?",
    "Is the picture striped?",
)
SIDES = ("north", "south", "west", "east")

_NUMBERS = {word: i for i, word in enumerate((*NUMBERS, "seven", "eight", "nine", "ten"))}
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
_BETWEEN: dict[str, Callable[[int, int], bool]] = {
    "more": operator.gt,
    "fewer": operator.lt,
    "as many": operator.eq,
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
_SHOW = rf"does th(?:e|is) {_IMAGE} (?:show|contain|have|include|depict)"
_EXISTS = re.compile(r"(?:is|are) there (?:both )?(.+)")
_SHOWS = re.compile(rf"{_SHOW} (?:both )?(.+)")
_COUNTED = re.compile(_QUANTITY + _noun(0))
_COMPARED = re.compile(rf"(?:is|are) there (?P<how>{'|'.join(_BETWEEN)}) {_noun(0)} (?:than|as) {_noun(1)}")
_THE = r"(?:is|are) (?:all (?:of )?(?:the )?|the )"
_KIND = rf"(?:{'|'.join((*COLOURS, *_SHAPES))})"
_IS = re.compile(rf"{_THE}{_noun(0)} (?:an? )?(?P<is>{_KIND}(?:(?:, | or |, or )(?:an? )?{_KIND})*)")
_ALIKE = re.compile(rf"{_THE}{_noun(0)} of (?P<how>the same|different) (?P<what>colour|color|shape)s?")
_PLACED = re.compile(rf"{_THE}{_noun(0)} (?:in the )?(?P<place>{'|'.join(PLACES)})(?: corner)?")
_SIDED = re.compile(rf"{_THE}{_noun(0)} (?:on|in) the (?P<side>{'|'.join(SIDES)}) side")
_RELATED = re.compile(
    rf"(?:is|are) (?:all )?(?:the|an?) {_noun(0)} (?:placed |located |positioned )?"
    rf"(?:{'|'.join(f'(?P<r{i}>{words})' for i, words in enumerate(_RELATIONS.values()))}) (?:the|an?) {_noun(1)}"
)
_WORD = re.compile(rf"(?:is there|{_SHOW}) the (?:word|text) ['\"“‘]?(?P<word>[a-z]+)['\"”’]?")
_ANY_WORD = re.compile(rf"(?:is there|{_SHOW}) (?:a|any) (?:word|text|writing)")
_STYLED = re.compile(
    rf"(?:is|are) the (?:{_IMAGE}|style|objects?|shapes?) (?:in an? )?(?P<style>{'|'.join(STYLES)})(?: style)?"
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


def failed_checks(checks: Iterable[Check], picture: SeenPicture) -> tuple[Check, ...]:
    """Those of ``checks`` that a picture does not satisfy. Raises UserError for a question that is not understood."""
    failed = []
    for check in checks:
        answer = answer_question(check.question, picture)
        if answer is None:
            raise UserError(f"the question {check.question!r} is not understood; ask as in {', '.join(EXAMPLES)}")
        if answer != check.expected:
            failed.append(check)
    return tuple(failed)


def answer_question(question: str, picture: SeenPicture) -> bool | None:
    """Whether the answer to a question is yes; None if it is of no form that is known here.

    "A" and "any" mean one or more, a number means exactly so many, "the" and "all" mean all of them and at least one,
    and a relation holds if it does, by ``relative_position``, for every pair. Things are of different colours or shapes
    if no two of them share one. A side is a column or row of places: on the west side are northwest, west, southwest.

    Args:
      question: such as one of ``EXAMPLES``.
      picture: what ``read_picture`` found.
    """
    text = re.sub(rf"\b(?:in|within|on) th(?:e|is) {_IMAGE}\b", "", question.lower())
    text = " ".join(text.split()).strip(" ,?\"'*`“”")
    for form, answer in _FORMS.items():
        if found := form.fullmatch(text):
            return answer(found, picture)
    return None


def _named(found: re.Match[str], number: int, picture: SeenPicture) -> list[SeenObject]:
    """The objects that noun ``number`` of a question names."""
    return _Noun(found[f"colour{number}"], _SHAPES[found[f"shape{number}"]]).among(picture.objects)


def _are_there(found: re.Match[str], picture: SeenPicture) -> bool | None:
    parts = [_COUNTED.fullmatch(part) for part in re.split(r",? and |, ", found[1])]
    counted = [_counted(part, picture) for part in parts if part]
    return all(counted) if len(counted) == len(parts) else None


def _counted(found: re.Match[str], picture: SeenPicture) -> bool:
    count, number = len(_named(found, 0, picture)), found["number"]
    if number == "no":
        return count == 0
    if number in (None, "a", "an", "any", "some"):
        wanted, compare = 1, _COMPARISONS[found["how"] or "at least"]
    else:
        wanted = int(number) if number.isdecimal() else _NUMBERS[number]
        compare = _COMPARISONS[found["how"] or "exactly"]
    return compare(count, wanted)


def _compared(found: re.Match[str], picture: SeenPicture) -> bool:
    return _BETWEEN[found["how"]](len(_named(found, 0, picture)), len(_named(found, 1, picture)))


def _is_one_of(found: re.Match[str], picture: SeenPicture) -> bool:
    kinds = re.findall(_KIND, found["is"])
    nouns = [_Noun(kind, None) if kind in COLOURS else _Noun(None, _SHAPES[kind]) for kind in kinds]
    named = _named(found, 0, picture)
    return bool(named) and all(any(noun.among([seen]) for noun in nouns) for seen in named)


def _alike(found: re.Match[str], picture: SeenPicture) -> bool:
    named = _named(found, 0, picture)
    values = {seen.shape if found["what"] == "shape" else seen.colour for seen in named}
    return bool(named) and len(values) == (1 if found["how"] == "the same" else len(named))


def _placed(found: re.Match[str], picture: SeenPicture) -> bool:
    named = _named(found, 0, picture)
    return bool(named) and all(seen.place == found["place"] for seen in named)


def _sided(found: re.Match[str], picture: SeenPicture) -> bool:
    named = _named(found, 0, picture)
    return bool(named) and all(found["side"] in seen.place for seen in named)


def _related(found: re.Match[str], picture: SeenPicture) -> bool:
    relation = next(name for i, name in enumerate(_RELATIONS) if found[f"r{i}"])
    first, second = _named(found, 0, picture), _named(found, 1, picture)
    pairs = [(a, b) for a in first for b in second if a is not b]
    return bool(pairs) and all(relation in relative_position(a.box, b.box) for a, b in pairs)


# In the order in which they are tried; a comparison would also be a list of what there is.
_FORMS: dict[re.Pattern[str], Callable[[re.Match[str], SeenPicture], bool | None]] = {
    _COMPARED: _compared,
    _WORD: lambda found, picture: picture.word == found["word"].upper(),
    _ANY_WORD: lambda found, picture: bool(picture.word),
    _STYLED: lambda found, picture: picture.style == found["style"],
    _EXISTS: _are_there,
    _SHOWS: _are_there,
    _IS: _is_one_of,
    _ALIKE: _alike,
    _PLACED: _placed,
    _SIDED: _sided,
    _RELATED: _related,
}
