"""A base model of the shapes world, as BAGEL is one: it sees, compares, paints and edits, in short samples.

    python -m irg_jax.train --config shapes_base --workdir runs/base

trains the ViT alone on labelled pictures, then all weights on one mixture. No sample is a whole trajectory, and none is
of a held-out combination. It is made for one GPU, whose machine has cores to build rows (add
``--config.stages.base.data.workers=14``); two cores would take hours. The EMA is shipped in
``irg_jax/pretrained/shapes_base``; docs/design.md says how it was trained.
"""

from irg_jax.configs import template
from ml_collections import ConfigDict


def _world(train: int) -> dict[str, int]:
    return dict(seed=100, train=train, held_out=600, vocab=640)


def _base() -> ConfigDict:
    c = template.get_config()
    c.steps = 1768
    c.init_from = "{workdir}/vit"
    c.data.sources = ConfigDict(
        dict(
            # Only for the texts, from which the tokenizer learns the words of whole trajectories too.
            trajectories=dict(format="irgl", dir="{workdir}/data/trajectories", latents="", world=_world(2000)),
            understanding=dict(format="llava", dir="{workdir}/data/understanding", latents="", world=_world(160_000)),
            painting=dict(format="text_to_image", dir="{workdir}/data/painting", latents="", world=_world(100_000)),
            editing=dict(format="editing", dir="{workdir}/data/editing", latents="", world=_world(100_000)),
        )
    )
    c.data.mixture = (
        ("understanding", "understanding", 6.0, True),
        ("painting", "painting", 2.0, True),
        ("editing", "editing", 3.0, True),
    )
    c.data.batch_size = 16
    c.data.budgets.update(und=640, gen=448, vit=128, images=10)
    c.data.dropout.vae = 0.0
    c.loss.mse_weight = 1.0
    c.optim.update(lr=2e-3, schedule="constant", warmup_steps=200, ema_decay=0.999)
    c.checkpoint.every = 2000
    c.log.every = 100
    return c


def get_config() -> ConfigDict:
    """The ViT, then the mixture."""
    c = ConfigDict()
    c.vit = ConfigDict(
        dict(
            pictures="{workdir}/data/understanding/labelled_train.npz",
            held_out="{workdir}/data/understanding/labelled_held_out.npz",
            steps=6000,
            batch_size=128,
            lr=2e-3,
            warmup_steps=100,
            seed=0,
        )
    )
    c.stages = ConfigDict(dict(base=_base()))
    c.evaluate = ConfigDict(dict(dir="{workdir}/data/trajectories", prompts=48, batch_size=48, seed=0, perception=300))
    return c
