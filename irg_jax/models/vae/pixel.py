"""The pixel VAE, which has no weights: latents are patches of pixels."""

import dataclasses

import jax
import jax.numpy as jnp

from irg_jax.models.config import PixelVAEConfig


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class PixelVAE:
    """Space to depth: the ``downsample``² pixels of a square become the channels of one latent, losslessly.

    See ``models.vae`` for the interface.
    """

    config: PixelVAEConfig

    def encode(self, pixels: jax.Array, sizes: jax.Array | None = None, noise: jax.Array | None = None) -> jax.Array:
        """[N, H, W, 3] in [−1, 1] to latents [N, H/f, W/f, channels]; ``sizes`` and ``noise`` change nothing."""
        del sizes, noise
        return self.config.scale * (self._blocks(pixels) - self.config.shift)

    def moments(self, pixels: jax.Array, sizes: jax.Array | None = None) -> jax.Array:
        """[N, H/f, W/f, 2·channels]: patches of pixels as the mean, and the log-variance −∞."""
        del sizes
        mean = self._blocks(pixels)
        return jnp.concatenate([mean, jnp.full_like(mean, -jnp.inf)], axis=-1)

    def _blocks(self, pixels: jax.Array) -> jax.Array:
        n, height, width, channels = pixels.shape
        f = self.config.downsample
        blocks = pixels.reshape(n, height // f, f, width // f, f, channels).transpose(0, 1, 3, 2, 4, 5)
        return blocks.reshape(n, height // f, width // f, self.config.channels)

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
