"""What the oracle sees in a picture that a request brings: the exact reader's objects, and nothing in any other."""

import numpy as np
import PIL.Image

from irg_jax.core.errors import UserError
from irg_jax.data import images
from irg_jax.worlds.shapes.objects import SIZE
from irg_jax.worlds.shapes.picture import Background
from irg_jax.worlds.shapes.render import backdrop

MAX_SIDE = 128  # the reader's time grows with the fourth power of the side


def pixels(content: bytes) -> np.ndarray:
    """The pixels of an encoded picture, as ``read_picture`` takes them.

    A picture larger than ``MAX_SIDE`` is reduced to it. One that cannot be decoded, is not square, or has a side that
    the world does not have (a multiple of 16 from 32 up) shows nothing: a blank picture comes back.

    Returns:
      uint8 [S, S, 3], S a multiple of 16 from 32 to ``MAX_SIDE``.
    """
    try:
        image = images.decode(content, "picture")
    except UserError:
        return _blank()
    width, height = image.size
    if width != height or width < SIZE or width % 16:
        return _blank()
    if width > MAX_SIDE:
        image = image.resize((MAX_SIDE, MAX_SIDE), PIL.Image.Resampling.BOX)
    return np.asarray(image)


def _blank() -> np.ndarray:
    return backdrop(Background(), SIZE).astype(np.uint8)
