"""From pixels to latents and back. Frozen in every training; the FLUX VAE will stand behind the same two methods."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class PixelAutoencoder:
    """Space to depth: every ``downsample``² pixels become the channels of one latent. Nothing is trained or lost.

    Attributes:
      downsample: pixels a latent's side.
      scale: latents are scale·(pixel − shift), with pixels in [−1, 1].
      shift: near the mean of the pixels, so that latents are centred.
    """

    downsample: int
    scale: float
    shift: float

    @property
    def channels(self) -> int:
        """Numbers in a latent."""
        return 3 * self.downsample**2

    def encode(self, pixels: jax.Array) -> jax.Array:
        """[N, H, W, 3] in [−1, 1] to latents [N, H/f, W/f, channels]."""
        n, height, width, channels = pixels.shape
        f = self.downsample
        blocks = pixels.reshape(n, height // f, f, width // f, f, channels).transpose(0, 1, 3, 2, 4, 5)
        return self.scale * (blocks.reshape(n, height // f, width // f, self.channels) - self.shift)

    def decode(self, latents: jax.Array) -> jax.Array:
        """The inverse of ``encode``."""
        n, rows, columns, _ = latents.shape
        f = self.downsample
        blocks = (latents / self.scale + self.shift).reshape(n, rows, columns, f, f, 3).transpose(0, 1, 3, 2, 4, 5)
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
    """[−1, 1] to uint8, rounded to the nearest level."""
    return jnp.round((jnp.clip(pixels, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)
