"""How detailed the objects of a picture are, relative to the good rendering of each of them."""

import numpy as np

from irg_jax.worlds.shapes.objects import COLOURS, OUTLINE, PALETTE, cell_side
from irg_jax.worlds.shapes.reader import SeenObject, SeenPicture, chroma
from irg_jax.worlds.shapes.render import FULL, coverage


def detail(image: np.ndarray, seen: SeenPicture) -> float:
    """Mean over the objects of the mean of outline, saturation and edge sharpness, in [0, 1].

    1.0 for good renderings, 0.1 to 0.4 for blurred and faded ones without outlines, 0.0 if there is no object.

    Args:
      image: uint8 [S, S, 3].
      seen: what ``read_picture`` found in it.
    """
    if not seen.objects:
        return 0.0
    half = cell_side(image.shape[0]) // 2
    # A square may reach over the edge; what is outside counts as background.
    margin = ((half, half), (half, half), (0, 0))
    contrast = np.pad(seen.background - image.astype(np.float64), margin)
    behind = np.pad(seen.background, margin, mode="edge")
    total = 0.0
    for thing in seen.objects:
        x, y = thing.centre
        square = np.s_[y : y + 2 * half, x : x + 2 * half]
        total += _detail_of(contrast[square], thing, behind[square].mean((0, 1)), image.shape[0])
    return total / len(seen.objects)


def _detail_of(contrast: np.ndarray, thing: SeenObject, behind: np.ndarray, canvas: int) -> float:
    outer, inner, _ = coverage(thing.shape, thing.size, thing.tilt, canvas)
    rim, inside = (part[..., None] / FULL for part in (outer - inner, inner))
    good = (behind - OUTLINE) * rim + (behind - np.array(PALETTE[thing.colour], np.float64)) * inside
    own = chroma(behind - np.array(list(PALETTE.values()), np.float64))[COLOURS.index(thing.colour)]
    measured, ideal = (_measure(part, good, rim[..., 0], inside[..., 0], own) for part in (contrast, good))
    return sum(min(1.0, max(0.0, a / b)) for a, b in zip(measured, ideal, strict=True)) / len(ideal)


def _measure(
    contrast: np.ndarray, good: np.ndarray, rim: np.ndarray, inside: np.ndarray, own: np.ndarray
) -> tuple[float, float, float]:
    """Outline, saturation and edge sharpness of a square, each linear in ``contrast``.

    Args:
      contrast: of the square, float64 [W, W, 3].
      good: the same of the good rendering.
      rim: share of each pixel that is outline there, float64 [W, W].
      inside: share that is colour.
      own: chroma of the object's colour, float64 [3].
    """
    dark = contrast.mean(-1)
    outline = float((dark * rim).sum() / rim.sum() - (dark * inside).sum() / inside.sum())
    saturation = float((chroma(contrast) @ own * inside).sum() / inside.sum())
    # Steps between neighbours, each weighted by the same step of the good rendering.
    sharpness = sum(float((np.diff(contrast, axis=axis) * np.diff(good, axis=axis)).sum()) for axis in (0, 1))
    return outline, saturation, sharpness
