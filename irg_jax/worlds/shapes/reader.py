"""Reads a picture back from its pixels alone: its background, its objects, and the flaws of its execution.

The background is a plane for each channel, fitted to what is not in the foreground. A connected component of the
foreground is an object if some rendering of the world, of any size, tilt and execution, comes close to its pixels; what
does not (noise, smudges, gradients) is ignored. The execution is the one whose renderings come closest to all objects
together, where one with a flaw has to be clearly closer than one without it.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import (
    COLOURS,
    OUTLINE,
    PALETTE,
    SHAPES,
    PlacedObject,
    cell_side,
    centres,
    grid_side,
)
from irg_jax.worlds.shapes.picture import FLAWS, SIZES, STYLES, TILTS, Content
from irg_jax.worlds.shapes.render import coverage
from irg_jax.worlds.shapes.word_reader import read_word

FOREGROUND = 46.0  # distance to the background in levels; noise has up to 38 and a faded yellow 100
MIN_MATCH = 0.85  # cosine similarity to the best rendering
MIN_CHROMA = 8.0  # mean distance to grey in levels; a faded and ragged green cross has 12
MIN_COSINE = 0.8  # cosine of the angle to the nearest colour
MIN_NOISE = 8.0  # standard deviation of the background in levels; a texture has 3, noise 12.7

# Every execution of an object: even or striped, no outlines or with them, sharp, blurred or ragged, vivid or faded.
_EXECUTIONS = tuple(
    frozenset({*inside, *outline, *edge, *fade})
    for inside in ((), ("striped",))
    for outline in ((), ("no outlines",))
    for edge in ((), ("blurred",), ("ragged",))
    for fade in ((), ("faded",))
)
# By how much closer to the pixels the renderings of an execution have to be than those of one with a flaw less, or
# without stripes. In the world's flawed pictures they are so by 1.7 at least, in its striped ones, which may have flaws
# that hide the stripes, by 1.13; a model's attempt at a good picture is often just on the other side.
_HANDICAPS = np.array(
    [1.5 ** len(execution & set(FLAWS)) * 1.1 ** ("striped" in execution) for execution in _EXECUTIONS]
)


class Geometry(NamedTuple):
    """Shape, size (one of ``SIZES``) and tilt (one of ``TILTS``) of an object."""

    shape: str
    size: int
    tilt: int


_GEOMETRIES = tuple(
    Geometry(shape, size, tilt)
    for shape in SHAPES
    for size in SIZES
    for tilt in TILTS
    if tilt == 0 or shape != "circle"
)


@dataclasses.dataclass(frozen=True)
class SeenObject:
    """One object found in a picture; lengths are in pixels.

    Attributes:
      colour: a key of ``PALETTE``.
      shape: one of ``SHAPES``.
      place: the place whose centre is nearest.
      size: one of ``picture.SIZES``.
      tilt: one of ``picture.TILTS``.
      centre: (x, y).
      box: tight box (left, top, right, bottom) of its pixels, right and bottom exclusive.
    """

    colour: str
    shape: str
    place: str
    size: int
    tilt: int
    centre: tuple[int, int]
    box: tuple[int, int, int, int]

    @property
    def thing(self) -> PlacedObject:
        """What a plan would say of it."""
        return PlacedObject(self.colour, self.shape, self.place)


@dataclasses.dataclass(frozen=True)
class SeenPicture:
    """What a picture shows.

    Attributes:
      objects: sorted by place, in reading order.
      flaws: of ``FLAWS``, in their order, as if outlines had been asked for (see ``content``); those of objects are
        none where there is no object.
      background: colour of each pixel without texture and noise, float64 [S, S, 3].
      word: written below the objects; empty for none.
      style: one of ``picture.STYLES``; what has neither outlines nor stripes is flat.
    """

    objects: tuple[SeenObject, ...]
    flaws: tuple[str, ...]
    background: np.ndarray
    word: str = ""
    style: str = STYLES[0]

    def content(self, style: str) -> Content:
        """What thinkings say of a picture that was to have a style: that a flat one has no outlines is no flaw."""
        flaws = tuple(flaw for flaw in self.flaws if not (style == "flat" and flaw == "no outlines"))
        return Content(self.things, flaws, self.word, self.style)

    @property
    def things(self) -> tuple[PlacedObject, ...]:
        """What a plan would say of its objects; of two in the same place, the larger one."""
        at: dict[str, SeenObject] = {}
        for seen in self.objects:
            if seen.place not in at or _area(seen.box) > _area(at[seen.place].box):
                at[seen.place] = seen
        return tuple(seen.thing for seen in at.values())


def read_picture(image: np.ndarray) -> SeenPicture:
    """Reads a picture: one of the world's, or a model's attempt at one.

    Args:
      image: uint8 [S, S, 3], S a multiple of 16 from 32 up.

    Raises:
      UserError: the array is not such an image.
    """
    check_image(image)
    size = image.shape[0]
    background, foreground = _background(image)
    contrast = background - image.astype(np.float64)
    roughness = _roughness(contrast, foreground)
    word, where = read_word(contrast, background, roughness)
    masks = list(_candidates(foreground & ~where, size))
    # What hangs loosely around an object, such as the pieces of a ragged edge, belongs to it.
    others = np.logical_or.reduce([where, *masks])
    found = [
        candidate
        for mask in masks
        if (candidate := _Candidate.find(mask, others & ~mask, contrast, background, 3 * roughness**2))
    ]
    manner: set[str] = set()
    objects: list[SeenObject] = []
    if found:
        total = np.sum([candidate.distances.min(0) / candidate.energy for candidate in found], axis=0)
        execution = int((total * _HANDICAPS).argmin())
        manner |= _EXECUTIONS[execution]
        objects = [seen for candidate in found if (seen := candidate.seen(execution, size))]
    if roughness > MIN_NOISE:
        manner.add("noisy")
    order = list(centres(size))
    objects.sort(key=lambda seen: (order.index(seen.place), seen.box))
    style = "striped" if "striped" in manner else "flat" if "no outlines" in manner else "outlined"
    return SeenPicture(tuple(objects), tuple(flaw for flaw in FLAWS if flaw in manner), background, word, style)


def read_objects(image: np.ndarray) -> tuple[SeenObject, ...]:
    """The objects of a picture, see ``read_picture``."""
    return read_picture(image).objects


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


def _background(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The background, float64 [S, S, 3], and which pixels are in the foreground, bool [S, S]."""
    size = image.shape[0]
    pixels = image.astype(np.float64)
    at = (2 * np.arange(size) + 1 - size) / size
    x, y = (part.ravel() for part in np.meshgrid(at, at))
    basis = np.stack([np.ones_like(x), x, y], 1)
    edge = np.ones((size, size), bool)
    edge[2:-2, 2:-2] = False
    # Objects keep away from the edge, where the background starts from; medians, in case that a model's do not.
    plane = np.broadcast_to(np.median(pixels[edge], axis=0), pixels.shape)
    for _ in range(3):
        foreground = np.square(plane - pixels).sum(-1) > FOREGROUND**2
        behind = ~_grow(foreground, size // 16).ravel()
        if behind.sum() < size:  # hardly any background
            break
        weights, *_ = np.linalg.lstsq(basis[behind], pixels.reshape(-1, 3)[behind], rcond=None)
        plane = np.clip((basis @ weights).reshape(pixels.shape), 0, 255)
    return plane, np.square(plane - pixels).sum(-1) > FOREGROUND**2


def _grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    """``mask`` and all within so many pixels of it."""
    side = mask.shape[0]
    for _ in range(pixels):
        padded = np.pad(mask, 1)
        mask = np.logical_or.reduce([padded[i : i + side, j : j + side] for i in range(3) for j in range(3)])
    return mask


def _roughness(contrast: np.ndarray, foreground: np.ndarray) -> float:
    """The standard deviation of the background around its plane, in levels of grey."""
    behind = ~_grow(foreground, foreground.shape[0] // 16)
    return float(contrast.mean(-1)[behind].std()) if behind.any() else 0.0


def _candidates(foreground: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The masks that are large enough for an object: components, split along the cells' borders if they fill two cells.

    Masks that follow the edge of the canvas, or of a cell after a split, are left out: gradients do, objects do not.
    """
    cell, grid = cell_side(size), grid_side(size)
    enough = cell * cell // 12
    borders = [i * size // grid for i in range(grid + 1)]
    spans = [slice(*pair) for pair in itertools.pairwise(borders)]
    areas = [(rows, columns) for rows in spans for columns in spans]
    for mask in _components(foreground):
        if mask.sum() < enough:
            continue
        filled = [area for area in areas if mask[area].sum() >= enough]
        if len(filled) < 2:
            if _on_the_edge(mask) <= cell:
                yield mask
            continue
        for area in filled:
            for part in _components(mask[area]):
                if part.sum() >= enough and _on_the_edge(part) <= cell:
                    own = np.zeros_like(mask)
                    own[area] = part
                    yield own


def _components(foreground: np.ndarray) -> Iterator[np.ndarray]:
    """The masks of the 4-connected components, bool [H, W] each."""
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


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _on_the_edge(mask: np.ndarray) -> int:
    """How many pixels of the mask lie on the edge of its array."""
    return int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())


def _colour(contrast: np.ndarray, behind: np.ndarray) -> str | None:
    """The colour nearest to the mean direction of the pixels [N, 3]; None if they are grey or between two colours."""
    mean = chroma(contrast).mean(0)
    length = float(np.linalg.norm(mean))
    if length < MIN_CHROMA:
        return None
    known = chroma(behind - np.array(list(PALETTE.values()), np.float64))
    cosines = known @ mean / (np.linalg.norm(known, axis=1) * length)
    best = int(cosines.argmax())
    return COLOURS[best] if cosines[best] >= MIN_COSINE else None


@functools.cache
def _shares(size: int) -> tuple[np.ndarray, np.ndarray]:
    """How much of each pixel is outline and how much is colour, in every execution of every geometry.

    Both are float64 [geometries·executions, W·W] in 0..1.
    """
    rims, insides = [], []
    for geometry in _GEOMETRIES:
        for flaws in _EXECUTIONS:
            cover = coverage(*geometry, size, flaws - {"faded"})
            scale = cover.full * (2 if "faded" in flaws else 1)
            rims.append((cover.outer - cover.inner).ravel() / scale)
            insides.append(cover.inner.ravel() / scale)
    return np.array(rims), np.array(insides)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """What may be an object: how far the renderings of every geometry in every execution are from its pixels.

    Attributes:
      colour: its colour.
      box: of its mask.
      energy: squared norm of its pixels' contrast.
      distances: squared distance at the best position, float64 [geometries, executions].
      matches: cosine similarity there, float64 [geometries, executions].
      corners: (row, column) of the top left pixel of the square there, int64 [geometries, executions, 2].
    """

    colour: str
    box: tuple[int, int, int, int]
    energy: float
    distances: np.ndarray
    matches: np.ndarray
    corners: np.ndarray

    @classmethod
    def find(
        cls, mask: np.ndarray, others: np.ndarray, contrast: np.ndarray, background: np.ndarray, noise: float
    ) -> "_Candidate | None":
        """Compares a component with all renderings of its colour; None if it is of no colour.

        Args:
          mask: of the component, bool [S, S].
          others: of what does not belong to it.
          contrast: of the picture to its background, float64 [S, S, 3].
          background: float64 [S, S, 3].
          noise: squared contrast that a pixel of the background has on average.
        """
        size = mask.shape[0]
        cell = cell_side(size)
        behind = background[mask].mean(0)
        colour = _colour(contrast[mask], behind)
        if colour is None:
            return None
        box = _box(mask)
        # Noise at the edge moves the box, so the square is searched around the box's centre.
        reach = cell // 8
        row, column = (box[1] + box[3] - cell) // 2 - reach, (box[0] + box[2] - cell) // 2 - reach
        own = np.pad(np.where(others[..., None], 0.0, contrast), ((cell, cell), (cell, cell), (0, 0)))
        window = own[row + cell : row + 2 * cell + 2 * reach, column + cell : column + 2 * cell + 2 * reach]
        # Squared distances by their expansion, |pixels|² − 2·overlap + |rendering|².
        energy = float(np.square(window).sum())
        dark, bright = behind - OUTLINE, behind - np.array(PALETTE[colour], np.float64)
        rim, inside = _shares(size)
        norms = _norms(size, float(dark @ dark), float(bright @ bright), float(dark @ bright))
        squares = np.lib.stride_tricks.sliding_window_view(window, (cell, cell), (0, 1))
        steps = squares.shape[:2]
        flat = squares.transpose(3, 4, 0, 1, 2).reshape(cell * cell, -1, 3)
        overlap = rim @ (flat @ dark) + inside @ (flat @ bright)
        best = overlap.argmax(1)
        overlap = np.take_along_axis(overlap, best[:, None], 1)[:, 0]
        signal = max(energy - noise * (window.shape[0] * window.shape[1] - mask.sum()), 0.5 * energy)
        kinds = (len(_GEOMETRIES), len(_EXECUTIONS))
        corners = np.stack(np.unravel_index(best, steps), 1) + (row, column)
        return cls(
            colour,
            box,
            energy,
            (energy - 2 * overlap + norms).reshape(kinds),
            (overlap / np.sqrt(norms * signal)).reshape(kinds),
            corners.reshape(*kinds, 2),
        )

    def seen(self, execution: int, size: int) -> SeenObject | None:
        """The object in this execution of the whole picture; None if no rendering comes close to it."""
        best = int(self.distances[:, execution].argmin())
        if self.matches[best].max() < MIN_MATCH:
            return None
        geometry, half = _GEOMETRIES[best], cell_side(size) // 2
        row, column = self.corners[best, execution].tolist()
        at = column + half, row + half
        place = min(centres(size).items(), key=lambda item: (item[1][0] - at[0]) ** 2 + (item[1][1] - at[1]) ** 2)[0]
        return SeenObject(self.colour, geometry.shape, place, geometry.size, geometry.tilt, at, self.box)


def _norms(size: int, dark: float, bright: float, both: float) -> np.ndarray:
    """Squared norm of the contrast of every rendering, from the products of its two colours' contrasts."""
    rims, insides, overlaps = _square_sums(size)
    return rims * dark + insides * bright + 2 * overlaps * both


@functools.cache
def _square_sums(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rim, inside = _shares(size)
    return np.square(rim).sum(1), np.square(inside).sum(1), (rim * inside).sum(1)
