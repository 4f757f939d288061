"""A narrow model for ``irg_jax.bench growth``: how a step's cost grows from 4,080 tokens per row on."""

from irg_jax.configs import midsize
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The rows of configs/midsize.py, three samples each, for a model in which attention is a good part of the work."""
    c = midsize.get_config()
    c.model.decoder.update(hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, mlp=192, vocab=512)
    c.model.vit.update(hidden=64, layers=1, heads=4, mlp=192)
    c.model.vae = ConfigDict(dict(kind="pixel", downsample=16, scale=2.0, shift=0.6))
    c.model.latent_patch = 1
    return c
