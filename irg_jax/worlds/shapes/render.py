"""Images from objects, in integer arithmetic only, so that they are bit-identical on every platform."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from irg_jax.worlds.shapes.objects import BACKGROUND, OUTLINE, PALETTE, PLACES, SIZE, PlacedObject

SAMPLES = 8  # samples per pixel along each axis
FULL = SAMPLES * SAMPLES  # coverage of a pixel that is completely inside


def _inside(shape: str, x: np.ndarray, y: np.ndarray, inset: int) -> np.ndarray:
    """Which sample points are in ``shape`` shrunk by ``inset``.

    Lengths are in 1/16 of a pixel of the 32-pixel canvas. A slanted edge moves by more than the inset along its axis:
    by sqrt(5) times for the triangle (about 9/4) and sqrt(2) times for the diamond (about 23/16).
    """
    across, down = np.abs(x), np.abs(y)
    if shape == "circle":
        return x * x + y * y <= (96 - inset) ** 2
    if shape == "square":
        return np.maximum(across, down) <= 96 - inset
    if shape == "triangle":
        return (y <= 96 - inset) & (2 * across <= y + 104 - inset * 9 // 4)
    if shape == "diamond":
        return across + down <= 108 - inset * 23 // 16
    return (np.minimum(across, down) <= 34 - inset) & (np.maximum(across, down) <= 98 - inset)


@functools.cache
def coverage(shape: str, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """How much of each pixel of a cell the shape covers, with and without its outline.

    Args:
      shape: one of ``SHAPES``.
      cell: side of the cell in pixels, half a canvas.

    Returns:
      (outer, inner), int64 [cell, cell] in 0..FULL; the outline covers ``outer - inner``.
    """
    # Cells other than 16 pixels wide round their sample points to the 1/16-pixel grid of the 16-pixel cell.
    points = (2 * np.arange(SAMPLES * cell, dtype=np.int64) + 1 - SAMPLES * cell) * 16 // cell
    x, y = points[None, :], points[:, None]
    outer, inner = (
        _inside(shape, x, y, inset).reshape(cell, SAMPLES, cell, SAMPLES).sum((1, 3), dtype=np.int64)
        for inset in (0, 16)
    )
    return outer, inner


@functools.cache
def good_cell(colour: str, shape: str, cell: int) -> np.ndarray:
    """The good rendering of one object: saturated, outlined, sharp. uint8 [cell, cell, 3], read-only."""
    outer, inner = (part[..., None] for part in coverage(shape, cell))
    total = BACKGROUND * (FULL - outer) + OUTLINE * (outer - inner) + np.array(PALETTE[colour]) * inner
    return _read_only((total + FULL // 2) // FULL)


@functools.cache
def weak_cell(colour: str, shape: str, cell: int) -> np.ndarray:
    """The weak rendering of one object: blurred, half washed out, no outline. uint8 [cell, cell, 3], read-only."""
    outer = coverage(shape, cell)[0]
    width = 2 * max(1, cell // 16) + 1
    for _ in range(2):
        padded = np.pad(outer, width // 2)
        rows = np.sum([padded[i : i + cell] for i in range(width)], axis=0)
        outer = np.sum([rows[:, i : i + cell] for i in range(width)], axis=0)
    full = FULL * width**4
    share = outer[..., None]
    total = BACKGROUND * (2 * full - share) + np.array(PALETTE[colour]) * share
    return _read_only((total + full) // (2 * full))


def _read_only(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.astype(np.uint8)
    pixels.flags.writeable = False
    return pixels


def _render(objects: Sequence[PlacedObject], size: int, draw: Callable[[str, str, int], np.ndarray]) -> np.ndarray:
    image = np.empty((size, size, 3), np.uint8)
    image[:] = BACKGROUND
    cell = size // 2
    for thing in objects:
        row, column = PLACES[thing.place]
        pixels = draw(thing.colour, thing.shape, cell)
        image[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = pixels
    return image


def render_good(objects: Sequence[PlacedObject], size: int = SIZE) -> np.ndarray:
    """The good image of ``objects``, uint8 [size, size, 3]; ``size`` is a multiple of 16 from 32 up."""
    return _render(objects, size, good_cell)


def render_weak(objects: Sequence[PlacedObject], size: int = SIZE) -> np.ndarray:
    """The weak image of ``objects``, uint8 [size, size, 3]; ``size`` is a multiple of 16 from 32 up."""
    return _render(objects, size, weak_cell)
