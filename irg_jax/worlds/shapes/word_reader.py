"""Reads the word of a picture: the letters that come closest to the ink in its southern row of places.

How much ink each pixel has is compared with every word of one to four letters, vivid or faded, near where the world
would write it. Letters do not overlap, so that the best word of a length is found letter by letter.
"""

import functools
import itertools

import numpy as np

from irg_jax.worlds.shapes.lettering import CELL, HEIGHT, LETTERS, MOST_LETTERS, corner, scaled, square_side
from irg_jax.worlds.shapes.objects import OUTLINE

MIN_MATCH = 0.7  # cosine similarity to the best word; words of the world have more than 0.99
MAX_COLOUR = 0.03  # share of the row's squared contrast that is not dark ink; words have 0.004, objects 0.05 and more
MIN_INK = 0.5  # sum of squared ink; a faded I has 2.8
_STRENGTHS = (1.0, 0.5)  # vivid, faded


def read_word(contrast: np.ndarray, background: np.ndarray, roughness: float) -> tuple[str, np.ndarray]:
    """The word of a picture, empty for none, and the pixels around it, in which nothing else is to be looked for.

    Args:
      contrast: of the picture to its background, float64 [S, S, 3].
      background: float64 [S, S, 3].
      roughness: standard deviation of the background in levels.

    Returns:
      The word, and a mask, bool [S, S].
    """
    size, mask = len(contrast), np.zeros(contrast.shape[:2], bool)
    dark = background - OUTLINE
    scale = np.square(dark).sum(-1)
    ink = (contrast * dark).sum(-1) / scale
    other = np.square(contrast - ink[..., None] * dark).sum(-1) / scale
    side, (_, top) = square_side(size), corner(1, size)
    row = slice(top - side, top + (HEIGHT + 1) * side)
    energy = float(np.square(ink[row]).sum())
    signal = energy - float((3 * roughness**2 / scale[row]).sum())
    if signal < MIN_INK or other[row].sum() > MAX_COLOUR * energy:
        return "", mask
    word, match = _nearest_word(ink, size)
    if match < MIN_MATCH * np.sqrt(signal):
        return "", mask
    mask[row] = True
    return word, mask


def _nearest_word(ink: np.ndarray, size: int) -> tuple[str, float]:
    """The word whose squared distance to ``ink`` [S, S] is smallest, and its overlap with the ink over its norm."""
    letters, side = _letters(size), square_side(size)
    norms = np.square(letters).sum((1, 2))
    windows = np.lib.stride_tricks.sliding_window_view(ink, letters.shape[1:])
    nearest, word, match = np.inf, "", 0.0
    for length in range(1, MOST_LETTERS + 1):
        left, top = corner(length, size)
        for right, down in itertools.product((-side, 0, side), repeat=2):
            columns = [left + right + number * CELL * side for number in range(length)]
            overlaps = np.einsum("nij,aij->na", windows[top + down, columns], letters)
            for strength in _STRENGTHS:
                distances = strength**2 * norms - 2 * strength * overlaps
                chosen = distances.argmin(1)
                distance = float(distances.min(1).sum())
                if distance < nearest:
                    overlap = float(np.take_along_axis(overlaps, chosen[:, None], 1).sum())
                    nearest, match = distance, overlap / float(np.sqrt(norms[chosen].sum()))
                    word = "".join(LETTERS[letter] for letter in chosen)
    return word, match


@functools.cache
def _letters(size: int) -> np.ndarray:
    """The letters on a canvas of ``size`` pixels, float64 [26, 7·s, 5·s], s = ``square_side(size)``."""
    return np.stack([scaled(letter, size) for letter in LETTERS]).astype(np.float64)
