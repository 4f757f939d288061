"""Faults: what a picture has other than its plan says, found by comparison and planted into weak pictures."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from irg_jax.worlds.shapes.lettering import LETTERS
from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject
from irg_jax.worlds.shapes.picture import FLAWS, STYLES, Content, Drawing, Picture, draw_background, draw_freely

FAULT_KINDS = (
    "missing", "extra", "miscoloured", "misshapen", "replaced", "misplaced", "too few", "too many",
    "wrong word", "wrong style", *FLAWS,
)  # fmt: skip
# Percentage of weak pictures in which so many faults are planted.
FAULTS_PERCENT = (25, 35, 25, 15)
_EXCLUSIVE = {"blurred", "ragged"}  # both are of the edges
_NAMED = {"too few": "missing", "too many": "extra"}


@dataclasses.dataclass(frozen=True)
class Fault:
    """One difference between a picture and its plan.

    Attributes:
      kind: one of ``FAULT_KINDS``.
      planned: the object, word or style as planned; None where it was not planned, and for flaws.
      seen: the object, word or style as it is; None where nothing is there, and for flaws.
    """

    kind: str
    planned: PlacedObject | str | None = None
    seen: PlacedObject | str | None = None

    @property
    def is_flaw(self) -> bool:
        """Whether it is of the execution of the picture, and not of what the picture shows."""
        return self.kind in FLAWS

    @property
    def named(self) -> "Fault":
        """The fault as a sentence names it: one too many of its kind is called extra, and one too few missing.

        Which object is meant, and what to do about it, are the same then.
        """
        return dataclasses.replace(self, kind=_NAMED.get(self.kind, self.kind))

    def sides(self) -> tuple[PlacedObject | None, PlacedObject | None]:
        """The planned and the seen object of a fault of an object."""
        assert not isinstance(self.planned, str) and not isinstance(self.seen, str), self.kind
        return self.planned, self.seen

    def words(self) -> tuple[str, str]:
        """The planned and the seen word of a fault of the word, each empty for none."""
        assert not isinstance(self.planned, PlacedObject) and not isinstance(self.seen, PlacedObject), self.kind
        return self.planned or "", self.seen or ""


def compare(planned: Content, seen: Content) -> tuple[Fault, ...]:
    """The faults of a picture against its plan: of objects, planned ones first, of word and style, then the flaws.

    Each place is compared first. What is missing in one place and found, alike, in a place without a plan is misplaced;
    of several alike, one missing is one too few, and one more than planned is one too many. Where outlines are missing,
    that is the fault, and not the style; and no style is wrong where the plan names none but leaves it as usual.

    Args:
      planned: the plan.
      seen: what the picture shows; of two objects in the same place the first counts.
    """
    faults = _of_objects(planned.things, seen.things)
    if seen.word != planned.word:
        faults.append(Fault("wrong word", planned.word or None, seen.word or None))
    if planned.style not in (STYLES[0], seen.style) and seen.things and "no outlines" not in seen.flaws:
        faults.append(Fault("wrong style", planned.style, seen.style))
    return (*faults, *(Fault(flaw) for flaw in FLAWS if flaw in seen.flaws))


def _of_objects(planned: Sequence[PlacedObject], seen: Iterable[PlacedObject]) -> list[Fault]:
    at: dict[str, PlacedObject] = {}
    for thing in seen:
        at.setdefault(thing.place, thing)
    looks = [_look(thing) for thing in planned]
    strays = [thing for place, thing in at.items() if place not in {thing.place for thing in planned}]
    faults = []
    for thing in planned:
        there = at.get(thing.place)
        if there == thing:
            continue
        if there is not None:
            faults.append(Fault(_difference(thing, there), thing, there))
            continue
        stray = next((stray for stray in strays if _look(stray) == _look(thing)), None)
        if stray is not None:
            strays.remove(stray)
            faults.append(Fault("misplaced", thing, stray))
        else:
            faults.append(Fault("too few" if looks.count(_look(thing)) > 1 else "missing", thing))
    return faults + [Fault("too many" if _look(stray) in looks else "extra", None, stray) for stray in strays]


def _difference(planned: PlacedObject, seen: PlacedObject) -> str:
    if planned.shape == seen.shape:
        return "miscoloured"
    return "misshapen" if planned.colour == seen.colour else "replaced"


def _look(thing: PlacedObject) -> tuple[str, str]:
    return thing.colour, thing.shape


def draw_weak(rng: np.random.Generator, plan: Content, places: Sequence[str]) -> Picture:
    """A random weak picture of a plan: everything left open drawn at random, and 0 to 3 faults planted.

    Half of them are of content, half of execution. An object has one fault at most, and so have the word and the style;
    one object stays at least. A style is only changed where another than the usual one is planned. A picture that shall
    be flat cannot lack outlines, and one that shall not be outlined has two flaws at most.

    Args:
      rng: decides everything.
      plan: what a good picture would show.
      places: of the canvas in which objects may be, in reading order.
    """
    drawings = {thing.place: draw_freely(rng, thing) for thing in plan.things}
    background, noise = draw_background(rng), int(rng.integers(1 << 32))
    weak = _Weak(plan, drawings, plan.word, plan.style)
    for _ in range(int(np.searchsorted(np.cumsum(FAULTS_PERCENT), rng.integers(100), side="right"))):
        if rng.integers(2) or not _plant(rng, weak, places):
            left = weak.possible_flaws()
            if left:
                weak.flaws.add(left[rng.integers(len(left))])
    ordered = tuple(drawings[place] for place in places if place in drawings)
    flaws = tuple(flaw for flaw in FLAWS if flaw in weak.flaws)
    return Picture(ordered, background, flaws, noise, weak.word, weak.style)


@dataclasses.dataclass
class _Weak:
    """A picture into which faults are being planted.

    Attributes:
      plan: of it.
      drawings: its objects by place.
      word: written in it.
      style: of it.
      touched: places that a fault has changed.
      flaws: of its execution.
    """

    plan: Content
    drawings: dict[str, Drawing]
    word: str
    style: str
    touched: set[str] = dataclasses.field(default_factory=set)
    flaws: set[str] = dataclasses.field(default_factory=set)

    def possible_flaws(self) -> list[str]:
        """The flaws that it can have besides."""
        plain = self.plan.style == STYLES[0]
        if not plain and len(self.flaws) == 2:  # one more, and shapes without dark outlines could not be told apart
            return []
        exclusive = _EXCLUSIVE if self.flaws & _EXCLUSIVE else set()
        outlines = {"no outlines"} if self.plan.style == "flat" or self.style != self.plan.style else set()
        return [flaw for flaw in FLAWS if flaw not in self.flaws | exclusive | outlines]


def _plant(rng: np.random.Generator, weak: _Weak, places: Sequence[str]) -> bool:
    """Plants one fault of content; False where there is nothing left that could be changed."""
    planned, drawings, touched = weak.plan.things, weak.drawings, weak.touched
    intact = [thing for thing in planned if thing.place not in touched]
    free = [place for place in places if place not in drawings and place not in touched]
    ways: list[Callable[[], None]] = []

    def change(**values: str) -> None:
        thing = intact[rng.integers(len(intact))]
        changed = {name: _other(rng, name, getattr(thing, name)) for name in values}
        drawings[thing.place] = draw_freely(rng, dataclasses.replace(thing, **changed))
        touched.add(thing.place)

    def remove() -> None:
        place = intact[rng.integers(len(intact))].place
        del drawings[place]
        touched.add(place)

    def add() -> None:
        place = free[rng.integers(len(free))]
        # Often one more of what is there already, as pictures with a wrong count have.
        alike = planned[int(rng.integers(len(planned)))]
        colour, shape = _look(alike) if rng.integers(3) == 0 else (_other(rng, "colour", ""), _other(rng, "shape", ""))
        drawings[place] = draw_freely(rng, PlacedObject(colour, shape, place))
        touched.add(place)

    def move() -> None:
        old, new = intact[rng.integers(len(intact))].place, free[rng.integers(len(free))]
        drawing = drawings.pop(old)
        drawings[new] = dataclasses.replace(drawing, thing=dataclasses.replace(drawing.thing, place=new))
        touched.update((old, new))

    def misspell() -> None:
        at = int(rng.integers(len(weak.word)))
        others = [letter for letter in LETTERS if letter != weak.word[at]]
        letter = others[rng.integers(len(others))]
        weak.word = "" if rng.integers(4) == 0 else weak.word[:at] + letter + weak.word[at + 1 :]

    def restyle() -> None:
        # What becomes flat has lost its outlines, which is a flaw of its own.
        others = [style for style in STYLES if style not in (weak.style, "flat")]
        weak.style = others[rng.integers(len(others))]

    if intact:
        ways += [lambda: change(colour=""), lambda: change(shape=""), lambda: change(colour="", shape="")]
    if intact and len(drawings) > 1:
        ways += [remove, remove]
    if free:
        ways += [add, add]
    if intact and free:
        ways += [move, move]
    if weak.word and weak.word == weak.plan.word:
        ways += [misspell] * 3
    if weak.style == weak.plan.style != STYLES[0] and "no outlines" not in weak.flaws:
        ways += [restyle] * 3
    if not ways:
        return False
    ways[rng.integers(len(ways))]()
    return True


def _other(rng: np.random.Generator, name: str, than: str) -> str:
    """Another colour or shape."""
    others = [word for word in (COLOURS if name == "colour" else SHAPES) if word != than]
    return others[rng.integers(len(others))]
