"""Both stages on the base's own weak images, as the paper trains: ``launch/shapes_irg.sh`` makes the data and runs it.

The prompts are in the manners of all five benchmarks.

``--config shapes_irg:1200,1500`` gives the stages other numbers of steps. The held-out prompts, with scenes to score
by, are those of the world itself.
"""

from irg_jax.configs import shapes_stage1, shapes_stage2
from ml_collections import ConfigDict


def learn_from(c: ConfigDict, folder: str) -> None:
    """Has a stage on the shapes world learn from the trajectories in a folder instead."""
    c.data.sources = ConfigDict(dict(own=dict(format="irgl", dir=folder, latents="", world=None)))
    c.data.mixture = tuple(("own", *rest) for _, *rest in c.data.mixture)
    c.sampling.max_prompt = 64  # of TIIF's long wordings


def reflect_on_others(c: ConfigDict, folder: str) -> None:
    """Has every fifth sample of a stage be a reflection on a weak image of the world, whose faults are others."""
    c.data.sources.others = dict(format="irgl", dir=folder, latents="", world=None)
    weight = sum(weight for _, _, weight, _ in c.data.mixture) / 4
    c.data.mixture += (("others", "improving_thinking_understanding_learning", weight, False),)


def get_config(steps: str = "1000,1300") -> ConfigDict:
    """The stages, and what is generated for the report."""
    c = ConfigDict()
    c.stages = ConfigDict(dict(stage1=shapes_stage1.get_config(), stage2=shapes_stage2.get_config()))
    for stage, count in zip(("stage1", "stage2"), steps.split(","), strict=True):
        learn_from(c.stages[stage], "{workdir}/data/own")
        reflect_on_others(c.stages[stage], "{workdir}/data/shapes")
        c.stages[stage].steps = int(count)
    c.evaluate = ConfigDict(dict(dir="{workdir}/data/shapes", prompts=192, batch_size=48, seed=0, perception=300))
    c.evaluate.controls = 192
    return c
