"""Stage 1 on the shapes world: all six learning modes with the published weights (arXiv 2509.06945)."""

from irg_jax.configs import template
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """A model of 1.9 million weights that learns the world in minutes on two cores."""
    c = template.get_config()
    c.steps = 1400
    c.optim.final_lr = 1.5e-3  # where stage 2's schedule begins
    return c
