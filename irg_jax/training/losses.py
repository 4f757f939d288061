"""Cross entropy of text and rectified-flow error of images, token by token (irg.md §5)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from irg_jax.models import autoencoder as ae
from irg_jax.models import flow
from irg_jax.models.attention import Spans
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


def draw_flow(key: jax.Array, batch: dict, channels: int, shift: float) -> FlowDraws:
    """Times (one an image) and noise for a whole batch, whatever it is split into afterwards."""
    time_key, noise_key = jax.random.split(key)
    times = flow.sample_times(time_key, batch["images"].shape[:2], shift)
    return FlowDraws(times, jax.random.normal(noise_key, (*batch["gen"]["place"].shape, channels)))


def latent_tokens(autoencoder: Any, latent_patch: int, images: jax.Array, gen: dict) -> jax.Array:
    """Clean latent patches of the generation stream.

    Args:
      autoencoder: frozen.
      latent_patch: latents a token's side.
      images: uint8 [B, M, H, W, 3].
      gen: the batch's generation stream.

    Returns:
      float32 [B, G, channels]; arbitrary where the stream is padding.
    """
    batch, count, *size = images.shape
    latents = autoencoder.encode(ae.to_unit(images.reshape(batch * count, *size)))
    tokens = ae.to_tokens(latents, latent_patch)
    _, rows, columns, channels = tokens.shape
    index = (gen["image"] * rows + gen["patch_row"]) * columns + gen["patch_column"]
    return jnp.take_along_axis(tokens.reshape(batch, count * rows * columns, channels), index[..., None], axis=1)


def token_losses(model: UnifiedTransformer, autoencoder: Any, batch: dict, draws: FlowDraws) -> TokenLosses:
    """One forward pass over packed rows.

    Args:
      model: the transformer.
      autoencoder: frozen.
      batch: see ``data.layout.batch_spec``.
      draws: times and noise.
    """
    und, gen, vit = batch["und"], batch["gen"], batch["vit"]
    x0 = jax.lax.stop_gradient(latent_tokens(autoencoder, model.config.latent_patch, batch["images"], gen))
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
        ce = optax.softmax_cross_entropy_with_integer_labels(model.logits(und_h), und["label"])
        error = model.velocity(gen_h) - flow.velocity_target(x0, draws.noise)
        mse = jnp.mean(error * error, axis=-1)
    return TokenLosses(ce * und["weight"], mse * gen["noised"])


def by_mode(values: jax.Array, modes: jax.Array, count: int) -> jax.Array:
    """Sums of token values [B, T] by learning mode, [count]."""
    return jnp.sum(jax.nn.one_hot(modes, count, dtype=values.dtype) * values[..., None], axis=(0, 1))
