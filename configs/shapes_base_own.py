"""The base goes on with samples about its own pictures, so that it knows how its own faults look.

``launch/shapes_base.sh`` trains ``shapes_base``, has it paint, builds the samples from what the reader sees, and runs
this. The other samples are those of ``shapes_base``.
"""

from irg_jax.configs import shapes_base
from ml_collections import ConfigDict

_BASE = "{workdir}/../base"


def get_config() -> ConfigDict:
    """One stage from the end of ``shapes_base``."""
    c = shapes_base.get_config()
    stage = c.stages.base2
    stage.seed = stage.data.seed = 2
    stage.steps = 2700
    stage.optim.lr = 1.7e-3
    stage.init_from = f"{_BASE}/base2"
    stage.data.tokenizer = f"{_BASE}/data/tokenizer"
    del stage.data.sources["trajectories"]
    for source in stage.data.sources.values():
        source.dir = source.dir.format(workdir=_BASE)
    stage.data.mixture = (
        ("understanding", "understanding", 1.0, False),
        ("painting", "painting", 2.5, False),
        ("editing", "editing", 1.5, False),
    )
    # Painted without guidance and with it: their faults differ.
    for own in ("own", "guided"):
        folder = f"{{workdir}}/../{own}/samples"
        for kind, form, weight in (("understanding", "llava", 0.8), ("editing", "editing", 0.6)):
            name = f"{own}_{kind}"
            stage.data.sources[name] = dict(format=form, dir=f"{folder}/{kind}", latents="", world=None)
            stage.data.mixture += ((name, name, weight, False),)
    c.stages = ConfigDict(dict(base3=stage))
    del c["vae"], c["vit"]
    c.evaluate.dir = f"{_BASE}/data/trajectories"
    return c
