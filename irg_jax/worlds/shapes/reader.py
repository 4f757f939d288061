"""Detects the objects of an image and their places from the pixels alone.

The colour of a connected component of foreground pixels is the direction of its contrast to the background. It is an
object if it matches the good or the weak rendering of some shape in that colour; anything else (noise, smudges,
gradients) is ignored.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import BACKGROUND, COLOURS, PALETTE, PLACES, SHAPES
from irg_jax.worlds.shapes.render import good_cell, weak_cell

FOREGROUND = 48.0  # distance to the background in levels: four times the noise to tolerate, under half a weak yellow
MIN_MATCH = 0.85  # cosine similarity to the best rendering
MIN_CHROMA = 18.0  # mean distance to grey in levels; a weak green cross has 40
MIN_COSINE = 0.8  # cosine of the angle to the nearest colour; neighbours are 25 degrees apart or more


@dataclasses.dataclass(frozen=True)
class SeenObject:
    """One object found in an image; lengths are in pixels.

    Attributes:
      colour: a key of ``PALETTE``.
      shape: one of ``SHAPES``.
      place: the key of ``PLACES`` whose cell is nearest.
      corner: (row, column) of the top left pixel of the cell that the object fills; may be outside the image.
      box: tight box (left, top, right, bottom) of its pixels, right and bottom exclusive.
    """

    colour: str
    shape: str
    place: str
    corner: tuple[int, int]
    box: tuple[int, int, int, int]


def read_image(image: np.ndarray) -> tuple[SeenObject, ...]:
    """All objects of an image, sorted by position from the northwest.

    Args:
      image: uint8 [S, S, 3], S a multiple of 16 from 32 up: good, weak, or a model's attempt at either.

    Returns:
      The objects found; () for an image without any.

    Raises:
      UserError: the array is not such an image.
    """
    check_image(image)
    cell = image.shape[0] // 2
    contrast = BACKGROUND - image.astype(np.float64)
    foreground = _foreground(contrast)
    found = []
    for mask in _candidates(foreground):
        seen = _classify(mask, foreground, contrast, cell)
        if seen:
            found.append(seen)
    return tuple(sorted(found, key=lambda seen: (seen.corner, seen.box)))


def check_image(image: np.ndarray) -> None:
    """Raises UserError unless ``image`` is uint8 [S, S, 3] with S a multiple of 16 from 32 up."""
    shape = image.shape
    if (
        image.dtype != np.uint8
        or len(shape) != 3
        or shape[0] != shape[1]
        or shape[2] != 3
        or shape[0] % 16
        or shape[0] < 32
    ):
        raise UserError(
            f"shapes: cannot read an image {image.dtype} {list(shape)}; give uint8 [S, S, 3] with S = 32, 48, 64, …"
        )


def chroma(contrast: np.ndarray) -> np.ndarray:
    """``contrast`` [..., 3] without its grey part, so that dark outlines and shading do not affect the colour."""
    return contrast - contrast.mean(-1, keepdims=True)


@functools.cache
def palette_chroma() -> np.ndarray:
    """The chroma of every colour of the palette against the background, float64 [6, 3]."""
    return chroma(BACKGROUND - np.array(list(PALETTE.values()), np.float64))


def _foreground(contrast: np.ndarray) -> np.ndarray:
    return np.square(contrast).sum(-1) > FOREGROUND**2


def _candidates(foreground: np.ndarray) -> Iterator[np.ndarray]:
    """The candidate masks: components, split along the middle of the canvas if noise connects two cells.

    Masks that touch the edge of the canvas, or of a cell after a split, are left out: gradients do, objects do not.
    """
    cell = foreground.shape[0] // 2
    for mask in _components(foreground):
        left, top, right, bottom = _box(mask)
        if max(right - left, bottom - top) <= cell * 5 // 4:
            if _on_the_edge(mask) <= cell // 4:
                yield mask
            continue
        for row, column in PLACES.values():
            area = np.s_[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            for part in _components(mask[area]):
                if _on_the_edge(part) <= cell // 4:
                    quarter = np.zeros_like(mask)
                    quarter[area] = part
                    yield quarter


def _components(foreground: np.ndarray) -> Iterator[np.ndarray]:
    """The masks of the 4-connected components, bool [S, S] each."""
    width = foreground.shape[1] + 2  # a margin on all sides, so that the flood fill needs no bounds check
    unvisited = np.pad(foreground, 1).ravel().tolist()
    for start in np.flatnonzero(unvisited).tolist():
        if not unvisited[start]:
            continue
        unvisited[start] = False
        members = [start]
        for pixel in members:  # grows during the iteration
            for neighbour in (pixel - width, pixel - 1, pixel + 1, pixel + width):
                if unvisited[neighbour]:
                    unvisited[neighbour] = False
                    members.append(neighbour)
        mask = np.zeros(len(unvisited), bool)
        mask[members] = True
        yield mask.reshape(-1, width)[1:-1, 1:-1]


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@functools.cache
def _templates(colour: str, cell: int) -> np.ndarray:
    """Contrast of the good, then of the weak rendering of every shape, each with norm 1, [2 * 5, cell, cell, 3]."""
    renderings = np.stack([draw(colour, shape, cell) for draw in (good_cell, weak_cell) for shape in SHAPES])
    contrast = BACKGROUND - renderings.astype(np.float64)
    return contrast / np.sqrt(np.square(contrast).sum((1, 2, 3), keepdims=True))


def _classify(mask: np.ndarray, foreground: np.ndarray, contrast: np.ndarray, cell: int) -> SeenObject | None:
    if mask.sum() < cell * cell // 8:
        return None
    colour = _colour(contrast[mask])
    if colour is None:
        return None
    box = _box(mask)
    # Noise at the edge moves the box, so the cell is searched around the box's centre.
    reach = cell * 3 // 16
    row = (box[1] + box[3] - cell) // 2 - reach
    column = (box[0] + box[2] - cell) // 2 - reach
    own = np.pad(np.where((foreground & ~mask)[..., None], 0.0, contrast), ((cell, cell), (cell, cell), (0, 0)))
    window = own[row + cell : row + 2 * cell + 2 * reach, column + cell : column + 2 * cell + 2 * reach]
    shifted = np.lib.stride_tricks.sliding_window_view(window, (cell, cell), (0, 1))
    # Normalized by everything nearby, so that pixels outside the shifted cell count against a match.
    match = np.tensordot(_templates(colour, cell), shifted, ((1, 2, 3), (3, 4, 2))) / np.linalg.norm(window)
    best, down, across = np.unravel_index(int(match.argmax()), match.shape)
    if match[best, down, across] < MIN_MATCH:
        return None
    corner = (row + int(down), column + int(across))
    return SeenObject(colour, SHAPES[best % len(SHAPES)], _nearest_place(corner, cell), corner, box)


def _on_the_edge(mask: np.ndarray) -> int:
    """How many pixels of the mask lie on the edge of its array."""
    return int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())


def _colour(contrast: np.ndarray) -> str | None:
    """The colour nearest to the mean direction of the pixels [N, 3]; None if they are grey or between two colours."""
    mean = chroma(contrast).mean(0)
    length = float(np.linalg.norm(mean))
    if length < MIN_CHROMA:
        return None
    known = palette_chroma()
    cosines = known @ mean / (np.linalg.norm(known, axis=1) * length)
    best = int(cosines.argmax())
    return COLOURS[best] if cosines[best] >= MIN_COSINE else None


def _nearest_place(corner: tuple[int, int], cell: int) -> str:
    row, column = (min(1, max(0, (2 * start + cell) // (2 * cell))) for start in corner)
    return next(place for place, where in PLACES.items() if where == (row, column))
