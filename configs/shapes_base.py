"""A base model of the shapes world, as BAGEL is one: it sees, compares, paints and edits, in short samples.

    python -m irg_jax.train --config shapes_base --workdir runs/base

trains the ViT alone on labelled pictures, then all weights on a mixture that is mostly about seeing, then on one that
is mostly about painting. No sample is a whole trajectory, and none is of a held-out combination. The EMA of a run of
this config is shipped in ``irg_jax/pretrained/shapes_base``.
"""

from irg_jax.configs import template
from ml_collections import ConfigDict


def _world(train: int) -> dict[str, int]:
    return dict(seed=100, train=train, held_out=600, vocab=640)


def _seeing() -> ConfigDict:
    c = template.get_config()
    c.steps = 3000
    c.init_from = "{workdir}/vit"
    c.data.sources = ConfigDict(
        dict(
            # Only for the texts, from which the tokenizer learns the words of whole trajectories too.
            trajectories=dict(format="irgl", dir="{workdir}/data/trajectories", latents="", world=_world(2000)),
            understanding=dict(format="llava", dir="{workdir}/data/understanding", latents="", world=_world(40_000)),
            painting=dict(format="text_to_image", dir="{workdir}/data/painting", latents="", world=_world(20_000)),
            editing=dict(format="editing", dir="{workdir}/data/editing", latents="", world=_world(16_000)),
        )
    )
    c.data.mixture = (
        ("understanding", "understanding", 4.0, True),
        ("painting", "painting", 1.0, True),
        ("editing", "editing", 1.0, True),
    )
    c.data.budgets.update(und=384, gen=192, vit=96, images=3)
    c.data.dropout.vae = 0.0
    c.optim.update(lr=2e-3, final_lr=1e-3, warmup_steps=100, ema_decay=0.998)
    c.loss.mse_weight = 0.5
    return c


def _painting() -> ConfigDict:
    c = _seeing()
    c.seed = c.data.seed = 1  # other noise, another order
    c.steps = 1000
    c.init_from = "{workdir}/base1"
    c.data.mixture = (
        ("understanding", "understanding", 1.0, True),
        ("painting", "painting", 2.0, True),
        ("editing", "editing", 2.0, True),
    )
    c.data.budgets.update(und=256, gen=448, vit=64, images=8)
    c.optim.update(final_lr=5e-4, warmup_steps=20)
    return c


def get_config() -> ConfigDict:
    """The ViT, then both mixtures."""
    c = ConfigDict()
    c.vit = ConfigDict(
        dict(
            pictures="{workdir}/data/understanding/labelled_train.npz",
            held_out="{workdir}/data/understanding/labelled_held_out.npz",
            steps=3000,
            batch_size=64,
            lr=2e-3,
            warmup_steps=50,
            seed=0,
        )
    )
    c.stages = ConfigDict(dict(base1=_seeing(), base2=_painting()))
    c.evaluate = ConfigDict(dict(dir="{workdir}/data/trajectories", prompts=48, batch_size=48, seed=0, perception=300))
    return c
