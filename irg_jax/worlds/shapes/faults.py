"""Faults: the one difference that the objects of a weak image may have from its plan."""

import dataclasses

import numpy as np

from irg_jax.worlds.shapes.objects import COLOURS, PLACES, PlacedObject

FAULT_KINDS = ("missing", "miscoloured", "misplaced")
FAULT_PERCENT = 60  # percentage of weak images that have a fault


@dataclasses.dataclass(frozen=True)
class Fault:
    """One difference between an image and its plan.

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
    """Draws whether a weak image of ``objects`` has a fault, and which; returns it with the objects to render.

    A single object is never missing, and nothing is misplaced if all places are taken.
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
        changed = dataclasses.replace(planned, colour=seen)
    else:
        seen = free[rng.integers(len(free))]
        changed = dataclasses.replace(planned, place=seen)
    return Fault(kind, planned, seen), (*objects[:index], changed, *objects[index + 1 :])
