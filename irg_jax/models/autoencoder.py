"""From pixels to latents and back: the training-free autoencoder, and what every autoencoder needs around it.

An autoencoder is frozen in every training. It is a pytree with two methods:

* ``encode(pixels, sizes=None, noise=None)``: [N, H, W, 3] in [−1, 1] to scaled latents [N, H/f, W/f, channels].
  ``sizes`` [N, 2] are the (height, width) in use where pictures are padded at the bottom and right; ``noise``, shaped
  as the latents, draws from the posterior; without it the posterior's mean is taken.
* ``decode(latents)``: back to pixels.
"""

import dataclasses

import jax
import jax.numpy as jnp

from irg_jax.models.config import PixelConfig


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class PixelAutoencoder:
    """Space to depth: every ``downsample``² pixels become the channels of one latent. Nothing is trained or lost."""

    config: PixelConfig

    def encode(self, pixels: jax.Array, sizes: jax.Array | None = None, noise: jax.Array | None = None) -> jax.Array:
        """[N, H, W, 3] in [−1, 1] to latents [N, H/f, W/f, channels]; exact, whatever ``sizes`` and ``noise`` are."""
        del sizes, noise
        n, height, width, channels = pixels.shape
        f = self.config.downsample
        blocks = pixels.reshape(n, height // f, f, width // f, f, channels).transpose(0, 1, 3, 2, 4, 5)
        return self.config.scale * (
            blocks.reshape(n, height // f, width // f, self.config.channels) - self.config.shift
        )

    def decode(self, latents: jax.Array) -> jax.Array:
        """The inverse of ``encode``."""
        n, rows, columns, _ = latents.shape
        f = self.config.downsample
        blocks = (
            (latents / self.config.scale + self.config.shift)
            .reshape(n, rows, columns, f, f, 3)
            .transpose(0, 1, 3, 2, 4, 5)
        )
        return blocks.reshape(n, rows * f, columns * f, 3)


def to_tokens(latents: jax.Array, patch: int) -> jax.Array:
    """Latents [N, h, w, C] to tokens [N, h/p, w/p, p·p·C]."""
    n, rows, columns, channels = latents.shape
    blocks = latents.reshape(n, rows // patch, patch, columns // patch, patch, channels).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, rows // patch, columns // patch, patch * patch * channels)


def from_tokens(tokens: jax.Array, patch: int) -> jax.Array:
    """The inverse of ``to_tokens``."""
    n, rows, columns, size = tokens.shape
    blocks = tokens.reshape(n, rows, columns, patch, patch, size // patch**2).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, rows * patch, columns * patch, size // patch**2)


def to_unit(pixels: jax.Array) -> jax.Array:
    """uint8 pixels to float32 in [−1, 1]."""
    return pixels.astype(jnp.float32) / 127.5 - 1.0


def to_bytes(pixels: jax.Array) -> jax.Array:
    """[−1, 1] to uint8, cut off as the released code does."""
    # A level that was exact before it went through floats stays that level.
    return jnp.floor((jnp.clip(pixels, -1.0, 1.0) + 1.0) * 127.5 + 1e-3).astype(jnp.uint8)
