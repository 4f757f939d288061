r"""The paper's ablation on the shapes world, one ingredient more in each variant (IRG, arXiv 2509.06945).

    python -m irg_jax.ablate --variants shapes_paper_ablation --workdir runs/paper_ablation \
      --out runs/paper_ablation/table.md

trains every variant with three seeds, generates for the held-out prompts and writes the table;
``--config shapes_paper_ablation:VARIANT,SEED`` is one run. All see the same number of rows of the same budgets in one
stage, and each differs from the one before by its own function. On real data it is ``irg_7b_ablation``, which has the
same variants; to change the data there, change ``data.sources.irgl.dir`` (trajectories with all fields, see
docs/data.md), ``data.tokenizer`` and ``init_from``; nothing else says which data it is.
"""

from irg_jax.configs import shapes_ablation
from ml_collections import ConfigDict


def _keep_modes(data: ConfigDict, *names: str) -> None:
    data.mixture = tuple(entry for entry in data.mixture if entry[1] in names)


def self_cot(c: ConfigDict) -> None:
    """One turn: thinking 1, then an image of the base's own quality; no good images."""
    _keep_modes(c.data, "initial_full_learning")
    c.data.initial_target = "draft"


def good_images(c: ConfigDict) -> None:
    """+ good images: one turn that learns the good image instead."""
    _keep_modes(c.data, "initial_full_learning")
    c.data.initial_target = "good"


def irg_trajectory(c: ConfigDict) -> None:
    """+ IRG trajectory: the second turn too, by the two full modes."""
    _keep_modes(c.data, "initial_full_learning", "improving_full_learning")
    c.data.initial_target = "good"


def six_modes(c: ConfigDict) -> None:
    """+ six decomposed modes, with the published weights."""
    c.data.initial_target = "good"


VARIANTS = {f.__name__: f for f in (self_cot, good_images, irg_trajectory, six_modes)}


def get_config(which: str = "six_modes,0") -> ConfigDict:
    """The variant and seed of ``which``, as ``VARIANT,SEED``."""
    name, seed = which.split(",")
    stage = shapes_ablation.get_config(f"base,{seed}").stages.stage1
    VARIANTS[name](stage)
    return shapes_ablation.experiment(stage)
