"""Resizing on the device against Pillow, to the byte."""

import jax
import numpy as np
import PIL.Image
import pytest

from irg_jax.sampling.resize import resize_bicubic


@pytest.mark.parametrize(
    ("before", "after"),
    [((64, 64), (70, 70)), ((128, 96), (70, 56)), ((96, 128), (98, 126)), ((32, 64), (32, 14))],
)
def test_pixels_are_pillows(before, after):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*before, 3), np.uint8)
    squares = rng.integers(0, 2, (before[0] // 8, before[1] // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1) * 255
    images = np.stack([noise, squares])  # squares: the kernel overshoots at their edges, and Pillow clips
    wanted = [PIL.Image.fromarray(x).resize(after[::-1], PIL.Image.Resampling.BICUBIC) for x in images]
    resized = jax.jit(resize_bicubic, static_argnums=(1, 2))(images, *after)
    np.testing.assert_array_equal(resized, np.stack([np.asarray(x) for x in wanted]))


def test_an_image_of_that_size_is_returned_as_it_is():
    images = np.zeros((1, 16, 32, 3), np.uint8)
    assert resize_bicubic(images, 16, 32) is images
