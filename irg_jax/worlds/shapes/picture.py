"""A picture: its objects with all that a plan leaves open, its background, and the flaws of its execution."""

import dataclasses

import numpy as np

from irg_jax.worlds.shapes.objects import PlacedObject

SIZES = (22, 25)  # of an object, in 1/32 of the largest that a place could hold
OFFSETS = (-2, 0, 2)  # of its centre from that of its place, in x and in y, in 1/16 of the place's side
TILTS = (0, 15)  # degrees, clockwise; a circle has none
STYLES = ("outlined", "flat", "striped")  # of all objects of a picture
TEXTURES = ("plain", "stripes", "checks", "dots")
# Of the execution of a whole picture, in the order in which texts name them.
FLAWS = ("no outlines", "blurred", "ragged", "faded", "noisy")


@dataclasses.dataclass(frozen=True)
class Drawing:
    """One object as drawn.

    Attributes:
      thing: what a plan says of it.
      offset: of its centre from that of its place, (x, y), each one of ``OFFSETS``.
      size: one of ``SIZES``.
      tilt: one of ``TILTS``.
    """

    thing: PlacedObject
    offset: tuple[int, int] = (0, 0)
    size: int = SIZES[0]
    tilt: int = 0


@dataclasses.dataclass(frozen=True)
class Background:
    """What is behind the objects.

    Attributes:
      tint: its colour in the middle of the canvas, RGB in 0..255.
      slope: levels by which it gets lighter from the left to the right edge, and from the top to the bottom one.
      texture: one of ``TEXTURES``.
    """

    tint: tuple[int, int, int] = (238, 238, 238)
    slope: tuple[int, int] = (0, 0)
    texture: str = TEXTURES[0]


@dataclasses.dataclass(frozen=True)
class Content:
    """What a picture shows, or what a plan asks for, as far as thinkings say it.

    Attributes:
      things: the objects.
      flaws: of the execution, of ``FLAWS``; none in a plan.
      word: that is written; empty for none.
      style: one of ``STYLES``.
    """

    things: tuple[PlacedObject, ...]
    flaws: tuple[str, ...] = ()
    word: str = ""
    style: str = STYLES[0]


@dataclasses.dataclass(frozen=True)
class Picture:
    """All that decides the pixels of a picture.

    Attributes:
      drawings: its objects; no two have the same place.
      background: behind them.
      flaws: of ``FLAWS``, in their order; blurred and ragged exclude each other.
      noise: seed of the noise of a noisy background.
      word: up to four capitals, written in the southern row of places, where no object may be then; empty for none.
      style: one of ``STYLES``; a flat picture has no outlines, which is no flaw of it.
    """

    drawings: tuple[Drawing, ...]
    background: Background = Background()
    flaws: tuple[str, ...] = ()
    noise: int = 0
    word: str = ""
    style: str = STYLES[0]

    @property
    def objects(self) -> tuple[PlacedObject, ...]:
        """What a plan would say of it."""
        return tuple(drawing.thing for drawing in self.drawings)

    @property
    def content(self) -> Content:
        """What thinkings say of it."""
        return Content(self.objects, self.flaws, self.word, self.style)


def draw_freely(rng: np.random.Generator, thing: PlacedObject) -> Drawing:
    """An object with everything that a plan leaves open drawn at random."""
    size = SIZES[rng.integers(len(SIZES))]
    x, y = (OFFSETS[rng.integers(len(OFFSETS))] for _ in range(2))
    tilt = 0 if thing.shape == "circle" else TILTS[rng.integers(len(TILTS))]
    return Drawing(thing, (x, y), size, tilt)


def draw_background(rng: np.random.Generator) -> Background:
    """A random background: light, so that every colour is told apart on it."""
    red, green, blue = (int(rng.integers(216, 247)) for _ in range(3))
    slope = tuple(int(rng.integers(-12, 13)) for _ in range(2))
    return Background((red, green, blue), (slope[0], slope[1]), TEXTURES[rng.integers(len(TEXTURES))])


def improve(picture: Picture, plan: Content) -> Picture:
    """The picture of ``plan`` that keeps all that is right in ``picture``: the image teacher.

    What is as planned, or only of the wrong colour or shape, keeps centre, size and tilt; what stands in the wrong
    place moves with its size and tilt; what is missing is drawn in the middle of its place; what nobody planned goes.
    The background stays, without noise, word and style are as planned, and the execution has no flaws.
    """
    at = {drawing.thing.place: drawing for drawing in picture.drawings}
    places = {thing.place for thing in plan.things}
    strays = [drawing for drawing in picture.drawings if drawing.thing.place not in places]
    drawings = []
    for thing in plan.things:
        there = at.get(thing.place)
        if there is None:
            there = next((stray for stray in strays if _look(stray.thing) == _look(thing)), None)
            strays = [stray for stray in strays if stray is not there]
        kept = dataclasses.replace(there, thing=thing) if there else Drawing(thing)
        drawings.append(dataclasses.replace(kept, tilt=0) if thing.shape == "circle" else kept)
    return Picture(tuple(drawings), picture.background, word=plan.word, style=plan.style)


def _look(thing: PlacedObject) -> tuple[str, str]:
    return thing.colour, thing.shape
