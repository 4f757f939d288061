"""Pictures to pixels, in integer arithmetic only, so that they are bit-identical on every platform."""

import functools
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from irg_jax.worlds.shapes.lettering import ink
from irg_jax.worlds.shapes.objects import OUTLINE, PALETTE, SIZE, cell_side, centres, grid_side
from irg_jax.worlds.shapes.picture import Background, Drawing, Picture

SAMPLES = 8  # samples per pixel along each axis
FULL = SAMPLES * SAMPLES  # coverage of a pixel that is completely inside
NOISE = 22  # levels by which noise changes a pixel at most
TEXTURE = 3  # levels by which a texture does
STRIPE = 3  # eighths of the colour that the lighter stripes of a striped object lack

# Cosine and sine of each tilt in 1/4096.
_TURNS = {0: (4096, 0), 15: (3956, 1060)}


def _inside(shape: str, x: np.ndarray, y: np.ndarray, inset: int) -> np.ndarray:
    """Which sample points are in ``shape`` shrunk by ``inset``.

    Lengths are in 1/256 of a pixel of a 16-pixel place, for the largest object that it could hold. A slanted edge moves
    by more than the inset along its axis: by sqrt(5) times for the triangle (about 9/4) and sqrt(2) times for the
    diamond (about 23/16).
    """
    across, down = np.abs(x), np.abs(y)
    if shape == "circle":
        return x * x + y * y <= (1536 - inset) ** 2
    if shape == "square":
        return np.maximum(across, down) <= 1456 - inset
    if shape == "triangle":
        return (y <= 1536 - inset) & (2 * across <= y + 1664 - inset * 9 // 4)
    if shape == "diamond":
        return across + down <= 1728 - inset * 23 // 16
    return (np.minimum(across, down) <= 640 - inset) & (np.maximum(across, down) <= 1568 - inset)


class Coverage(NamedTuple):
    """How much of each pixel of a square an object covers.

    Attributes:
      outer: with its outline, int64 [W, W] in 0..full, W = ``cell_side(canvas)``.
      inner: without it.
      full: of a pixel that is completely inside.
    """

    outer: np.ndarray
    inner: np.ndarray
    full: int


@functools.cache
def coverage(shape: str, size: int, tilt: int, canvas: int, manner: frozenset[str] = frozenset()) -> Coverage:
    """The coverage of the square around the centre of an object that is drawn in some manner.

    Args:
      shape: one of ``SHAPES``.
      size: one of ``SIZES``.
      tilt: one of ``TILTS``.
      canvas: side of the canvas in pixels.
      manner: of ``STYLES``, and of ``FLAWS`` the first three, which are those of edges and outlines.
    """
    outer, inner = _sharp(shape, size, tilt, canvas)
    full = FULL
    if "ragged" in manner:
        outer, inner = _rag(outer, inner)
    if manner & {"no outlines", "flat"}:
        inner = outer
    if "striped" in manner:
        # Every other stripe lets through what is behind: a lighter tone of the same colour on any background.
        stripe = np.arange(len(inner))[:, None] // max(2, len(inner) // 8) % 2
        gap = stripe * inner * STRIPE // 8
        outer, inner = outer - gap, inner - gap
    if "blurred" in manner:
        width = 2 * max(1, cell_side(canvas) // 16) + 1
        outer, inner, full = _blur(outer, width), _blur(inner, width), FULL * width**4
    for part in (outer, inner):
        part.flags.writeable = False
    return Coverage(outer, inner, full)


@functools.cache
def _sharp(shape: str, size: int, tilt: int, canvas: int) -> tuple[np.ndarray, np.ndarray]:
    cell = cell_side(canvas)
    points = 2 * np.arange(SAMPLES * cell, dtype=np.int64) + 1 - SAMPLES * cell  # in 1/16 of a pixel
    points = points * 16 * 16 * grid_side(canvas) * 32 // (canvas * size)
    x, y = points[None, :], points[:, None]
    cosine, sine = _TURNS[tilt]
    x, y = (x * cosine + y * sine) // 4096, (y * cosine - x * sine) // 4096
    outer, inner = (
        _inside(shape, x, y, inset).reshape(cell, SAMPLES, cell, SAMPLES).sum((1, 3), dtype=np.int64)
        for inset in (0, 256)
    )
    return outer, inner


def _blur(part: np.ndarray, width: int) -> np.ndarray:
    """Sums over squares of ``width`` pixels, twice."""
    side = len(part)
    for _ in range(2):
        padded = np.pad(part, width // 2)
        rows = np.sum([padded[i : i + side] for i in range(width)], axis=0)
        part = np.sum([rows[:, i : i + side] for i in range(width)], axis=0)
    return part


def _rag(outer: np.ndarray, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bites every other piece out of the edge, and fills it up in between."""
    side = len(outer)
    padded = np.pad(outer, 1)
    around = [padded[1 + i : 1 + i + side, 1 + j : 1 + j + side] for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    edge = (np.maximum.reduce([outer, *around]) > FULL // 2) & (np.minimum.reduce([outer, *around]) < FULL // 2)
    x, y = np.arange(side)[None, :], np.arange(side)[:, None]
    bitten = (x * 7 + y * 3 + x * y) % 4 < 2
    outer = np.where(edge, np.where(bitten, 0, FULL), outer)
    return outer, np.minimum(np.where(edge, 0, inner), outer)


def backdrop(background: Background, size: int = SIZE) -> np.ndarray:
    """The background alone, int64 [size, size, 3]."""
    at = 2 * np.arange(size, dtype=np.int64) + 1 - size
    x, y = at[None, :, None], at[:, None, None]
    slope = (background.slope[0] * x + background.slope[1] * y) // (2 * size)
    pixels = np.array(background.tint, np.int64) + slope + TEXTURE * _texture(background.texture, size)[..., None]
    return np.clip(pixels, 0, 255)


def _texture(name: str, size: int) -> np.ndarray:
    """−1 or 1 (plain: 0) for each pixel of a canvas, int64 [size, size]."""
    # Half a period, in pixels.
    at = np.arange(size, dtype=np.int64) // max(1, size // 16)
    x, y = at[None, :], at[:, None]
    if name == "stripes":
        return np.where((x + y) % 2, 1, -1)
    if name == "checks":
        return np.where((x // 2 + y // 2) % 2, 1, -1)
    if name == "dots":
        return np.where((x % 2 == 0) & (y % 2 == 0), 1, -1)
    return np.zeros((size, size), np.int64)


def render(picture: Picture, size: int = SIZE) -> np.ndarray:
    """The pixels of a picture, uint8 [size, size, 3]; ``size`` is a multiple of 16 from 32 up."""
    canvas = backdrop(picture.background, size)
    if "noisy" in picture.flaws:
        rng = np.random.Generator(np.random.Philox(key=np.array([picture.noise, 0], np.uint64)))
        canvas = np.clip(canvas + rng.integers(-NOISE, NOISE + 1, (size, size, 1)), 0, 255)
    half = cell_side(size) // 2
    # A margin, for squares that reach over the edge of the canvas.
    canvas = np.pad(canvas, ((half, half), (half, half), (0, 0)))
    manner = frozenset({*picture.flaws, picture.style})
    for drawing in picture.drawings:
        x, y = centre(drawing, size)
        square = canvas[y : y + 2 * half, x : x + 2 * half]
        square[:] = paint(square, drawing, size, manner)
    return write(canvas[half:-half, half:-half], picture.word, manner).astype(np.uint8)


def centre(drawing: Drawing, size: int) -> tuple[int, int]:
    """The centre (x, y) of an object in pixels of a canvas of ``size``."""
    unit = cell_side(size) / 16
    across, down = centres(size)[drawing.thing.place]
    return across + int(drawing.offset[0] * unit), down + int(drawing.offset[1] * unit)


def paint(behind: np.ndarray, drawing: Drawing, size: int, manner: Collection[str]) -> np.ndarray:
    """An object over what is behind it, int64 [W, W, 3], W = ``cell_side(size)``; ``manner`` has flaws and a style."""
    edges = frozenset(manner) & {"no outlines", "blurred", "ragged", "flat", "striped"}
    outer, inner, full = coverage(drawing.thing.shape, drawing.size, drawing.tilt, size, edges)
    outer, inner = outer[..., None], inner[..., None]
    own = OUTLINE * (outer - inner) + np.array(PALETTE[drawing.thing.colour]) * inner
    if "faded" in manner:
        full *= 2
    return (behind * (full - outer) + own + full // 2) // full


def write(behind: np.ndarray, word: str, manner: Collection[str]) -> np.ndarray:
    """A word in dark ink over a canvas, int64 [size, size, 3]; only fading reaches it."""
    if not word:
        return behind
    inked, full = ink(word, len(behind))[..., None], 2 if "faded" in manner else 1
    return (behind * (full - inked) + OUTLINE * inked + full // 2) // full
