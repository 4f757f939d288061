"""How detailed the objects of a picture are, relative to the good rendering of each of them."""

import numpy as np

from irg_jax.worlds.shapes.objects import OUTLINE, PALETTE, cell_side
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
    # The good rendering is the sum of the same without its outline and of what the outline adds.
    own = behind - np.array(PALETTE[thing.colour], np.float64)
    bare = own * outer[..., None] / FULL
    outline = (behind - OUTLINE - own) * (outer - inner)[..., None] / FULL
    # How much of both is there, by least squares: a bare object has no outline, however dark its colour is.
    parts = np.stack([outline.ravel(), bare.ravel()], 1)
    outlined = np.linalg.lstsq(parts, contrast.ravel(), rcond=None)[0][0]
    measured, ideal = (_measure(part, bare + outline, inner / FULL, chroma(own)) for part in (contrast, bare + outline))
    shares = (outlined, *(a / b for a, b in zip(measured, ideal, strict=True)))
    return sum(min(1.0, max(0.0, float(share))) for share in shares) / len(shares)


def _measure(contrast: np.ndarray, good: np.ndarray, inside: np.ndarray, own: np.ndarray) -> tuple[float, float]:
    """Saturation and edge sharpness of a square, each linear in ``contrast``.

    Args:
      contrast: of the square, float64 [W, W, 3].
      good: the same of the good rendering.
      inside: share of each pixel that is colour there, float64 [W, W].
      own: chroma of the object's colour, float64 [3].
    """
    saturation = float((chroma(contrast) @ own * inside).sum() / inside.sum())
    # Steps between neighbours, each weighted by the same step of the good rendering.
    sharpness = sum(float((np.diff(contrast, axis=axis) * np.diff(good, axis=axis)).sum()) for axis in (0, 1))
    return saturation, sharpness
