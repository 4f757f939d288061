"""What the released code computes with a tiny random BAGEL, and our model with the same weights, to compare with it."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx

from irg_jax.checkpoints.bagel import names
from irg_jax.checkpoints.bagel import vae as bagel_vae
from irg_jax.core.tree import weight_name
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.images import ImageTransform
from irg_jax.data.packing import layout
from irg_jax.data.packing.layout import Budgets, RowBuilder
from irg_jax.data.processor import Processor
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.models.config import DecoderConfig, ExecutionConfig, FluxVAEConfig, ModelConfig, ViTConfig
from irg_jax.models.transformer import UnifiedTransformer, abstract_model
from irg_jax.models.vae.flux import FluxVAE
from irg_jax.training.losses import FlowDraws, latent_tokens

FOLDER = pathlib.Path(__file__).parent / "data" / "bagel_tiny"


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """``packed_batch``, ``train_forward``, ``parts``, …"""
    return dict(np.load(FOLDER / f"{name}.npz"))


# --- the batch


def packed_batch() -> dict:
    """The seven samples in one row of exactly their size."""
    words = Processor(
        Tokenizer(FOLDER / "bagel"),
        ImageTransform(max_size=128, min_size=32, stride=16),
        ImageTransform(max_size=140, min_size=56, stride=14),
    )
    builder = RowBuilder(words, config().geometry)
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
    budgets = Budgets(und=861, gen=236, vit=299, images=7, image_size=(112, 128), vit_patch=588)
    return layout.stack([builder.row()], budgets)


def flow_draws(batch: dict, shift: float) -> FlowDraws:
    """The released times and noise in the order of the batch."""
    before_sigmoid = arrays("packed_batch")["packed_timesteps"]
    s = 1 / (1 + np.exp(-before_sigmoid))
    times = np.zeros((1, 7), np.float32)
    times[0, batch["gen"]["image"][0]] = shift * s / (1 + (shift - 1) * s)
    return FlowDraws(times, arrays("train_forward")["flow_noise"][None])


def latents(batch: dict) -> jax.Array:
    """The clean latent tokens of the batch, with the released posterior noise."""
    posterior = arrays("train_forward")["vae_posterior_noise"].transpose(0, 2, 3, 1)
    return latent_tokens(ReleasedPadding(), 2, batch, posterior[None])


@functools.cache
def vae() -> FluxVAE:
    with jax.ensure_compile_time_eval():  # the first to ask may be tracing
        return bagel_vae.read(FOLDER / "bagel" / "ae.safetensors", config().vae)


class ReleasedPadding:
    """The VAE as the released code runs it: pictures padded with grey to a pack's largest, padding seen."""

    def encode(self, pixels, sizes, noise):
        height, width = (jnp.arange(n) for n in pixels.shape[1:3])
        inside = (height[:, None] < sizes[:, :1, None]) & (width < sizes[:, 1:, None])
        return vae().encode(jnp.where(inside[..., None], pixels, 0.0), None, noise)


# --- the model


def config() -> ModelConfig:
    return ModelConfig(
        decoder=DecoderConfig(
            hidden=64, layers=3, heads=4, kv_heads=2, head_dim=16, mlp=96, vocab=512, rope_theta=1e6, norm_eps=1e-6
        ),
        vit=ViTConfig(hidden=48, layers=2, heads=4, mlp=80, patch=14, patches_per_side=10, norm_eps=1e-6),
        vae=FluxVAEConfig(width=32, multipliers=(1, 2, 1, 1), blocks=1, channels=16, scale=0.3611, shift=0.1159),
        latent_patch=2,
        max_latent_size=8,
        time_features=256,
    )


EXECUTION = ExecutionConfig(dtype="float32", remat="none", attention="plain", logits_chunk=64)


def graphdef(**changes) -> nnx.GraphDef:
    """The model's structure; ``changes`` are those of its execution, such as ``dtype``."""
    return abstract_model(config(), dataclasses.replace(EXECUTION, **changes))[0]


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Weights of a published file, read by the format's own library."""
    return safetensors.numpy.load_file(path)


def by_released_name(tree) -> dict[str, np.ndarray]:
    """A tree of our weights (or of their gradients) under the released names, in the released shapes."""
    found = {}

    def collect(path, x):
        row = names.ROWS[weight_name(path)]
        for slot in names.row_slots(row, x.shape):
            value = np.asarray(x if slot.layer is None else x[slot.layer])
            found[slot.key] = value.T if row.transposed else value

    jax.tree_util.tree_map_with_path(collect, tree)
    return found


def weights() -> nnx.State:
    """The released weights in our tree."""
    file = read_safetensors(FOLDER / "bagel" / "ema.safetensors")
    _, abstract = abstract_model(config())

    def filled(path, x):
        row = names.ROWS[weight_name(path)]
        values = [file[slot.key].T if row.transposed else file[slot.key] for slot in names.row_slots(row, x.shape)]
        value = np.stack(values) if row.stacked else values[0]
        assert value.shape == x.shape, (weight_name(path), value.shape, x.shape)
        return jax.numpy.asarray(value)

    return jax.tree_util.tree_map_with_path(filled, abstract)


def model() -> UnifiedTransformer:
    return nnx.merge(graphdef(), weights())
