"""Cross entropy of text and rectified-flow error of images, token by token (irg.md §5)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from irg_jax.models import autoencoder as ae
from irg_jax.models import flow, placement
from irg_jax.models.attention.spans import Spans
from irg_jax.models.config import ModelConfig
from irg_jax.models.cross_entropy import token_cross_entropy
from irg_jax.models.transformer import Stream, UnifiedTransformer


class FlowDraws(NamedTuple):
    """Everything random in a forward pass.

    Attributes:
      times: flow time of each image, float32 [B, images].
      noise: float32 [B, G, channels].
    """

    times: jax.Array
    noise: jax.Array


class TokenLosses(NamedTuple):
    """Losses of every token, zero where there is none.

    Attributes:
      ce: cross entropy times its weight, float32 [B, U].
      mse: squared velocity error, mean over the channels, float32 [B, G].
    """

    ce: jax.Array
    mse: jax.Array


def draw_flow(key: jax.Array, batch: dict, config: ModelConfig, shift: float) -> FlowDraws:
    """Times (one an image) and noise for a whole batch, whatever it is split into afterwards."""
    time_key, noise_key = jax.random.split(key)
    return FlowDraws(
        flow.sample_times(time_key, batch["sizes"].shape[:2], shift),
        jax.random.normal(noise_key, (*batch["gen"]["place"].shape, config.token_channels)),
    )


def draw_posterior(key: jax.Array, batch: dict, config: ModelConfig) -> jax.Array:
    """Noise of the autoencoder's posterior, float32 [B, images, h, w, channels], for the key of ``draw_flow``."""
    rows, images, height, width, _ = batch["images"].shape
    factor, channels = config.autoencoder.downsample, config.autoencoder.channels
    return jax.random.normal(jax.random.fold_in(key, 2), (rows, images, height // factor, width // factor, channels))


def latent_tokens(autoencoder: Any, latent_patch: int, batch: dict, noise: jax.Array | None = None) -> jax.Array:
    """Clean latent patches of the generation stream.

    Args:
      autoencoder: frozen.
      latent_patch: latents a token's side.
      batch: its ``images``, their ``sizes`` and the generation stream are read.
      noise: of ``draw_posterior``; without it the posterior's mean is taken.

    Returns:
      float32 [B, G, channels], through which no gradient goes; arbitrary where the stream is padding.
    """
    gen = batch["gen"]
    tokens = _encoded(autoencoder, latent_patch, (batch["images"], batch["sizes"], noise))
    count, rows, columns, channels = tokens.shape[1:]
    index = (gen["image"] * rows + gen["patch_row"]) * columns + gen["patch_column"]
    tokens = tokens.reshape(len(tokens), count * rows * columns, channels)
    return jax.lax.stop_gradient(jnp.take_along_axis(tokens, index[..., None], axis=1))


def _encoded(autoencoder: Any, latent_patch: int, pictures: tuple[jax.Array, jax.Array, jax.Array | None]) -> jax.Array:
    """Latent patches [B, images, rows, columns, channels] of pixels, their sizes and the posterior's noise.

    Every device takes one picture at a time: an autoencoder's memory at 1024 x 1024 would not bear more. Devices that
    share the tokens of a row share its pictures.
    """
    batch, images = pictures[0].shape[:2]
    shards, devices = placement.row_shards(), placement.devices_a_row()
    turns = -(-images // devices)
    cut = (shards, batch // shards, devices, turns)

    def deal(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, [(0, 0), (0, turns * devices - images)] + [(0, 0)] * (x.ndim - 2)).reshape(*cut, *x.shape[2:])
        x = jnp.moveaxis(x, (1, 3), (0, 1))
        return placement.one_a_device(x.reshape(cut[1] * turns, shards * devices, *x.shape[4:]))

    def encode(dealt: tuple) -> jax.Array:
        pixels, sizes, drawn = dealt
        return ae.to_tokens(autoencoder.encode(ae.to_unit(pixels), sizes, drawn), latent_patch)

    tokens = jax.lax.map(encode, jax.tree.map(deal, pictures))
    tokens = tokens.reshape(cut[1], turns, shards, devices, *tokens.shape[2:])
    tokens = jnp.moveaxis(tokens, (0, 1), (1, 3))
    return placement.gather_tokens(tokens.reshape(batch, devices * turns, *tokens.shape[4:])[:, :images])


def token_losses(model: UnifiedTransformer, batch: dict, x0: jax.Array, draws: FlowDraws) -> TokenLosses:
    """One forward pass over packed rows.

    Args:
      model: the transformer.
      batch: see ``data.layout.batch_spec``; its pixels for the autoencoder are not read.
      x0: of ``latent_tokens``.
      draws: times and noise.
    """
    und, gen, vit = batch["und"], batch["gen"], batch["vit"]
    t = jnp.where(gen["noised"], jnp.take_along_axis(draws.times, gen["block"], axis=1), 0.0)
    features = model.vit_features(
        ae.to_unit(vit["patches"]), vit["place"], Spans(vit["position"], vit["start"], vit["end"])
    )
    und_x = model.embed_und(und["ids"], und["vit"], features)
    gen_x = model.embed_gen(flow.interpolate(x0, draws.noise, t), t, gen["place"])

    def placed(x: jax.Array, stream: dict) -> Stream:
        return Stream(x, *(stream[name] for name in ("position", "rope", "start", "end")))

    und_h, gen_h, _ = model(placed(und_x, und), placed(gen_x, gen))
    with jax.named_scope("losses"):
        ce = token_cross_entropy(und_h, model.lm_head.weight(), und["label"], chunk=model.config.logits_chunk)
        error = model.velocity(gen_h) - flow.velocity_target(x0, draws.noise)
        mse = jnp.mean(error * error, axis=-1)
    return TokenLosses(ce * und["weight"], mse * gen["noised"])


def by_mode(values: jax.Array, modes: jax.Array, count: int) -> jax.Array:
    """Sums of token values [B, T] by learning mode, [count]."""
    return jnp.sum(jax.nn.one_hot(modes, count, dtype=values.dtype) * values[..., None], axis=(0, 1))
