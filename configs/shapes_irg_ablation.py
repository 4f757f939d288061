r"""The paper's ablation on the base's own weak images, in the folder in which ``launch/shapes_irg.sh`` has made them.

    python -m irg_jax.ablate --variants shapes_irg_ablation --workdir runs/shapes_irg/ablation \
      --out runs/shapes_irg/ablation/table.md

The variants are those of ``shapes_paper_ablation``; only the data are others, and the runs longer.
"""

from irg_jax.configs import shapes_irg, shapes_paper_ablation
from ml_collections import ConfigDict

VARIANTS = shapes_paper_ablation.VARIANTS
_DATA = "{workdir}/../../../data"  # a run is in ablation/VARIANT/SEED


def get_config(which: str = "six_modes,0") -> ConfigDict:
    """The variant and seed of ``which``, as ``VARIANT,SEED``."""
    c = shapes_paper_ablation.get_config(which)
    shapes_irg.learn_from(c.stages.stage1, f"{_DATA}/own")
    c.stages.stage1.steps = 1200  # the prompts are of five manners
    c.evaluate.dir = f"{_DATA}/shapes"
    return c
