"""The improved picture of given pixels: what ``picture.improve`` is for the world's pictures, for a model's attempt."""

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import cell_side, centres
from irg_jax.worlds.shapes.picture import OFFSETS, TEXTURES, Background, Drawing, Picture
from irg_jax.worlds.shapes.reader import FOREGROUND, SeenObject, SeenPicture, read_picture
from irg_jax.worlds.shapes.render import backdrop, paint, write
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.scene_pictures import improved_picture

TOLERANCE = 5.0  # levels by which a pixel of the background may be off it and still stay; a texture has 3


def repaint(image: np.ndarray, scene: Scene) -> np.ndarray:
    """The picture of the plan of ``scene`` that keeps all that is right in ``image``.

    What is kept, moved, added and left out follows ``picture.improve``. Objects are painted anew, at the size, the tilt
    and the centre that the reader finds. The background keeps its pixels, except where objects, smudges or noise are.

    Args:
      image: uint8 [S, S, 3], S a multiple of 16 from 32 up; any picture.
      scene: with what it shall show.

    Returns:
      uint8 [S, S, 3].

    Raises:
      UserError: the array is not such an image, or has no place for a planned object.
    """
    return repaint_seen(image, read_picture(image), scene)


def repaint_seen(image: np.ndarray, seen: SeenPicture, scene: Scene) -> np.ndarray:
    """``repaint`` of an image that has been read already."""
    size = image.shape[0]
    for thing in scene.objects:
        if thing.place not in centres(size):
            raise UserError(f"shapes: a picture of {size} pixels has no place {thing.place!r}; give a larger one")
    # Offsets are in pixels here, which are not always a multiple of what a ``Drawing`` counts in.
    found = [next(item for item in seen.objects if item.thing == thing) for thing in seen.things]
    better = improved_picture(Picture(tuple(_drawing(item, size) for item in found)), scene)
    half = cell_side(size) // 2
    # A margin, for squares that reach over the edge of the canvas.
    canvas = np.pad(_background(image, seen), ((half, half), (half, half), (0, 0)))
    for drawing in better.drawings:
        x, y = (at + off for at, off in zip(centres(size)[drawing.thing.place], drawing.offset, strict=True))
        square = canvas[y : y + 2 * half, x : x + 2 * half]
        square[:] = paint(square, drawing, size, {better.style})
    return write(canvas[half:-half, half:-half], better.word, ()).astype(np.uint8)


def _drawing(seen: SeenObject, size: int) -> Drawing:
    """The object as it is; one that a model put across the border of its place is moved into it."""
    reach = max(OFFSETS) * cell_side(size) // 16
    x, y = (
        min(reach, max(-reach, own - middle))
        for own, middle in zip(seen.centre, centres(size)[seen.place], strict=True)
    )
    return Drawing(seen.thing, (x, y), seen.size, seen.tilt)


def _background(image: np.ndarray, seen: SeenPicture) -> np.ndarray:
    """The background with nothing on it, int64 [S, S, 3]."""
    pixels: np.ndarray = image.astype(np.float64)
    clean = seen.background + _texture(pixels - seen.background)[..., None]
    off = np.abs(pixels - clean).max(-1, keepdims=True) > TOLERANCE
    whole = clean if "noisy" in seen.flaws else np.where(off, clean, pixels)
    return np.clip(np.rint(whole), 0, 255).astype(np.int64)


def _texture(rest: np.ndarray) -> np.ndarray:
    """The texture in what is left of a picture, float64 [S, S, 3], without its background; float64 [S, S], mean 0."""
    size = rest.shape[0]
    behind = np.square(rest).sum(-1) < FOREGROUND**2
    plain = backdrop(Background(), size)
    best, most = np.zeros((size, size)), 0.5  # at least half as strong as the world's
    for name in TEXTURES[1:]:
        pattern = (backdrop(Background(texture=name), size) - plain).mean(-1)
        pattern -= pattern[behind].mean() if behind.any() else 0.0
        strength = float((rest.mean(-1) * pattern)[behind].sum() / max(1.0, np.square(pattern[behind]).sum()))
        if strength > most:
            best, most = pattern, strength
    return best
