"""What the released code computes with a tiny random BAGEL, and our model with the same weights, to compare with it."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx

from irg_jax.bagel import autoencoder as autoencoders
from irg_jax.bagel import names
from irg_jax.data import layout
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.images import ImageTransform
from irg_jax.data.layout import Budgets, RowBuilder, Vocabulary
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.models.config import ModelConfig
from irg_jax.models.flux import FluxAutoencoder
from irg_jax.models.transformer import UnifiedTransformer
from irg_jax.training.losses import FlowDraws, latent_tokens
from irg_jax.training.optimizer import weight_name
from irg_jax.training.state import graph_of

FOLDER = pathlib.Path(__file__).parent / "data" / "bagel_tiny"


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """``packed_batch``, ``train_forward``, ``parts``, …"""
    return dict(np.load(FOLDER / f"{name}.npz"))


# --- the batch


def packed_batch() -> dict:
    """The seven samples in one row of exactly their size."""
    words = Vocabulary(
        Tokenizer(FOLDER / "bagel"),
        ImageTransform(max_size=128, min_size=32, stride=16),
        ImageTransform(max_size=140, min_size=56, stride=14),
    )
    builder = RowBuilder(words, max_latent_size=8, vit_patches_per_side=10)
    for mode, parts in enumerate(json.loads((FOLDER / "samples.json").read_text())):
        made = []
        for part in parts:
            if part["type"] == "text":
                made.append(Text(part["content"], part["need_loss"]))
            else:
                flags = (part[name] for name in ("need_loss", "need_vae", "need_vit"))
                made.append(Image((FOLDER / part["image"]).read_bytes(), *flags))
        conversation = Conversation(f"samples/{mode}", tuple(made))
        builder.add(conversation, layout.segments(conversation, words), dropped=0, mode=mode)
    row = builder.build(Budgets(und=861, gen=236, vit=299, images=7, image_size=(112, 128), vit_patch=588))
    return jax.tree.map(lambda x: x[None], row)


def flow_draws(batch: dict, shift: float) -> FlowDraws:
    """The released times and noise in the order of the batch."""
    before_sigmoid = arrays("packed_batch")["packed_timesteps"]
    s = 1 / (1 + np.exp(-before_sigmoid))
    times = np.zeros((1, 7), np.float32)
    times[0, batch["gen"]["block"][0]] = shift * s / (1 + (shift - 1) * s)
    return FlowDraws(times, arrays("train_forward")["flow_noise"][None])


def latents(batch: dict) -> jax.Array:
    """The clean latent tokens of the batch, with the released posterior noise."""
    posterior = arrays("train_forward")["vae_posterior_noise"].transpose(0, 2, 3, 1)
    return latent_tokens(ReleasedPadding(), 2, batch, posterior[None])


@functools.cache
def autoencoder() -> FluxAutoencoder:
    with jax.ensure_compile_time_eval():  # the first to ask may be tracing
        return autoencoders.read(FOLDER / "bagel" / "ae.safetensors", config().autoencoder)


class ReleasedPadding:
    """The VAE as the released code runs it: pictures padded with grey to a pack's largest, padding seen."""

    def encode(self, pixels, sizes, noise):
        height, width = (jnp.arange(n) for n in pixels.shape[1:3])
        inside = (height[:, None] < sizes[:, :1, None]) & (width < sizes[:, 1:, None])
        return autoencoder().encode(jnp.where(inside[..., None], pixels, 0.0), None, noise)


# --- the model


def config() -> ModelConfig:
    return ModelConfig.from_mapping(
        {
            "decoder": dict(
                hidden=64, layers=3, heads=4, kv_heads=2, head_dim=16, mlp=96, vocab=512, rope_theta=1e6, norm_eps=1e-6
            ),
            "vit": dict(hidden=48, layers=2, heads=4, mlp=80, patch=14, patches_per_side=10, norm_eps=1e-6),
            "autoencoder": dict(
                kind="flux", width=32, multipliers=(1, 2, 1, 1), blocks=1, channels=16, scale=0.3611, shift=0.1159
            ),
            "latent_patch": 2,
            "max_latent_size": 8,
            "time_features": 256,
            "dtype": "float32",
            "remat": "none",
            "attention": "plain",
            "logits_chunk": 64,
            "encode": "within",
        }
    )


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Weights of a published file, read by the format's own library."""
    return safetensors.numpy.load_file(path)


def by_released_name(tree) -> dict[str, np.ndarray]:
    """A tree of our weights (or of their gradients) under the released names, in the released shapes."""
    found = {}

    def one(path, x):
        row = names.ROWS[weight_name(path)]
        for slot in names.row_slots(row, x.shape):
            value = np.asarray(x if slot.layer is None else x[slot.layer])
            found[slot.key] = value.T if row.transposed else value

    jax.tree_util.tree_map_with_path(one, tree)
    return found


def weights() -> nnx.State:
    """The released weights in our tree."""
    file = read_safetensors(FOLDER / "bagel" / "ema.safetensors")
    _, abstract = graph_of(config())

    def one(path, x):
        row = names.ROWS[weight_name(path)]
        values = [file[slot.key].T if row.transposed else file[slot.key] for slot in names.row_slots(row, x.shape)]
        value = np.stack(values) if row.stacked else values[0]
        assert value.shape == x.shape, (weight_name(path), value.shape, x.shape)
        return jax.numpy.asarray(value)

    return jax.tree_util.tree_map_with_path(one, abstract)


def model() -> UnifiedTransformer:
    return nnx.merge(graph_of(config())[0], weights())
