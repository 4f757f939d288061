"""Stage 1 on the shapes world: all six learning modes with the published weights (arXiv 2509.06945)."""

from irg_jax.configs import shapes_base, template
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """A model of 3.8 million weights that goes on from the shipped base, as the published one does from BAGEL."""
    c = template.get_config()
    c.steps = 750
    c.init_from = "{package}/pretrained/shapes_base"
    c.data.tokenizer = "{package}/pretrained/shapes_base/tokenizer"
    c.data.budgets.gen = 48  # three images
    shapes_base.use_architecture(c.model)
    c.optim.freeze = (("^vit", 0),)  # which has seen own pictures; these stages show it drawn ones alone
    c.optim.lr = 1.5e-3
    c.optim.final_lr = 1e-3  # where stage 2's schedule begins
    # The base has learned without texts too, and no stage unlearns it. With less guidance more drafts show shapes
    # between two, about which nothing can be said for sure.
    c.sampling.turn1.update(text_scale=2.0, interval=(0.0, 1.0))
    c.sampling.turn2.update(text_scale=2.0, image_scale=1.5, renorm="global", renorm_min=1.0)
    return c
