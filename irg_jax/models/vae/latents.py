"""Pre- and postprocessing of all VAEs: uint8 pixels to [−1, 1] and back, latents to generation tokens and back."""

import jax
import jax.numpy as jnp


def patchify(latents: jax.Array, patch: int) -> jax.Array:
    """Latents [N, h, w, C] to tokens [N, h/p, w/p, p·p·C]."""
    n, rows, columns, channels = latents.shape
    blocks = latents.reshape(n, rows // patch, patch, columns // patch, patch, channels).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, rows // patch, columns // patch, patch * patch * channels)


def unpatchify(tokens: jax.Array, patch: int) -> jax.Array:
    """The inverse of ``patchify``."""
    n, rows, columns, size = tokens.shape
    blocks = tokens.reshape(n, rows, columns, patch, patch, size // patch**2).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, rows * patch, columns * patch, size // patch**2)


def to_unit(pixels: jax.Array) -> jax.Array:
    """uint8 pixels to float32 in [−1, 1]."""
    return pixels.astype(jnp.float32) / 127.5 - 1.0


def to_bytes(pixels: jax.Array) -> jax.Array:
    """Float32 pixels in [−1, 1] to uint8 of the same shape, rounded down (BAGEL, arXiv 2505.14683).

    The operations and their order are those of the released code: any other form puts pixels that are close to a level
    on its other side. So ``to_bytes(to_unit(x))`` may be one level below ``x``.
    """
    return ((pixels * 0.5 + 0.5).clip(0.0, 1.0) * 255.0).astype(jnp.uint8)
