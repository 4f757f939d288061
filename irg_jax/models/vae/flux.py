"""The FLUX VAE: a convolutional encoder and decoder around a Gaussian posterior, as BAGEL uses it.

Images of several sizes share one array, padded at the bottom and right. ``valid``, bool [N, H, W, 1], is the mask of
the pixels that belong to an image; None says that all do. Whatever mixes positions (convolution, group norm, attention)
sees zeros or nothing of the padding, so that the latents of an image do not depend on its padding or its neighbours.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax.models.config import FluxVAEConfig
from irg_jax.models.layers import Linear, param
from irg_jax.models.vae.moments import to_latents

GROUPS = 32
NORM_EPS = 1e-6
# The attention of a 1024x1024 image has 16,384 queries; scores of this many are in memory at a time.
QUERY_CHUNK = 512

_kernel = nnx.initializers.lecun_normal()


class Conv(nnx.Module):
    """3x3 convolution in the dtype of ``x``; with stride 2 it pads only the bottom and right."""

    def __init__(self, n_in: int, n_out: int, *, stride: int = 1, rngs: nnx.Rngs):
        self.kernel = param(rngs, _kernel, (3, 3, n_in, n_out), (None, None, None, None))
        self.bias = param(rngs, nnx.initializers.zeros, (n_out,), (None,))
        self.stride = stride

    def __call__(self, x: jax.Array, valid: jax.Array | None) -> jax.Array:
        if valid is not None:
            x = jnp.where(valid, x, 0)
        y = jax.lax.conv_general_dilated(
            x,
            self.kernel[...].astype(x.dtype),
            window_strides=(self.stride, self.stride),
            padding=((2 - self.stride, 1), (2 - self.stride, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y + self.bias[...].astype(x.dtype)


class GroupNorm(nnx.Module):
    """Group normalization over the pixels of each image; computed in float32, returned in the dtype of ``x``."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.scale = param(rngs, nnx.initializers.ones, (channels,), (None,))
        self.bias = param(rngs, nnx.initializers.zeros, (channels,), (None,))

    def __call__(self, x: jax.Array, valid: jax.Array | None) -> jax.Array:
        columns = None if valid is None else valid[..., None]
        rows = None if valid is None else valid[:, :, :1, :, None]

        def mean(y: jax.Array) -> jax.Array:
            # Row by row, since XLA on a CPU may sum a whole image in one long float32 sum, which loses two digits. A
            # row without valid pixels has no mean, and the second step leaves it out.
            y = jnp.mean(y, axis=(2, 4), keepdims=True, where=columns)
            return jnp.mean(y, axis=1, keepdims=True, where=rows)

        y = x.astype(jnp.float32).reshape(*x.shape[:3], GROUPS, x.shape[3] // GROUPS)
        y = y - mean(y)
        y = (y * jax.lax.rsqrt(mean(y * y) + NORM_EPS)).reshape(x.shape)
        return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


class ResidualBlock(nnx.Module):
    """x + conv(swish(norm(conv(swish(norm(x)))))), with a linear shortcut where the number of channels changes."""

    def __init__(self, n_in: int, n_out: int, *, rngs: nnx.Rngs):
        self.norm1 = GroupNorm(n_in, rngs=rngs)
        self.conv1 = Conv(n_in, n_out, rngs=rngs)
        self.norm2 = GroupNorm(n_out, rngs=rngs)
        self.conv2 = Conv(n_out, n_out, rngs=rngs)
        self.shortcut = None if n_in == n_out else _linear(n_in, n_out, rngs)

    def __call__(self, x: jax.Array, valid: jax.Array | None) -> jax.Array:
        h = self.conv1(jax.nn.silu(self.norm1(x, valid)), valid)
        h = self.conv2(jax.nn.silu(self.norm2(h, valid)), valid)
        return h + (x if self.shortcut is None else self.shortcut(x))


class AttentionBlock(nnx.Module):
    """x + attention(norm(x)), with one head over all pixels of an image."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.norm = GroupNorm(channels, rngs=rngs)
        self.q = _linear(channels, channels, rngs)
        self.k = _linear(channels, channels, rngs)
        self.v = _linear(channels, channels, rngs)
        self.out = _linear(channels, channels, rngs)

    def __call__(self, x: jax.Array, valid: jax.Array | None) -> jax.Array:
        h = self.norm(x, valid)
        return x + self.out(attention(self.q(h), self.k(h), self.v(h), valid))


class MidBlock(nnx.Module):
    """The blocks at the resolution of the latents: residual, attention, residual."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.block1 = ResidualBlock(channels, channels, rngs=rngs)
        self.attention = AttentionBlock(channels, rngs=rngs)
        self.block2 = ResidualBlock(channels, channels, rngs=rngs)

    def __call__(self, x: jax.Array, valid: jax.Array | None) -> jax.Array:
        return self.block2(self.attention(self.block1(x, valid), valid), valid)


class DownBlock(nnx.Module):
    """The encoder at one resolution: residual blocks, then a convolution with stride 2 unless this is the last one."""

    def __init__(self, n_in: int, n_out: int, blocks: int, *, downsample: bool, rngs: nnx.Rngs):
        resample = Conv(n_out, n_out, stride=2, rngs=rngs) if downsample else None
        self.blocks = _residual_blocks(n_in, n_out, blocks, rngs)
        self.resample = resample

    def __call__(self, x: jax.Array, valid: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
        for block in self.blocks:
            x = block(x, valid)
        if self.resample is None:
            return x, valid
        return self.resample(x, valid), None if valid is None else valid[:, ::2, ::2]


class UpBlock(nnx.Module):
    """The decoder at one resolution: residual blocks, then 2x nearest-neighbour upsampling and a convolution."""

    def __init__(self, n_in: int, n_out: int, blocks: int, *, upsample: bool, rngs: nnx.Rngs):
        resample = Conv(n_out, n_out, rngs=rngs) if upsample else None
        self.blocks = _residual_blocks(n_in, n_out, blocks, rngs)
        self.resample = resample

    def __call__(self, x: jax.Array) -> jax.Array:
        for block in self.blocks:
            x = block(x, None)
        if self.resample is None:
            return x
        return self.resample(x.repeat(2, axis=1).repeat(2, axis=2), None)


class Encoder(nnx.Module):
    """Pixels to the mean and log-variance of latents, from full resolution down to that of the latents."""

    def __init__(self, config: FluxVAEConfig, *, rngs: nnx.Rngs):
        widths = [config.width * multiplier for multiplier in config.multipliers]
        last = len(widths) - 1
        self.conv_in = Conv(3, config.width, rngs=rngs)
        self.levels: nnx.List[DownBlock] = nnx.List()
        for i, (n_in, n_out) in enumerate(zip([config.width, *widths[:-1]], widths, strict=True)):
            self.levels.append(DownBlock(n_in, n_out, config.blocks, downsample=i < last, rngs=rngs))
        self.middle = MidBlock(widths[last], rngs=rngs)
        self.norm_out = GroupNorm(widths[last], rngs=rngs)
        self.conv_out = Conv(widths[last], 2 * config.channels, rngs=rngs)

    def __call__(self, x: jax.Array, valid: jax.Array | None) -> jax.Array:
        x = self.conv_in(x, valid)
        for level in self.levels:
            x, valid = level(x, valid)
        x = self.middle(x, valid)
        return self.conv_out(jax.nn.silu(self.norm_out(x, valid)), valid)


class Decoder(nnx.Module):
    """Latents to pixels. Its ``levels`` have the order of the encoder's, and run from the last to the first."""

    def __init__(self, config: FluxVAEConfig, *, rngs: nnx.Rngs):
        widths = [config.width * multiplier for multiplier in config.multipliers]
        self.conv_in = Conv(config.channels, widths[-1], rngs=rngs)
        self.middle = MidBlock(widths[-1], rngs=rngs)
        self.levels: nnx.List[UpBlock] = nnx.List()
        for i, (n_in, n_out) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True)):
            self.levels.append(UpBlock(n_in, n_out, config.blocks + 1, upsample=i > 0, rngs=rngs))
        self.norm_out = GroupNorm(widths[0], rngs=rngs)
        self.conv_out = Conv(widths[0], 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.middle(self.conv_in(x, None), None)
        for level in reversed(self.levels):
            x = level(x)
        return self.conv_out(jax.nn.silu(self.norm_out(x, None)), None)


class FluxVAE(nnx.Module):
    """The VAE of BAGEL. It computes in the dtype of its input; see ``models.vae`` for the interface."""

    def __init__(self, config: FluxVAEConfig, *, rngs: nnx.Rngs):
        self.encoder = Encoder(config, rngs=rngs)
        self.decoder = Decoder(config, rngs=rngs)
        self.config = config

    def moments(self, pixels: jax.Array, sizes: jax.Array | None = None) -> jax.Array:
        """Mean and log-variance of the latents, before scale and shift.

        Args:
          pixels: [N, H, W, 3] in [−1, 1], sides multiples of ``config.downsample``.
          sizes: int [N, 2], (height, width) in pixels of each image, multiples of ``config.downsample``; the rest is
            padding with any content, and a slot without an image has size 0. None: every image fills its array.

        Returns:
          [N, H/f, W/f, 2·channels]. Moments of padding are finite and mean nothing.
        """
        return self.encoder(pixels, None if sizes is None else _valid_mask(sizes, *pixels.shape[1:3]))

    def encode(self, pixels: jax.Array, sizes: jax.Array | None = None, noise: jax.Array | None = None) -> jax.Array:
        """Scaled latents [N, H/f, W/f, channels]: the posterior's mean, or a sample mean + std·``noise``."""
        with jax.named_scope("vae_encode"):
            return to_latents(self.config, self.moments(pixels, sizes), noise)

    def decode(self, latents: jax.Array) -> jax.Array:
        """Pixels [N, H, W, 3] in about [−1, 1] from scaled latents [N, H/f, W/f, channels]."""
        with jax.named_scope("vae_decode"):
            return self.decoder(latents / self.config.scale + self.config.shift)


def attention(q: jax.Array, k: jax.Array, v: jax.Array, valid: jax.Array | None) -> jax.Array:
    """softmax(q·kᵀ/√C) v over all valid pixels, a few rows of queries at a time.

    Args:
      q: [N, H, W, C].
      k: as ``q``.
      v: as ``q``; finite everywhere.
      valid: bool [N, H, W, 1]; None if all are.

    Returns:
      [N, H, W, C] in the dtype of ``v``. Scores and softmax are float32.
    """
    _, height, width, channels = q.shape

    def attend_row(queries: jax.Array) -> jax.Array:
        scores = jnp.einsum("nqc,nhwc->nqhw", queries, k, preferred_element_type=jnp.float32)
        if valid is not None:
            scores = jnp.where(valid[:, None, :, :, 0], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=(2, 3)).astype(v.dtype)
        return jnp.einsum("nqhw,nhwc->nqc", weights, v)

    rows = jnp.moveaxis(q * channels**-0.5, 1, 0)
    return jnp.moveaxis(jax.lax.map(attend_row, rows, batch_size=min(height, max(1, QUERY_CHUNK // width))), 0, 1)


def _valid_mask(sizes: jax.Array, height: int, width: int) -> jax.Array:
    """Bool [N, height, width, 1]: which pixels of padded images belong to the image."""
    rows = jnp.arange(height) < sizes[:, :1]
    columns = jnp.arange(width) < sizes[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _residual_blocks(n_in: int, n_out: int, count: int, rngs: nnx.Rngs) -> nnx.List[ResidualBlock]:
    return nnx.List([ResidualBlock(n_out if i else n_in, n_out, rngs=rngs) for i in range(count)])


def _linear(n_in: int, n_out: int, rngs: nnx.Rngs) -> Linear:
    return Linear(n_in, n_out, (None, None), bias=True, rngs=rngs, init=_kernel)
