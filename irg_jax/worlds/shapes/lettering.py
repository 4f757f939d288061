"""Words in pictures: the capitals A to Z on a grid of 5 x 7 squares, and where a word is written.

The letters are drawn to differ in several squares from each other, so that they are told apart when faded and noisy.
Each has a cell of 8 x 8 squares at the lower edge, so that on the smallest canvas it is in one patch of the encoders.
"""

import functools

import numpy as np

MOST_LETTERS = 4
WIDTH, HEIGHT = 5, 7
CELL = 8

_DRAWN = """
.###.  ####.  .####  ###..  #####  #####  .####  #...#  .###.  ..###  #...#  #....  #...#
#...#  #...#  #....  #..#.  #....  #....  #....  #...#  ..#..  ...#.  #..#.  #....  ##.##
#...#  #...#  #....  #...#  #....  #....  #....  #...#  ..#..  ...#.  #.#..  #....  #.#.#
#####  ####.  #....  #...#  ####.  ###..  #.###  #####  ..#..  ...#.  ##...  #....  #.#.#
#...#  #...#  #....  #...#  #....  #....  #...#  #...#  ..#..  ...#.  #.#..  #....  #...#
#...#  #...#  #....  #..#.  #....  #....  #...#  #...#  ..#..  #..#.  #..#.  #....  #...#
#...#  ####.  .####  ###..  #####  #....  .###.  #...#  .###.  .##..  #...#  #####  #...#

#...#  .###.  ####.  .###.  ####.  .####  #####  #...#  #...#  #...#  #...#  #...#  #####
##..#  #...#  #...#  #...#  #...#  #....  ..#..  #...#  #...#  #...#  #...#  #...#  ....#
##..#  #...#  #...#  #...#  #...#  #....  ..#..  #...#  #...#  #...#  .#.#.  .#.#.  ...#.
#.#.#  #...#  ####.  #...#  ####.  .###.  ..#..  #...#  #...#  #.#.#  ..#..  ..#..  ..#..
#..##  #...#  #....  #.#.#  #.#..  ....#  ..#..  #...#  .#.#.  #.#.#  .#.#.  ..#..  .#...
#..##  #...#  #....  #..#.  #..#.  ....#  ..#..  #...#  .#.#.  ##.##  #...#  ..#..  #....
#...#  .###.  #....  .##.#  #...#  ####.  ..#..  .###.  ..#..  #...#  #...#  ..#..  #####
"""


def _read_drawing() -> dict[str, np.ndarray]:
    rows = [row.split() for row in _DRAWN.split("\n") if row]
    glyphs = {}
    for number in range(26):
        upper, column = HEIGHT * (number // 13), number % 13
        squares = [[square == "#" for square in row[column]] for row in rows[upper : upper + HEIGHT]]
        glyphs[chr(ord("A") + number)] = np.array(squares, np.int64)
    return glyphs


# 1 for ink, int64 [HEIGHT, WIDTH] each.
GLYPHS = _read_drawing()
LETTERS = tuple(GLYPHS)


def square_side(size: int) -> int:
    """Side in pixels of a square of the letters' grid on a canvas of ``size`` pixels."""
    return size // 32


def corner(letters: int, size: int) -> tuple[int, int]:
    """The top left pixel (x, y) of a word of so many letters, in the middle of the lower edge as far as cells allow."""
    side = square_side(size)
    first = (MOST_LETTERS - letters) // 2
    return (size - MOST_LETTERS * CELL * side) // 2 + (first * CELL + 1) * side, size - CELL * side


def ink(word: str, size: int) -> np.ndarray:
    """1 for each pixel of a canvas that ``word`` covers, int64 [size, size]."""
    canvas = np.zeros((size, size), np.int64)
    left, top = corner(len(word), size)
    for number, letter in enumerate(word):
        glyph = scaled(letter, size)
        start = left + number * CELL * square_side(size)
        canvas[top : top + glyph.shape[0], start : start + glyph.shape[1]] = glyph
    return canvas


@functools.cache
def scaled(letter: str, size: int) -> np.ndarray:
    """1 for each pixel that a letter covers, int64 [7·s, 5·s], s = ``square_side(size)``."""
    side = square_side(size)
    return GLYPHS[letter].repeat(side, 0).repeat(side, 1)
