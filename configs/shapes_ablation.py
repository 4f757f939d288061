"""One variant of the ablation: ``--config configs/shapes_ablation.py:VARIANT,SEED``; ``irg_jax.ablate`` runs them all.

Every variant sees the same number of tokens in one stage; each differs from ``base`` by the lines below it.
"""

from irg_jax.configs import shapes_stage1
from ml_collections import ConfigDict

FULL_MODES = (
    ("shapes", "initial_full_learning", 1.0, True),
    ("shapes", "improving_full_learning", 1.0, True),
)


def base(c: ConfigDict) -> None:
    """All six modes, two turns; turn 1 learns a plan and the draft."""


def full_modes(c: ConfigDict) -> None:
    """The two full modes only."""
    c.data.mixture = FULL_MODES


def one_turn(c: ConfigDict) -> None:
    """One turn that learns the good image at once; only its turn 1 counts."""
    c.data.mixture = FULL_MODES[:1]
    c.data.initial_target = "good"


def no_thinking1(c: ConfigDict) -> None:
    """No plan before image 1."""
    c.data.thinking1 = "none"


def good_first(c: ConfigDict) -> None:
    """Turn 1 learns the good image, as published, instead of the draft."""
    c.data.initial_target = "good"


VARIANTS = {f.__name__: f for f in (base, full_modes, one_turn, no_thinking1, good_first)}


def get_config(which: str = "base,0") -> ConfigDict:
    """The variant and seed of ``which``, as ``VARIANT,SEED``."""
    name, seed = which.split(",")
    stage = shapes_stage1.get_config()
    stage.steps = 400
    stage.optim.final_lr = 1e-4  # no stage follows
    stage.seed = stage.data.seed = int(seed)
    stage.data.sources.shapes.dir = "{workdir}/../../data/shapes"
    VARIANTS[name](stage)
    return experiment(stage)


def experiment(stage: ConfigDict) -> ConfigDict:
    """The run of one stage, with controls where it learns a second turn."""
    learns_turn_2 = any(mode.startswith("improving") for _, mode, *_ in stage.data.mixture)
    c = ConfigDict()
    c.stages = ConfigDict(dict(stage1=stage))
    c.evaluate = ConfigDict(dict(dir=stage.data.sources.shapes.dir, prompts=96, batch_size=48, seed=0, perception=100))
    c.evaluate.controls = 96 if learns_turn_2 else 0
    return c
