"""How ``launch/shapes_irg.sh`` makes its training data: the base's own weak images, and the shapes world's oracle.

The oracle's address is given by the script (``--config.thinking2.base_url`` and the like); its answers cost nothing.
"""

from irg_jax.configs import curate
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """All four steps; the improved image keeps what is right in the weak one."""
    c = curate.get_config()
    c.image1.checkpoint = "irg_jax/pretrained/shapes_base"  # from the root of the checkout; given by the script
    c.image1.batch_size = 64
    for teacher in (c.thinking1, c.image2, c.thinking2):
        teacher.model = "oracle"
        teacher.key_env = ""
        teacher.concurrency = 4
        teacher.options = "{}"
        teacher.price.update(input_tokens=0.0, output_tokens=0.0, picture=0.0)
    c.image2.method = "edit"
    c.checks.thinking1.min_chars = 20
    c.checks.thinking2.min_chars = 80
    c.checks.min_side = 32
    return c
