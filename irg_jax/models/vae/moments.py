"""Posterior moments: what a VAE knows of an image, from which latents follow without the VAE.

Moments are [..., 2·channels]: the mean, then the log-variance, before scale and shift. A VAE without a posterior has
the log-variance −∞: its samples are the mean, whatever the noise.
"""

import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from irg_jax.core.tree import weight_name
from irg_jax.models.config import PixelVAEConfig, VAEConfig


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class EncodedAhead:
    """Stands for the VAE where every image comes as moments: no weights on any device.

    Attributes:
      config: of the VAE.
      digest: of the VAE, see ``digest``.
    """

    config: VAEConfig
    digest: str


def to_latents(config: VAEConfig, moments: jax.Array, noise: jax.Array | None = None) -> jax.Array:
    """Scaled latents [..., channels] of moments [..., 2·channels], in the dtype of the moments.

    Args:
      config: its ``scale`` and ``shift`` are read.
      moments: of ``VAE.moments``.
      noise: [..., channels], for a sample mean + std·noise; without it the mean is taken.
    """
    latents, log_variance = jnp.split(moments, 2, axis=-1)
    if noise is not None:
        latents = latents + jnp.exp(0.5 * log_variance) * noise.astype(moments.dtype)
    return config.scale * (latents - config.shift)


def digest(vae: Any) -> str:
    """Two VAEs with the same digest make the same moments: BLAKE2b of kind, stride and the encoder's weights.

    Neither the decoder, nor scale and shift, are in it: moments do not depend on them.

    Args:
      vae: a VAE with its weights on this process's devices, or an ``EncodedAhead``.
    """
    if isinstance(vae, EncodedAhead):
        return vae.digest
    found = hashlib.blake2b(f"{vae.config.kind} {vae.config.downsample}".encode(), digest_size=16)
    if not isinstance(vae.config, PixelVAEConfig):
        for path, leaf in jax.tree_util.tree_leaves_with_path(vae.encoder):
            value = np.ascontiguousarray(jax.device_get(leaf))
            found.update(f"{weight_name(path)} {value.dtype} {value.shape}".encode() + value.tobytes())
    return found.hexdigest()
