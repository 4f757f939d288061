"""How detailed the objects of an image are, relative to the good rendering of each at the same position."""

import functools
from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.objects import BACKGROUND, COLOURS
from irg_jax.worlds.shapes.reader import SeenObject, chroma, palette_chroma
from irg_jax.worlds.shapes.render import FULL, coverage, good_cell


def detail(image: np.ndarray, objects: Sequence[SeenObject]) -> float:
    """Mean over ``objects`` of the mean of outline, saturation and edge sharpness, in [0, 1].

    1.0 for good renderings, 0.1 to 0.3 for weak ones, 0.0 if there is no object.

    Args:
      image: uint8 [S, S, 3].
      objects: what ``read_image`` found in it.
    """
    if not objects:
        return 0.0
    cell = image.shape[0] // 2
    # A cell may extend beyond the image; what is outside counts as background.
    padded = np.pad(BACKGROUND - image.astype(np.float64), ((cell, cell), (cell, cell), (0, 0)))
    total = 0.0
    for seen in objects:
        row, column = (start + cell for start in seen.corner)
        total += _detail_of(padded[row : row + cell, column : column + cell], seen.colour, seen.shape)
    return total / len(objects)


def _detail_of(contrast: np.ndarray, colour: str, shape: str) -> float:
    ideal = _measure(BACKGROUND - good_cell(colour, shape, len(contrast)).astype(np.float64), colour, shape)
    seen = _measure(contrast, colour, shape)
    return sum(min(1.0, max(0.0, a / b)) for a, b in zip(seen, ideal, strict=True)) / len(ideal)


def _measure(contrast: np.ndarray, colour: str, shape: str) -> tuple[float, float, float]:
    """Outline, saturation and edge sharpness of a cell, each linear in ``contrast``."""
    rim, inside = _regions(shape, len(contrast))
    own = palette_chroma()[COLOURS.index(colour)]
    dark = contrast.mean(-1)
    outline = float(dark[rim].mean() - dark[inside].mean())
    saturation = float(chroma(contrast[inside]).mean(0) @ own)
    good = BACKGROUND - good_cell(colour, shape, len(contrast)).astype(np.float64)
    # Steps between neighbours, each weighted by the same step of the good rendering.
    sharpness = sum(float((np.diff(contrast, axis=axis) * np.diff(good, axis=axis)).sum()) for axis in (0, 1))
    return outline, saturation, sharpness


@functools.cache
def _regions(shape: str, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that are mostly outline, and those completely inside it, bool [cell, cell] each."""
    outer, inner = coverage(shape, cell)
    return 2 * (outer - inner) > FULL, inner == FULL
