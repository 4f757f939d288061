"""Pictures for tests: objects in the middle of their places, on the plain light background."""

from collections.abc import Iterable

import numpy as np

from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.picture import Drawing, Picture
from irg_jax.worlds.shapes.render import render


def good(objects: Iterable[PlacedObject], size: int = 32) -> np.ndarray:
    """The picture without flaws, uint8 [size, size, 3]."""
    return render(Picture(tuple(map(Drawing, objects))), size)


def weak(objects: Iterable[PlacedObject], size: int = 32) -> np.ndarray:
    """The same blurred, faded and without outlines."""
    return render(Picture(tuple(map(Drawing, objects)), flaws=("no outlines", "blurred", "faded")), size)
