"""The base goes on with samples about its own pictures, so that it knows how its own faults look.

``launch/shapes_base.sh`` trains ``shapes_base``, has it paint, builds the samples from what the reader sees, and runs
this: the ViT alone goes on first, with own pictures and drawn ones, then all other weights. The other samples are those
of ``shapes_base``.
"""

from irg_jax.configs import shapes_base
from ml_collections import ConfigDict

_BASE = "{workdir}/../base"
_OWN = ("own", "guided")  # pictures painted without guidance and with it, whose faults differ


def get_config() -> ConfigDict:
    """The ViT alone and one stage, from the end of ``shapes_base``."""
    c = shapes_base.get_config()
    del c["vae"]
    drawn, own = f"{_BASE}/data", [f"{{workdir}}/../{name}/samples" for name in _OWN]
    files = (drawn, *own)
    c.vit.update(
        init_from=f"{_BASE}/base2",
        pictures=tuple(f"{folder}/understanding/labelled_train.npz" for folder in files),
        held_out=f"{drawn}/understanding/labelled_held_out.npz",
        steps=15_000,
        lr=1.2e-3,
    )
    stage = c.stages.base2
    stage.seed = stage.data.seed = 2
    stage.steps = 4500
    stage.optim.lr = 1.5e-3
    stage.optim.freeze = (("^vit", 0),)
    stage.init_from = "{workdir}/vit"
    stage.data.tokenizer = f"{_BASE}/data/tokenizer"
    del stage.data.sources["trajectories"]
    for source in stage.data.sources.values():
        source.dir = source.dir.format(workdir=_BASE)
    stage.data.mixture = (
        ("understanding", "understanding", 1.4, False),
        ("painting", "painting", 2.2, False),
        ("editing", "editing", 1.6, False),
    )
    for name, folder in zip(_OWN, own, strict=True):
        for kind, form, weight in (("understanding", "llava", 0.8), ("editing", "editing", 0.7)):
            source = f"{name}_{kind}"
            stage.data.sources[source] = dict(format=form, dir=f"{folder}/{kind}", latents="", world=None)
            stage.data.mixture += ((source, source, weight, False),)
    c.stages = ConfigDict(dict(base3=stage))
    c.evaluate.dir = f"{_BASE}/data/trajectories"
    return c
