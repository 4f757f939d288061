"""Both stages on the shapes world, held-out prompts and the report, by one command, in minutes on two cores."""

from irg_jax.configs import shapes_stage1, shapes_stage2
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The two stage configs, and what is generated for the report."""
    c = ConfigDict()
    c.stages = ConfigDict(dict(stage1=shapes_stage1.get_config(), stage2=shapes_stage2.get_config()))
    c.evaluate = ConfigDict(dict(dir="{workdir}/data/shapes", prompts=96, batch_size=48, seed=0))
    return c
