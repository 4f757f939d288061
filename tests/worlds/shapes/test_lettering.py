"""The letters, and words in pictures."""

import dataclasses
import itertools

import numpy as np
import pytest

from irg_jax.worlds.shapes.draw import open_places
from irg_jax.worlds.shapes.faults import draw_weak
from irg_jax.worlds.shapes.lettering import GLYPHS, HEIGHT, LETTERS, WIDTH, ink
from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.picture import Content, Drawing, Picture, improve
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import render

THING = PlacedObject("red", "circle", "northwest")


def test_letters_fill_their_grid_and_differ_in_three_squares_at_least():
    assert "".join(LETTERS) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for glyph in GLYPHS.values():
        assert glyph.shape == (HEIGHT, WIDTH)
        assert glyph[0].any() and glyph[-1].any()
    assert min(int((a != b).sum()) for a, b in itertools.combinations(GLYPHS.values(), 2)) >= 3


@pytest.mark.parametrize("size", [32, 48, 64])
def test_a_word_is_in_the_middle_of_the_lower_edge(size):
    covered = ink("MOON", size)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    assert columns[0] + columns[-1] + 1 == pytest.approx(size, abs=size // 32)
    assert size // 2 < rows[0] < rows[-1] < size - 1


@pytest.mark.parametrize("word", ["I", "OX", "CAT", "MOON"])
def test_every_letter_is_in_a_patch_of_its_own(word):
    patches = ink(word, 32).reshape(4, 8, 4, 8).any((1, 3))
    first = (4 - len(word)) // 2
    assert not patches[:3].any() and np.flatnonzero(patches[3]).tolist() == list(range(first, first + len(word)))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("flaws", [(), ("faded", "noisy"), ("blurred",), ("no outlines", "ragged")])
def test_every_letter_is_read_back_in_every_execution(size, flaws):
    for word in ("ABCD", "EFGH", "IJKL", "MNOP", "QRST", "UVWX", "YZ", "I"):
        seen = read_picture(render(Picture((Drawing(THING),), flaws=flaws, noise=3, word=word), size))
        assert (seen.word, seen.things, seen.flaws) == (word, (THING,), flaws)


def test_random_words_are_read_back_from_weak_and_good_pictures():
    rng = np.random.default_rng(2)
    for _ in range(30):
        word = "".join(rng.choice(LETTERS, rng.integers(1, 5)))
        planned = Content((THING, PlacedObject("blue", "cross", "northeast")), word=word)
        weak = draw_weak(rng, planned, open_places(32, word))
        for picture in (weak, improve(weak, planned)):
            seen = read_picture(render(picture))
            assert (seen.word, seen.flaws) == (picture.word, picture.flaws)
            assert set(seen.things) == set(picture.objects)


def test_objects_in_the_southern_row_are_no_word():
    rng = np.random.default_rng(4)
    for _ in range(30):
        planned = Content((PlacedObject("purple", "square", "southwest"), PlacedObject("blue", "cross", "southeast")))
        seen = read_picture(render(draw_weak(rng, planned, ("southwest", "southeast"))))
        assert seen.word == ""


def test_a_word_one_pixel_off_its_place_is_still_read():
    image = render(Picture((Drawing(THING),), word="CAT"))
    assert read_picture(np.roll(image, (1, -1), (0, 1))).word == "CAT"


def test_a_word_without_objects_is_read_and_is_none():
    seen = read_picture(render(Picture((), word="OX")))
    assert (seen.word, seen.objects) == ("OX", ())


def test_improving_a_picture_corrects_its_word():
    wrong = Picture((Drawing(THING),), word="CAR")
    assert improve(wrong, Content((THING,), word="CAT")) == dataclasses.replace(wrong, word="CAT")
