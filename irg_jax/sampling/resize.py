"""Bicubic resizing on the device with Pillow's integers: images between two turns never leave the device."""

import math

import jax
import jax.numpy as jnp
import numpy as np

_PRECISION_BITS = 22  # of Pillow's weights, which are fixed-point numbers


def resize_bicubic(images: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes images to the same bytes as ``PIL.Image.resize(…, BICUBIC)``, which data and training use.

    ``jax.image.resize`` has the same kernel, but neither Pillow's rounding and clipping between the two directions nor
    its fixed-point weights, and differs at sharp edges by up to a tenth of the range.

    Args:
      images: uint8 [B, H, W, C].
      height: of the result, in pixels.
      width: of the result, in pixels.

    Returns:
      uint8 [B, height, width, C]; ``images`` itself where the size is the same.
    """
    for axis, size in ((2, width), (1, height)):
        if images.shape[axis] != size:
            images = _resize_axis(images, axis, size)
    return images


def _resize_axis(images: jax.Array, axis: int, size: int) -> jax.Array:
    indices, weights = _taps(images.shape[axis], size)
    shape = [1] * images.ndim
    shape[axis] = size
    total = jnp.int32(1 << (_PRECISION_BITS - 1))  # one half, for rounding
    for index, weight in zip(indices, weights, strict=True):
        total = total + jnp.take(images, index, axis=axis).astype(jnp.int32) * weight.reshape(shape)
    return jnp.clip(total >> _PRECISION_BITS, 0, 255).astype(jnp.uint8)


def _taps(size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray]:
    """For each tap of the kernel, the pixel that each output pixel reads and its weight, int32 [taps, size_out]."""
    scale = size_in / size_out
    widening = max(scale, 1.0)  # where the image shrinks
    support = 2.0 * widening
    taps = 2 * math.ceil(support) + 1
    centers = (np.arange(size_out) + 0.5) * scale
    first = np.maximum((centers - support + 0.5).astype(int), 0)
    last = np.minimum((centers + support + 0.5).astype(int), size_in)
    pixels = first + np.arange(taps)[:, None]
    weights = np.where(pixels < last, _cubic((pixels - centers + 0.5) / widening), 0.0)
    weights = weights / weights.sum(axis=0)
    fixed_point = np.trunc(weights * (1 << _PRECISION_BITS) + np.copysign(0.5, weights)).astype(np.int32)
    return np.minimum(pixels, size_in - 1).astype(np.int32), fixed_point


def _cubic(x: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel with a = −0.5."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, -0.5 * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
