"""Stage 1 on the shapes world: all six learning modes with the published weights (irg.md §5)."""

from ml_collections import ConfigDict

from configs import template


def get_config() -> ConfigDict:
    """A model of 1.9 million weights that learns the world in minutes on two cores."""
    c = template.get_config()
    c.steps = 1400
    c.optim.final_lr = 1.5e-3  # stage 2 goes on from here
    return c
