"""What several manners ask for: each function draws one request, its plan, and the checks that say what it means.

Every request says how many objects there are, or of which kinds all of them are, so that a picture full of objects
never satisfies it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from irg_jax.worlds.shapes.draw import (
    Look,
    arrange,
    most_objects,
    open_places,
    pick,
    related_places,
    split_of,
    split_of_word,
)
from irg_jax.worlds.shapes.manners.words import WORDS
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, SHAPES, PlacedObject, plural, with_article
from irg_jax.worlds.shapes.picture import STYLES
from irg_jax.worlds.shapes.prompts import in_a_row
from irg_jax.worlds.shapes.relations import RELATIONS
from irg_jax.worlds.shapes.scene import Check, Scene

_OPPOSITES = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


class Request(NamedTuple):
    """One request.

    Attributes:
      objects: a plan that satisfies it.
      checks: what a picture for it has to satisfy.
      slots: its words, by the names that the wordings of its kind have for them.
      word: that the picture has to show; empty for none.
      style: of the plan's picture, one of ``STYLES``.
    """

    objects: tuple[PlacedObject, ...]
    checks: tuple[Check, ...]
    slots: Mapping[str, str]
    word: str = ""
    style: str = STYLES[0]

    def belongs_to(self, split: str) -> bool:
        """Whether its objects, and its word if it has one, are those of a split."""
        return split_of(self.objects) == split and (not self.word or split_of_word(self.word) == split)

    def scene(self, manner: str, kind: str, wordings: Iterable[str]) -> Scene:
        """The scene that asks for it in these wordings."""
        prompts = tuple(sentence(wording, self.slots) for wording in wordings)
        return Scene(
            kind,
            objects=self.objects,
            manner=manner,
            checks=self.checks,
            prompts=prompts,
            word=self.word,
            style=self.style,
        )


def draw_in(
    split: str, draw: Callable[[np.random.Generator, int], Request], rng: np.random.Generator, size: int
) -> Request:
    """The first request of ``draw(rng, size)`` that belongs to a split."""
    while True:
        request = draw(rng, size)
        if request.belongs_to(split):
            return request


def attribute(rng: np.random.Generator, size: int, word: str = "") -> Request:
    """One to three objects, each of its own colour and shape: "a red circle and a blue square" as {all}."""
    count = int(rng.integers(1, min(3, most_objects(size, word)) + 1))
    looks = list(zip(pick(rng, COLOURS, count), pick(rng, SHAPES, count), strict=True))
    checks = [there_are(1, *look) for look in looks]
    everything = in_a_row([with_article(" ".join(look)) for look in looks])
    return _placed(rng, looks, size, [*checks, there_are(count)], {"all": everything}, word)


def relation(rng: np.random.Generator, size: int, coloured: bool, negated: bool = False) -> Request:
    """Two objects, {a} and {b}, whose shapes are {first} and {second}, and the {relation} of the first to the second.

    Where it is negated, the objects are in another relation than the one that is named.
    """
    colours, shapes = pick(rng, COLOURS, 2), pick(rng, SHAPES, 2)
    shown = RELATIONS[rng.integers(len(RELATIONS))]
    # Of the other three, the opposite one as often as both that are across.
    across = [name for name in RELATIONS if name not in (shown, _OPPOSITES[shown])]
    named = pick(rng, [_OPPOSITES[shown], _OPPOSITES[shown], *across], 1)[0] if negated else shown
    pairs = related_places(shown, size)
    places = pairs[rng.integers(len(pairs))]
    objects = tuple(PlacedObject(*thing) for thing in zip(colours, shapes, places, strict=True))
    names = [" ".join(look) for look in zip(colours, shapes, strict=True)] if coloured else shapes
    checks = (
        *(there_are(1, "", name) for name in names),
        Check(f"Is the {names[0]} {named} the {names[1]}?", not negated),
        there_are(2),
    )
    slots = {"a": with_article(names[0]), "b": with_article(names[1]), "relation": named}
    return Request(objects, checks, slots | {"first": names[0], "second": names[1]})


def counting(rng: np.random.Generator, size: int, coloured: bool) -> Request:
    """So many objects of one shape, and of one colour where it is asked for: "three red circles" as {counted}."""
    count = int(rng.integers(1, most_objects(size) + 1))
    colour, shape = pick(rng, COLOURS, 1)[0], pick(rng, SHAPES, 1)[0]
    asked = (colour if coloured else "", shape)
    checks = [there_are(count, *asked), there_are(count)]
    return _placed(rng, [(colour, shape)] * count, size, checks, {"counted": counted(count, *asked)})


def comparison(rng: np.random.Generator, size: int, by: str) -> Request:
    """More, fewer or as many of one kind as of another: "more circles than squares" as {comparison}.

    Args:
      rng: decides.
      size: of the canvas in pixels.
      by: ``shape`` or ``colour``, which tell the two kinds from each other.
    """
    how = pick(rng, ("more", "fewer", "as many"), 1)[0]
    most = most_objects(size)
    pairs = [(a, b) for a in range(1, most) for b in range(1, most - a + 1)]
    wanted = {"more": lambda a, b: a > b, "fewer": lambda a, b: a < b, "as many": lambda a, b: a == b}[how]
    pairs = [pair for pair in pairs if wanted(*pair)]
    counts = pairs[rng.integers(len(pairs))]
    if by == "shape":
        shapes, colours = pick(rng, SHAPES, 2), [pick(rng, COLOURS, 1)[0] for _ in range(2)]
        names = [plural(shape) for shape in shapes]
        kinds = in_a_choice(names)
    else:
        shapes, colours = [pick(rng, SHAPES, 1)[0] for _ in range(2)], pick(rng, COLOURS, 2)
        names = [f"{colour} objects" for colour in colours]
        kinds = in_a_choice(colours)
    looks = [look for look, count in zip(zip(colours, shapes, strict=True), counts, strict=True) for _ in range(count)]
    told = f"{how} {names[0]} {'as' if how == 'as many' else 'than'} {names[1]}"
    checks = [
        Check(f"Are there {told}?"),
        *(Check(f"Are there any {name}?") for name in names),
        Check(f"Are all objects {kinds}?"),
    ]
    return _placed(rng, looks, size, checks, {"comparison": told})


def differentiation(rng: np.random.Generator, size: int) -> Request:
    """Two kinds that share shape or colour and differ in the other: "one red circle and two blue circles" as {all}."""
    pairs = [(1, 1), (1, 2), (2, 1), (2, 2)]
    counts = [pair for pair in pairs if sum(pair) <= most_objects(size)]
    first, second = counts[rng.integers(len(counts))]
    if rng.integers(2):
        looks = list(zip(pick(rng, COLOURS, 2), pick(rng, SHAPES, 1) * 2, strict=True))
    else:
        looks = list(zip(pick(rng, COLOURS, 1) * 2, pick(rng, SHAPES, 2), strict=True))
    numbered = [(first, *looks[0]), (second, *looks[1])]
    told = in_a_row([counted(*item, one="one") for item in numbered])
    checks = [*(there_are(*item) for item in numbered), there_are(first + second)]
    return _placed(rng, [looks[0]] * first + [looks[1]] * second, size, checks, {"all": told})


def negation(rng: np.random.Generator, size: int, by: str) -> Request:
    """So many objects as {counted}, and {excluded}, the kind that is not among them: "three objects", "squares".

    Args:
      rng: decides.
      size: of the canvas in pixels.
      by: whether what is excluded is a ``shape`` or a ``colour``; with a colour the objects may be of one shape.
    """
    count = int(rng.integers(1, most_objects(size) + 1))
    colours, shapes = list(COLOURS), list(SHAPES)
    excluded = pick(rng, shapes if by == "shape" else colours, 1)[0]
    (shapes if by == "shape" else colours).remove(excluded)
    shape = pick(rng, shapes, 1)[0] if by == "colour" and rng.integers(2) else ""
    looks = [(pick(rng, colours, 1)[0], shape or pick(rng, shapes, 1)[0]) for _ in range(count)]
    name = plural(excluded) if by == "shape" else f"{excluded} objects"
    checks = [there_are(count, "", shape), there_are(count), Check(f"Are there any {name}?", False)]
    return _placed(rng, looks, size, checks, {"counted": counted(count, "", shape or "object"), "excluded": name})


def universal(rng: np.random.Generator, size: int) -> Request:
    """Objects all of one colour or shape: "green" or "circles" as {all_are}, "green" or "a circle" as {each_is}.

    {counted} is their number, "three objects", or "several objects" where the request leaves it open.
    """
    count = int(rng.integers(2, most_objects(size) + 1))
    colour, shape = pick(rng, COLOURS, 1)[0], pick(rng, SHAPES, 1)[0]
    if rng.integers(2):
        looks = [(colour, pick(rng, SHAPES, 1)[0]) for _ in range(count)]
        slots = {"all_are": colour, "each_is": colour}
    else:
        looks = [(pick(rng, COLOURS, 1)[0], shape) for _ in range(count)]
        slots = {"all_are": plural(shape), "each_is": with_article(shape)}
    exact = bool(rng.integers(2))
    number = there_are(count) if exact else Check("Is there more than one object?")
    checks = [number, Check(f"Are all objects {slots['all_are']}?")]
    return _placed(
        rng, looks, size, checks, slots | {"counted": counted(count, "", "object") if exact else "several objects"}
    )


def text(rng: np.random.Generator, size: int) -> Request:
    """A {word} to be shown, and one or two objects, {all}, above it."""
    word = pick(rng, WORDS, 1)[0]
    request = attribute(rng, size, word)
    check = Check(f"Does the image show the word {word}?")
    return request._replace(checks=(*request.checks, check), slots={**request.slots, "word": word}, word=word)


def style(rng: np.random.Generator, size: int) -> Request:
    """Objects, {all}, and the style in which the picture is drawn: "in a flat style" as {in_style}."""
    chosen, request = pick(rng, STYLES, 1)[0], attribute(rng, size)
    slots = {**request.slots, "in_style": f"in {with_article(chosen)} style"}
    return request._replace(checks=(*request.checks, Check(f"Is the picture {chosen}?")), slots=slots, style=chosen)


def texture(rng: np.random.Generator, size: int) -> Request:
    """One to three objects that are all outlined, flat or striped: "a striped circle and a striped square" as {all}."""
    chosen, request = pick(rng, STYLES, 1)[0], attribute(rng, size)
    shapes = [thing.shape for thing in request.objects]
    checks = [there_are(1, "", shape) for shape in shapes]
    told = in_a_row([with_article(f"{chosen} {shape}") for shape in shapes])
    checks += [there_are(len(shapes)), Check(f"Are the objects {chosen}?")]
    return Request(request.objects, tuple(dict.fromkeys(checks)), {"all": told}, style=chosen)


def there_are(count: int, colour: str = "", shape: str = "") -> Check:
    """That there are exactly so many objects of a colour and a shape; of any where they are empty."""
    verb = "Is" if count == 1 else "Are"
    return Check(f"{verb} there {counted(count, colour, shape or 'object', one='one')}?")


def counted(count: int, colour: str, shape: str, one: str = "") -> str:
    """So many objects in words: "three red circles"; one of them with an article or the word ``one``."""
    name = " ".join(filter(None, (colour, shape if count == 1 else plural(shape))))
    if count == 1:
        return f"{one} {name}" if one else with_article(name)
    return f"{NUMBERS[count]} {name}"


def in_a_choice(items: Sequence[str]) -> str:
    """A choice in words: "circles or squares"."""
    return " or ".join(items)


def _placed(
    rng: np.random.Generator,
    looks: Sequence[Look],
    size: int,
    checks: Sequence[Check],
    slots: Mapping[str, str],
    word: str = "",
) -> Request:
    return Request(arrange(rng, looks, open_places(size, word)), tuple(dict.fromkeys(checks)), slots)


def sentence(wording: str, slots: Mapping[str, str]) -> str:
    """A wording with its slots filled, beginning with a capital."""
    text = wording.format_map(slots)
    return text[0].upper() + text[1:]
