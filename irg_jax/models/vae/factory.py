"""Makes the VAE of a config."""

from typing import Any

from flax import nnx

from irg_jax.models.config import PixelVAEConfig, VAEConfig
from irg_jax.models.vae.flux import FluxVAE
from irg_jax.models.vae.pixel import PixelVAE


def make_vae(config: VAEConfig, *, rngs: nnx.Rngs) -> PixelVAE | FluxVAE:
    """The VAE of a config, with random weights if it has any."""
    return PixelVAE(config) if isinstance(config, PixelVAEConfig) else FluxVAE(config, rngs=rngs)


def abstract_vae(config: VAEConfig) -> Any:
    """The VAE of a config with ``jax.ShapeDtypeStruct`` leaves; nothing is allocated."""
    return nnx.eval_shape(lambda: make_vae(config, rngs=nnx.Rngs(params=0)))
