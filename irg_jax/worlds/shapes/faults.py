"""Faults: what a picture has other than its plan says, found by comparison and planted into weak pictures."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from irg_jax.worlds.shapes.objects import COLOURS, SHAPES, PlacedObject
from irg_jax.worlds.shapes.picture import FLAWS, STYLES, Drawing, Picture, draw_background, draw_freely

FAULT_KINDS = (
    "missing", "extra", "miscoloured", "misshapen", "replaced", "misplaced", "too few", "too many", *FLAWS,
)  # fmt: skip
# Percentage of weak pictures in which so many faults are planted.
FAULTS_PERCENT = (25, 35, 25, 15)
_EXCLUSIVE = {"blurred", "ragged"}  # both are of the edges


@dataclasses.dataclass(frozen=True)
class Fault:
    """One difference between a picture and its plan.

    Attributes:
      kind: one of ``FAULT_KINDS``.
      planned: the object as planned; None where it was not planned, and for flaws.
      seen: the object as it is; None where nothing is there, and for flaws.
    """

    kind: str
    planned: PlacedObject | None = None
    seen: PlacedObject | None = None

    @property
    def is_flaw(self) -> bool:
        """Whether it is of the execution of the picture, and not of what the picture shows."""
        return self.kind in FLAWS


def compare(
    planned: Sequence[PlacedObject], seen: Iterable[PlacedObject], flaws: Iterable[str] = ()
) -> tuple[Fault, ...]:
    """The faults of a picture against its plan: of the planned objects in order, of unplanned ones, then the flaws.

    Each place is compared first. What is missing in one place and found, alike, in a place without a plan is misplaced;
    of several alike, one missing is one too few, and one more than planned is one too many.

    Args:
      planned: the plan.
      seen: what the picture shows; of two objects in the same place the first counts.
      flaws: of its execution.
    """
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
    faults += [Fault("too many" if _look(stray) in looks else "extra", None, stray) for stray in strays]
    have = set(flaws)
    return (*faults, *(Fault(flaw) for flaw in FLAWS if flaw in have))


def _difference(planned: PlacedObject, seen: PlacedObject) -> str:
    if planned.shape == seen.shape:
        return "miscoloured"
    return "misshapen" if planned.colour == seen.colour else "replaced"


def _look(thing: PlacedObject) -> tuple[str, str]:
    return thing.colour, thing.shape


def draw_weak(
    rng: np.random.Generator,
    planned: Sequence[PlacedObject],
    places: Sequence[str],
    word: str = "",
    style: str = STYLES[0],
) -> Picture:
    """A random weak picture of a plan: everything left open drawn at random, and 0 to 3 faults planted.

    Half of them are of content, half of execution. An object has one fault at most, and one object stays at least.

    Args:
      rng: decides everything.
      planned: the plan.
      places: of the canvas in which objects may be, in reading order.
      word: to be written, and always right.
      style: of the picture; a flat one cannot lack outlines, and one that is not outlined has two flaws at most.
    """
    drawings = {thing.place: draw_freely(rng, thing) for thing in planned}
    background, noise = draw_background(rng), int(rng.integers(1 << 32))
    touched: set[str] = set()  # places that a fault has changed
    flaws: set[str] = set()
    for _ in range(int(np.searchsorted(np.cumsum(FAULTS_PERCENT), rng.integers(100), side="right"))):
        if rng.integers(2) or not _plant(rng, planned, places, drawings, touched):
            left = _possible_flaws(flaws, style)
            if left:
                flaws.add(left[rng.integers(len(left))])
    ordered = tuple(drawings[place] for place in places if place in drawings)
    return Picture(ordered, background, tuple(flaw for flaw in FLAWS if flaw in flaws), noise, word, style)


def _possible_flaws(flaws: set[str], style: str) -> list[str]:
    """The flaws that a picture with ``flaws`` can have besides."""
    if style != "outlined" and len(flaws) == 2:  # with one more, shapes without dark outlines could not be told apart
        return []
    exclusive = _EXCLUSIVE if flaws & _EXCLUSIVE else set()
    outlines = {"no outlines"} if style == "flat" else set()
    return [flaw for flaw in FLAWS if flaw not in flaws | exclusive | outlines]


def _plant(
    rng: np.random.Generator,
    planned: Sequence[PlacedObject],
    places: Sequence[str],
    drawings: dict[str, Drawing],
    touched: set[str],
) -> bool:
    """Plants one fault of content into ``drawings``; False where there is nothing left that could be changed."""
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

    if intact:
        ways += [lambda: change(colour=""), lambda: change(shape=""), lambda: change(colour="", shape="")]
    if intact and len(drawings) > 1:
        ways += [remove, remove]
    if free:
        ways += [add, add]
    if intact and free:
        ways += [move, move]
    if not ways:
        return False
    ways[rng.integers(len(ways))]()
    return True


def _other(rng: np.random.Generator, name: str, than: str) -> str:
    """Another colour or shape."""
    others = [word for word in (COLOURS if name == "colour" else SHAPES) if word != than]
    return others[rng.integers(len(others))]
