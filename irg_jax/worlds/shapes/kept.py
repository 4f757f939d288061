"""How well a second picture keeps what the first had right: position and size of its objects, and its background."""

import math
from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.objects import PlacedObject, cell_side
from irg_jax.worlds.shapes.picture import SIZES
from irg_jax.worlds.shapes.reader import SeenObject, SeenPicture

# Each is kept in full up to the first number, and not at all from the second on.
_OFF_CENTRE = (0.04, 0.125)  # of a place's side
_OFF_SIZE = (0.0, 1.0)  # steps of ``SIZES``
_OFF_BACKGROUND = (2.0, 8.0)  # levels, mean over pixels and channels


def kept(first: SeenPicture, second: SeenPicture, planned: Sequence[PlacedObject]) -> float:
    """The mean over what was right in the first picture of how well the second keeps it, in [0, 1].

    Right are the background and every object that is as planned. An object keeps the product of its position and its
    size; nothing if it is of another kind or gone. 1.0 for the improved picture of the world's records, about 0.1 for a
    fresh drawing of the same plan.

    Args:
      first: of the first turn.
      second: of the second turn, of the same size.
      planned: the plan of both.
    """
    size = first.background.shape[0]
    before, after = ({seen.thing: seen for seen in picture.objects} for picture in (first, second))
    shares = [_share(float(np.abs(first.background - second.background).mean()), _OFF_BACKGROUND)]
    for thing in planned:
        if thing in before:
            shares.append(_kept_object(before[thing], after.get(thing), size))
    return sum(shares) / len(shares)


def _kept_object(before: SeenObject, after: SeenObject | None, size: int) -> float:
    if after is None:
        return 0.0
    off = math.dist(before.centre, after.centre) / cell_side(size)
    steps = abs(SIZES.index(before.size) - SIZES.index(after.size))
    return _share(off, _OFF_CENTRE) * _share(steps, _OFF_SIZE)


def _share(error: float, limits: tuple[float, float]) -> float:
    best, worst = limits
    return float(np.clip((worst - error) / (worst - best), 0, 1))
