"""Faults: the one thing that may be wrong with the objects of a weak picture."""

import dataclasses

import numpy as np

from irg_jax.data.shapes.objects import COLOURS, PLACES, PlacedObject

FAULT_KINDS = ("missing", "miscoloured", "misplaced")
FAULT_PERCENT = 60  # how many weak pictures in a hundred have a fault


@dataclasses.dataclass(frozen=True)
class Fault:
    """One difference between a picture and its plan.

    Attributes:
      kind: one of ``FAULT_KINDS``.
      planned: the object as planned.
      seen: the colour it has instead (miscoloured), the place it has instead (misplaced), or None (missing).
    """

    kind: str
    planned: PlacedObject
    seen: str | None = None


def plant_fault(
    rng: np.random.Generator, objects: tuple[PlacedObject, ...]
) -> tuple[Fault | None, tuple[PlacedObject, ...]]:
    """Draws whether a weak picture of ``objects`` has a fault, and which; returns it with the objects to paint.

    A lone object is never missing, and nothing is misplaced where all places are taken.
    """
    if rng.integers(100) >= FAULT_PERCENT:
        return None, objects
    free = [place for place in PLACES if place not in {thing.place for thing in objects}]
    possible = [kind for kind, can in zip(FAULT_KINDS, (len(objects) > 1, True, bool(free)), strict=True) if can]
    kind = possible[rng.integers(len(possible))]
    index = int(rng.integers(len(objects)))
    planned = objects[index]
    if kind == "missing":
        return Fault(kind, planned), objects[:index] + objects[index + 1 :]
    if kind == "miscoloured":
        others = [colour for colour in COLOURS if colour != planned.colour]
        seen = others[rng.integers(len(others))]
        painted = dataclasses.replace(planned, colour=seen)
    else:
        seen = free[rng.integers(len(free))]
        painted = dataclasses.replace(planned, place=seen)
    return Fault(kind, planned, seen), (*objects[:index], painted, *objects[index + 1 :])
