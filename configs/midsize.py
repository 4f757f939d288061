"""A model of middle size with random weights, for ``irg_jax.bench``: 256 x 256 images, 64 tokens per thinking."""

from irg_jax.configs import template
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The sizes at which docs/speed.md has a figure of the released code."""
    c = template.get_config()
    c.model.decoder.update(hidden=512, layers=8, heads=8, kv_heads=2, head_dim=64, mlp=1408, vocab=4096)
    c.model.vit.update(hidden=256, layers=4, heads=4, mlp=1024, patch=14, patches_per_side=18)
    c.model.vae = ConfigDict(
        dict(kind="flux", width=32, multipliers=(1, 2, 1, 1), blocks=1, channels=16, scale=0.3611, shift=0.1159)
    )
    c.model.latent_patch = 2
    c.model.max_latent_size = 16
    c.model.time_features = 256
    c.data.vae_image.update(max_size=256, min_size=256)
    c.data.vit_image.update(max_size=252, min_size=252)
    c.data.batch_size = 1
    c.data.budgets.update(und=2544, gen=1536, vit=972, images=6)  # three samples of 1,360 tokens
    c.execution.update(attention="auto", remat="dots")
    c.sampling.update(
        system_prompt="word " * 197, image_size=(256, 256), prompt_bucket=32, max_prompt=32, max_thinking=(66, 66),
        time_points=50,
    )  # fmt: skip
    c.sampling.turn1.update(text_scale=4.0, interval=(0.4, 1.0), renorm="global")
    c.sampling.turn2.update(text_scale=2.0, image_scale=2.0, interval=(0.0, 1.0), renorm="text_channel")
    return c
