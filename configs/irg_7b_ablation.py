r"""The paper's ablation from BAGEL-7B-MoT, one variant: ``--config irg_7b_ablation:VARIANT,SEED`` (arXiv 2509.06945).

    python -m irg_jax.train --config irg_7b_ablation:good_images,0 --workdir runs/ablation/good_images \
      --config.data.sources.irgl.dir=data/IRGL-300K

The variants are those of ``shapes_paper_ablation``. docs/evaluation.md has the loop that trains all of them, generates
the benchmarks and puts the scores into one table. Each variant has stage 1's steps and packing budgets; how long the
paper trained its variants is not published. Its self-CoT baseline is BAGEL itself, untrained: evaluate
``checkpoints/bagel`` for that. ``self_cot`` here also gives the baseline the same number of training tokens, on the
images that BAGEL painted, which are image 1 of the trajectories.
"""

from irg_jax.configs import irg_7b_stage1, shapes_paper_ablation
from ml_collections import ConfigDict

VARIANTS = shapes_paper_ablation.VARIANTS


def get_config(which: str = "six_modes,0") -> ConfigDict:
    """The variant and seed of ``which``, as ``VARIANT,SEED``."""
    name, seed = which.split(",")
    c = irg_7b_stage1.get_config()
    c.seed = c.data.seed = int(seed)
    VARIANTS[name](c)
    return c
