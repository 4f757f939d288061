"""Cross entropy of text and flow matching error of images, per token (BAGEL, arXiv 2505.14683; see docs/method.md)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from irg_jax.models import flow
from irg_jax.models.attention.spans import Spans
from irg_jax.models.config import ModelConfig, VAEConfig
from irg_jax.models.cross_entropy import token_cross_entropy
from irg_jax.models.transformer import Stream, UnifiedTransformer
from irg_jax.models.vae.latents import patchify, to_unit
from irg_jax.models.vae.moments import to_latents
from irg_jax.sharding import activations

KeyOf = Callable[[str], jax.Array]  # from the name of a stream in ``random_streams`` to its key at this step


class FlowDraws(NamedTuple):
    """Everything random in a forward pass, apart from the VAE's posterior.

    Attributes:
      times: timestep of each image, float32 [B, images].
      noise: of each generation token, float32 [B, G, channels].
    """

    times: jax.Array
    noise: jax.Array


class TokenLosses(NamedTuple):
    """The losses of every token, zero where it has none.

    Attributes:
      ce: cross entropy times its weight, float32 [B, U].
      mse: squared velocity error, mean over the channels, float32 [B, G].
    """

    ce: jax.Array
    mse: jax.Array


def draw_flow(key_of: KeyOf, batch: dict, config: ModelConfig, shift: float) -> FlowDraws:
    """Draws timesteps (one per image) and noise for a whole batch, before it is split into microbatches."""
    return FlowDraws(
        flow.sample_times(key_of("times"), batch["sizes"].shape[:2], shift),
        jax.random.normal(key_of("noise"), (*batch["gen"]["pos_id"].shape, config.token_channels)),
    )


def draw_posterior(key: jax.Array, batch: dict, config: ModelConfig) -> jax.Array:
    """Draws the noise of the VAE's posterior, float32 [B, images, h, w, channels]: the same for pixels and moments."""
    if "moments" in batch:
        shape = batch["moments"].shape[:4]
    else:
        rows, images, height, width, _ = batch["images"].shape
        shape = (rows, images, height // config.vae.downsample, width // config.vae.downsample)
    return jax.random.normal(key, (*shape, config.vae.channels))


def latent_tokens(vae: Any, latent_patch: int, batch: dict, noise: jax.Array | None = None) -> jax.Array:
    """The clean latent patches of the generation stream of a batch: its images encoded, or its moments sampled.

    Args:
      vae: the frozen VAE; for a batch with moments only its config is read.
      latent_patch: latents per side of a token.
      batch: its ``images`` and their ``sizes``, or its ``moments``, and the generation stream are read.
      noise: of ``draw_posterior``; without it the posterior's mean is taken.

    Returns:
      float32 [B, G, channels], without gradient; arbitrary where the stream is padding.
    """
    gen = batch["gen"]
    if "moments" in batch:
        tokens = _sample_moments(vae.config, latent_patch, batch["moments"], noise)
    else:
        tokens = _encode_images(vae, latent_patch, (batch["images"], batch["sizes"], noise))
    count, rows, columns, channels = tokens.shape[1:]
    index = (gen["image"] * rows + gen["patch_row"]) * columns + gen["patch_column"]
    tokens = tokens.reshape(len(tokens), count * rows * columns, channels)
    return jax.lax.stop_gradient(jnp.take_along_axis(tokens, index[..., None], axis=1))


def _sample_moments(config: VAEConfig, latent_patch: int, moments: jax.Array, noise: jax.Array | None) -> jax.Array:
    """Latent patches [B, images, rows, columns, channels] of moments [B, images, h, w, 2·channels]."""
    batch, images, *_ = moments.shape
    latents = to_latents(config, moments, noise)
    tokens = patchify(latents.reshape(batch * images, *latents.shape[2:]), latent_patch)
    return activations.gather_tokens(tokens.reshape(batch, images, *tokens.shape[1:]))


def _encode_images(vae: Any, latent_patch: int, inputs: tuple[jax.Array, jax.Array, jax.Array | None]) -> jax.Array:
    """Latent patches [B, images, rows, columns, channels] of pixels, their sizes and the posterior's noise.

    Images are encoded in rounds of one per device: the VAE's activations of several 1024 x 1024 images would not fit in
    its memory. Devices that share the tokens of a row share its images.
    """
    batch, images = inputs[0].shape[:2]
    shards, devices = activations.row_shards(), activations.devices_per_row()
    shard_rows, rounds = batch // shards, -(-images // devices)  # rounds per row

    def split_into_rounds(x: jax.Array) -> jax.Array:
        """[B, images, …] to [all rounds, all devices, …]."""
        x = jnp.pad(x, [(0, 0), (0, rounds * devices - images)] + [(0, 0)] * (x.ndim - 2))
        x = jnp.moveaxis(x.reshape(shards, shard_rows, devices, rounds, *x.shape[2:]), (1, 3), (0, 1))
        return activations.shard_one_per_device(x.reshape(shard_rows * rounds, shards * devices, *x.shape[4:]))

    def encode_round(inputs: tuple) -> jax.Array:
        pixels, sizes, noise = inputs
        return patchify(vae.encode(to_unit(pixels), sizes, noise), latent_patch)

    tokens = jax.lax.map(encode_round, jax.tree.map(split_into_rounds, inputs))
    tokens = tokens.reshape(shard_rows, rounds, shards, devices, *tokens.shape[2:])
    tokens = jnp.moveaxis(tokens, (0, 1), (1, 3))
    return activations.gather_tokens(tokens.reshape(batch, devices * rounds, *tokens.shape[4:])[:, :images])


def token_losses(model: UnifiedTransformer, batch: dict, x0: jax.Array, draws: FlowDraws) -> TokenLosses:
    """One forward pass over packed rows.

    Args:
      model: the transformer.
      batch: see ``data.packing.layout.batch_spec``; its ``images`` or ``moments`` are not read.
      x0: of ``latent_tokens``.
      draws: of ``draw_flow``.
    """
    und, gen, vit = batch["und"], batch["gen"], batch["vit"]
    t = jnp.where(gen["noised"], jnp.take_along_axis(draws.times, gen["image"], axis=1), 0.0)
    features = model.vit_features(
        to_unit(vit["patches"]), vit["pos_id"], Spans(vit["position"], vit["start"], vit["end"])
    )
    und_x = model.embed_und(und["ids"], und["vit"], features)
    gen_x = model.embed_gen(flow.interpolate(x0, draws.noise, t), t, gen["pos_id"])

    def make_stream(x: jax.Array, columns: dict) -> Stream:
        return Stream(x, *(columns[name] for name in ("position", "rope", "start", "end")))

    und_h, gen_h, _ = model(make_stream(und_x, und), make_stream(gen_x, gen))
    with jax.named_scope("losses"):
        ce = token_cross_entropy(und_h, model.lm_head.weight(), und["label"], chunk=model.execution.logits_chunk)
        error = model.velocity(gen_h) - flow.velocity_target(x0, draws.noise)
        mse = jnp.mean(error * error, axis=-1)
    return TokenLosses(ce * und["weight"], mse * gen["noised"])


def sum_by_mode(values: jax.Array, modes: jax.Array, count: int) -> jax.Array:
    """Sums of token values [B, T] per learning mode, [count]; tokens of mode −1 are left out."""
    return jnp.sum(jax.nn.one_hot(modes, count, dtype=values.dtype) * values[..., None], axis=(0, 1))
