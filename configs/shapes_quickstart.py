"""Both stages on the shapes world, held-out prompts and the report, by one command, in minutes on two cores.

``--config shapes_quickstart`` goes on from the shipped base; ``--config shapes_quickstart:from_scratch`` first trains
the base, see ``shapes_base``.
"""

from irg_jax.configs import shapes_base, shapes_stage1, shapes_stage2
from ml_collections import ConfigDict


def get_config(start: str = "shipped") -> ConfigDict:
    """The stage configs, and what is generated for the report."""
    c = ConfigDict()
    c.stages = ConfigDict(dict(stage1=shapes_stage1.get_config(), stage2=shapes_stage2.get_config()))
    c.evaluate = ConfigDict(dict(dir="{workdir}/data/shapes", prompts=96, batch_size=48, seed=0, perception=300))
    if start == "from_scratch":
        first = shapes_base.get_config()
        c.vae, c.vit = first.vae, first.vit
        c.stages.update(first.stages)
        c.stages.stage1.init_from = "{workdir}/base2"
        for stage in c.stages.values():
            stage.data.tokenizer = "{workdir}/data/tokenizer"
    elif start != "shipped":
        raise ValueError(f"shapes_quickstart:{start}: give shipped or from_scratch")
    return c
