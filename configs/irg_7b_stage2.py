"""IRG, stage 2: the two full modes 1:1 for 30,000 steps, from stage 1's EMA weights (arXiv 2509.06945)."""

from irg_jax.configs import irg_7b_stage1
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Stage 1's config but for the lines that differ."""
    c = irg_7b_stage1.get_config()
    c.seed = 1  # other noise than in stage 1
    c.steps = 30000  # paper
    c.init_from = "runs/irg_stage1"
    c.data.seed = 1
    c.data.tokenizer = "{workdir}/../irg_stage1/tokenizer"
    c.data.mixture = (
        ("irgl", "initial_full_learning", 1.0, True),
        ("irgl", "improving_full_learning", 1.0, True),
    )  # paper
    c.data.budgets.update(und=15360, gen=24576, vit=13824)  # more latents, fewer words than in stage 1
    c.optim.warmup_steps = 0  # released
    return c
