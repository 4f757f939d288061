"""Stage 2 on the shapes world: the two full modes 1:1, from stage 1's EMA weights (arXiv 2509.06945)."""

from irg_jax.configs import shapes_stage1
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Stage 1's config but for the lines that differ."""
    c = shapes_stage1.get_config()
    c.seed = 1  # other noise than in stage 1
    c.steps = 950
    c.init_from = "{workdir}/stage1"
    c.data.seed = 1
    c.data.mixture = (
        ("shapes", "initial_full_learning", 1.0, True),
        ("shapes", "improving_full_learning", 1.0, True),
    )
    c.data.budgets.update(und=320, vit=48)  # fewer words than in stage 1
    c.optim.lr = 1e-3
    c.optim.final_lr = 1e-4
    c.optim.warmup_steps = 0
    return c
