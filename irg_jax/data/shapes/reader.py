"""Reads a picture exactly: which objects stand where, from the pixels alone.

A component of connected foreground pixels takes its colour from the direction in which it leaves the background, and is
an object where it matches the good or the weak rendering of some shape in that colour. Whatever matches none (noise,
smudges, gradients) is no object.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from irg_jax.data.shapes.objects import BACKGROUND, COLOURS, PALETTE, PLACES, SHAPES
from irg_jax.data.shapes.render import good_cell, weak_cell
from irg_jax.errors import UserError

FOREGROUND = 48.0  # levels from the background: four times the noise to bear, under half of a washed-out yellow
MIN_MATCH = 0.85  # cosine to the best rendering
MIN_CHROMA = 18.0  # mean levels off grey; a weak green cross has 40
MIN_COSINE = 0.8  # of the angle to the nearest colour; neighbours lie 25 degrees apart or more


@dataclasses.dataclass(frozen=True)
class SeenObject:
    """One object found in a picture; lengths are in pixels.

    Attributes:
      colour: a key of ``PALETTE``.
      shape: one of ``SHAPES``.
      place: the key of ``PLACES`` whose cell is nearest.
      corner: (row, column) of the top left pixel of the cell that the object fills; may lie outside the picture.
      box: tight box (left, top, right, bottom) of its pixels, right and bottom exclusive.
    """

    colour: str
    shape: str
    place: str
    corner: tuple[int, int]
    box: tuple[int, int, int, int]


def read_picture(image: np.ndarray) -> tuple[SeenObject, ...]:
    """All objects of a picture, from the northwest on.

    Args:
      image: uint8 [S, S, 3], S a multiple of 16 from 32 up: good, weak, or a model's attempt at either.

    Returns:
      The objects seen; () for a picture without any.

    Raises:
      UserError: the array is no such picture.
    """
    check_picture(image)
    cell = image.shape[0] // 2
    contrast = BACKGROUND - image.astype(np.float64)
    foreground = _foreground(contrast)
    found = []
    for mask in _pieces(foreground):
        seen = _recognise(mask, foreground, contrast, cell)
        if seen:
            found.append(seen)
    return tuple(sorted(found, key=lambda seen: (seen.corner, seen.box)))


def check_picture(image: np.ndarray) -> None:
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
            f"shapes: cannot read a picture {image.dtype} {list(shape)}; give uint8 [S, S, 3] with S = 32, 48, 64, …"
        )


def chroma(contrast: np.ndarray) -> np.ndarray:
    """``contrast`` [..., 3] without its grey part, so that dark outlines and shading do not count as colour."""
    return contrast - contrast.mean(-1, keepdims=True)


@functools.cache
def palette_chroma() -> np.ndarray:
    """The chroma of every colour of the palette against the background, float64 [6, 3]."""
    return chroma(BACKGROUND - np.array(list(PALETTE.values()), np.float64))


def _foreground(contrast: np.ndarray) -> np.ndarray:
    return np.square(contrast).sum(-1) > FOREGROUND**2


def _pieces(foreground: np.ndarray) -> Iterator[np.ndarray]:
    """The candidate masks: components, cut along the middle of the canvas where noise has bridged two cells.

    What touches the edge of the canvas, or of its quarter after a cut, is left out: objects never do, gradients do.
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
    width = foreground.shape[1] + 2  # a margin on all sides spares the flood any bounds check
    left_over = np.pad(foreground, 1).ravel().tolist()
    for start in np.flatnonzero(left_over).tolist():
        if not left_over[start]:
            continue
        left_over[start] = False
        members = [start]
        for pixel in members:  # grows while it is walked
            for neighbour in (pixel - width, pixel - 1, pixel + 1, pixel + width):
                if left_over[neighbour]:
                    left_over[neighbour] = False
                    members.append(neighbour)
        mask = np.zeros(len(left_over), bool)
        mask[members] = True
        yield mask.reshape(-1, width)[1:-1, 1:-1]


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@functools.cache
def _templates(colour: str, cell: int) -> np.ndarray:
    """The contrast of the good, then of the weak rendering of every shape, each of length 1: [2 * 5, cell, cell, 3]."""
    pictures = np.stack([draw(colour, shape, cell) for draw in (good_cell, weak_cell) for shape in SHAPES])
    contrast = BACKGROUND - pictures.astype(np.float64)
    return contrast / np.sqrt(np.square(contrast).sum((1, 2, 3), keepdims=True))


def _recognise(mask: np.ndarray, foreground: np.ndarray, contrast: np.ndarray, cell: int) -> SeenObject | None:
    if mask.sum() < cell * cell // 8:
        return None
    colour = _colour(contrast[mask])
    if colour is None:
        return None
    box = _box(mask)
    # Noise on the rim moves the box, so the cell is sought around the box's middle.
    reach = cell * 3 // 16
    row = (box[1] + box[3] - cell) // 2 - reach
    column = (box[0] + box[2] - cell) // 2 - reach
    own = np.pad(np.where((foreground & ~mask)[..., None], 0.0, contrast), ((cell, cell), (cell, cell), (0, 0)))
    window = own[row + cell : row + 2 * cell + 2 * reach, column + cell : column + 2 * cell + 2 * reach]
    shifted = np.lib.stride_tricks.sliding_window_view(window, (cell, cell), (0, 1))
    # Everything nearby counts against a match, also what the shifted cell leaves out.
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
    """The colour whose direction the pixels [N, 3] share; None where they are grey or between the colours."""
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
