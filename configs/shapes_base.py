"""A base model of the shapes world, as BAGEL is one: it sees, compares, paints and edits, in short samples.

    python -m irg_jax.train --config shapes_base --workdir runs/base

trains the VAE and the ViT alone on labelled pictures, then all weights on two mixtures, the first mostly of
understanding, the second mostly of painting. No sample is a whole trajectory, and none is of a held-out combination. It
takes about three hours on two cores. ``shapes_base_own`` goes on from here; ``launch/shapes_base.sh`` runs both. VAE
and EMA are shipped in ``irg_jax/pretrained/shapes_base``; docs/design.md says how they were trained.
"""

from irg_jax.configs import template
from ml_collections import ConfigDict

# Architecture of the frozen VAE, whose decoder draws edges and textures: 8 x 8 pixels to 16 numbers, one token.
_VAE = dict(kind="flux", width=32, multipliers=(1, 1, 2, 2), blocks=1, channels=16, scale=1.0, shift=0.0)
# Of the prompts; GenEval's are as frequent as those of two others.
_MANNERS = ("geneval", "geneval", "wise", "tiif", "genai_bench", "oneig")
_VOCAB = 896


def use_architecture(model: ConfigDict) -> None:
    """Gives a model this VAE, for pictures of 32 pixels, in the place of pixels, and this vocabulary."""
    model.vae = ConfigDict(_VAE)
    model.max_latent_size = 4
    model.decoder.vocab = _VOCAB


def _world(train: int) -> dict[str, object]:
    return dict(seed=100, train=train, held_out=600, vocab=_VOCAB, manners=_MANNERS)


def _base1() -> ConfigDict:
    c = template.get_config()
    c.steps = 7500
    c.init_from = "{workdir}/vit"
    use_architecture(c.model)
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
        ("understanding", "understanding", 6.0, False),
        ("painting", "painting", 2.0, False),
        ("editing", "editing", 3.0, False),
    )
    # Samples are short. In rows that are not much longer less time goes into attention that a mask throws away.
    c.data.batch_size = 12
    c.data.budgets.update(und=224, gen=96, vit=48, images=6)
    c.data.dropout.vae = 0.0
    c.loss.mse_weight = 1.0
    c.optim.update(lr=2e-3, schedule="constant", warmup_steps=200, ema_decay=0.999)
    c.checkpoint.every = 1500
    c.log.every = 100
    c.sampling.max_prompt = 64  # of TIIF's long wordings
    return c


def _base2() -> ConfigDict:
    c = _base1()
    c.seed = c.data.seed = 1
    c.steps = 4500
    c.init_from = "{workdir}/base1"
    c.data.mixture = (
        ("understanding", "understanding", 1.0, False),
        ("painting", "painting", 3.0, False),
        ("editing", "editing", 3.0, False),
    )
    c.data.dropout.text = 0.1  # for guidance
    c.optim.update(schedule="cosine", final_lr=1e-4, warmup_steps=100, ema_decay=0.995)
    return c


def get_config() -> ConfigDict:
    """VAE and ViT alone, then the mixtures."""
    c = ConfigDict()
    pictures = {
        "pictures": ("{workdir}/data/understanding/labelled_train.npz",),
        "held_out": "{workdir}/data/understanding/labelled_held_out.npz",
    }
    common = dict(pictures, lr=2e-3, warmup_steps=100, seed=0)
    c.vae = ConfigDict(dict(common, steps=5500, batch_size=32, divergence=1e-3))
    c.vit = ConfigDict(dict(common, steps=6000, batch_size=128))
    c.stages = ConfigDict(dict(base1=_base1(), base2=_base2()))
    c.evaluate = ConfigDict(dict(dir="{workdir}/data/trajectories", prompts=48, batch_size=48, seed=0, perception=300))
    return c
