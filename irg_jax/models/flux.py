"""The FLUX VAE: a convolutional encoder and decoder around a Gaussian posterior, as BAGEL uses it.

Pictures of several sizes share one array, padded at the bottom and right. ``inside``, bool [N, H, W, 1], says which
places belong to the picture; None says that all do. Whatever mixes places (convolution, group norm, attention) reads
zeros or nothing from outside, so that a picture has the same latents whatever it is padded to and packed with.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax.models.config import FluxConfig
from irg_jax.models.param import Linear, param

GROUPS = 32
NORM_EPS = 1e-6
# The attention of a 1024x1024 picture has 16,384 queries; the scores of this many exist at a time.
QUERIES = 512

_kernel = nnx.initializers.lecun_normal()


class Conv(nnx.Module):
    """3x3 convolution in the dtype of ``x``; with stride 2 the border of zeros is at the bottom and right alone."""

    def __init__(self, n_in: int, n_out: int, *, stride: int = 1, rngs: nnx.Rngs):
        self.kernel = param(rngs, _kernel, (3, 3, n_in, n_out), (None, None, None, None))
        self.bias = param(rngs, nnx.initializers.zeros, (n_out,), (None,))
        self.stride = stride

    def __call__(self, x: jax.Array, inside: jax.Array | None) -> jax.Array:
        if inside is not None:
            x = jnp.where(inside, x, 0)
        y = jax.lax.conv_general_dilated(
            x,
            self.kernel[...].astype(x.dtype),
            window_strides=(self.stride, self.stride),
            padding=((2 - self.stride, 1), (2 - self.stride, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y + self.bias[...].astype(x.dtype)


class GroupNorm(nnx.Module):
    """Each group of channels to mean 0 and variance 1 over its picture; in float32, returned in the dtype of ``x``."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.scale = param(rngs, nnx.initializers.ones, (channels,), (None,))
        self.bias = param(rngs, nnx.initializers.zeros, (channels,), (None,))

    def __call__(self, x: jax.Array, inside: jax.Array | None) -> jax.Array:
        columns = None if inside is None else inside[..., None]
        rows = None if inside is None else inside[:, :, :1, :, None]

        def mean(y: jax.Array) -> jax.Array:
            # Row by row, since XLA may make one long float32 sum of a whole picture on a CPU, which loses two digits.
            # A row with no place inside has no mean, and the second step leaves it out.
            y = jnp.mean(y, axis=(2, 4), keepdims=True, where=columns)
            return jnp.mean(y, axis=1, keepdims=True, where=rows)

        y = x.astype(jnp.float32).reshape(*x.shape[:3], GROUPS, x.shape[3] // GROUPS)
        y = y - mean(y)
        y = (y * jax.lax.rsqrt(mean(y * y) + NORM_EPS)).reshape(x.shape)
        return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


class ResidualBlock(nnx.Module):
    """x + conv(swish(norm(conv(swish(norm(x)))))), with a linear shortcut where the channels change."""

    def __init__(self, n_in: int, n_out: int, *, rngs: nnx.Rngs):
        self.norm1 = GroupNorm(n_in, rngs=rngs)
        self.conv1 = Conv(n_in, n_out, rngs=rngs)
        self.norm2 = GroupNorm(n_out, rngs=rngs)
        self.conv2 = Conv(n_out, n_out, rngs=rngs)
        self.shortcut = None if n_in == n_out else _linear(n_in, n_out, rngs)

    def __call__(self, x: jax.Array, inside: jax.Array | None) -> jax.Array:
        h = self.conv1(jax.nn.silu(self.norm1(x, inside)), inside)
        h = self.conv2(jax.nn.silu(self.norm2(h, inside)), inside)
        return h + (x if self.shortcut is None else self.shortcut(x))


class AttentionBlock(nnx.Module):
    """x + attention(norm(x)): one head, every place of a picture sees all of them."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.norm = GroupNorm(channels, rngs=rngs)
        self.q = _linear(channels, channels, rngs)
        self.k = _linear(channels, channels, rngs)
        self.v = _linear(channels, channels, rngs)
        self.out = _linear(channels, channels, rngs)

    def __call__(self, x: jax.Array, inside: jax.Array | None) -> jax.Array:
        h = self.norm(x, inside)
        return x + self.out(attention(self.q(h), self.k(h), self.v(h), inside))


class Middle(nnx.Module):
    """What happens at the coarsest resolution: residual, attention, residual."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.block1 = ResidualBlock(channels, channels, rngs=rngs)
        self.attention = AttentionBlock(channels, rngs=rngs)
        self.block2 = ResidualBlock(channels, channels, rngs=rngs)

    def __call__(self, x: jax.Array, inside: jax.Array | None) -> jax.Array:
        return self.block2(self.attention(self.block1(x, inside), inside), inside)


class Level(nnx.Module):
    """The residual blocks of one resolution, and the convolution on the way to the next (None: this is the last)."""

    def __init__(self, n_in: int, n_out: int, blocks: int, resample: Conv | None, *, rngs: nnx.Rngs):
        self.blocks = nnx.List([ResidualBlock(n_out if i else n_in, n_out, rngs=rngs) for i in range(blocks)])
        self.resample = resample

    def __call__(self, x: jax.Array, inside: jax.Array | None) -> jax.Array:
        for block in self.blocks:
            x = block(x, inside)
        return x


class Encoder(nnx.Module):
    """Pixels to the mean and log-variance of latents, from the finest level to the coarsest."""

    def __init__(self, config: FluxConfig, *, rngs: nnx.Rngs):
        widths = [config.width * multiplier for multiplier in config.multipliers]
        last = len(widths) - 1
        self.conv_in = Conv(3, config.width, rngs=rngs)
        self.levels: nnx.List[Level] = nnx.List()
        for i, (n_in, n_out) in enumerate(zip([config.width, *widths[:-1]], widths, strict=True)):
            resample = Conv(n_out, n_out, stride=2, rngs=rngs) if i < last else None
            self.levels.append(Level(n_in, n_out, config.blocks, resample, rngs=rngs))
        self.middle = Middle(widths[last], rngs=rngs)
        self.norm_out = GroupNorm(widths[last], rngs=rngs)
        self.conv_out = Conv(widths[last], 2 * config.channels, rngs=rngs)

    def __call__(self, x: jax.Array, inside: jax.Array | None) -> jax.Array:
        x = self.conv_in(x, inside)
        for level in self.levels:
            x = level(x, inside)
            if level.resample is not None:
                x = level.resample(x, inside)
                inside = None if inside is None else inside[:, ::2, ::2]
        x = self.middle(x, inside)
        return self.conv_out(jax.nn.silu(self.norm_out(x, inside)), inside)


class Decoder(nnx.Module):
    """Latents to pixels. Its levels are numbered as the encoder's and run from the coarsest to the finest."""

    def __init__(self, config: FluxConfig, *, rngs: nnx.Rngs):
        widths = [config.width * multiplier for multiplier in config.multipliers]
        self.conv_in = Conv(config.channels, widths[-1], rngs=rngs)
        self.middle = Middle(widths[-1], rngs=rngs)
        self.levels: nnx.List[Level] = nnx.List()
        for i, (n_in, n_out) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True)):
            resample = Conv(n_out, n_out, rngs=rngs) if i > 0 else None
            self.levels.append(Level(n_in, n_out, config.blocks + 1, resample, rngs=rngs))
        self.norm_out = GroupNorm(widths[0], rngs=rngs)
        self.conv_out = Conv(widths[0], 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.middle(self.conv_in(x, None), None)
        for level in reversed(self.levels):
            x = level(x, None)
            if level.resample is not None:
                # Nearest neighbour: every place becomes four.
                x = level.resample(x.repeat(2, axis=1).repeat(2, axis=2), None)
        return self.conv_out(jax.nn.silu(self.norm_out(x, None)), None)


class FluxAutoencoder(nnx.Module):
    """The autoencoder of BAGEL. It computes in the dtype of its input; see ``models.autoencoder`` for the interface."""

    def __init__(self, config: FluxConfig, *, rngs: nnx.Rngs):
        self.encoder = Encoder(config, rngs=rngs)
        self.decoder = Decoder(config, rngs=rngs)
        self.config = config

    def posterior(self, pixels: jax.Array, sizes: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Mean and standard deviation of the latents, before scale and shift.

        Args:
          pixels: [N, H, W, 3] in [−1, 1], sides multiples of ``config.downsample``.
          sizes: int [N, 2], (height, width) in pixels of each picture, multiples of ``config.downsample``; the rest is
            padding, of any content, and a slot without a picture has size 0. None: every picture fills its array.

        Returns:
          [N, H/f, W/f, channels] twice. What stands in the padding is finite and means nothing.
        """
        inside = None if sizes is None else _inside(sizes, *pixels.shape[1:3])
        mean, log_variance = jnp.split(self.encoder(pixels, inside), 2, axis=-1)
        return mean, jnp.exp(0.5 * log_variance)

    def encode(self, pixels: jax.Array, sizes: jax.Array | None = None, noise: jax.Array | None = None) -> jax.Array:
        """Scaled latents [N, H/f, W/f, channels] of pixels as in ``posterior``: its mean, or mean + std·``noise``."""
        with jax.named_scope("vae_encode"):
            latents, std = self.posterior(pixels, sizes)
            if noise is not None:
                latents = latents + std * noise.astype(std.dtype)
            return self.config.scale * (latents - self.config.shift)

    def decode(self, latents: jax.Array) -> jax.Array:
        """Pixels [N, H, W, 3] in about [−1, 1] from scaled latents [N, H/f, W/f, channels]."""
        with jax.named_scope("vae_decode"):
            return self.decoder(latents / self.config.scale + self.config.shift)


def attention(q: jax.Array, k: jax.Array, v: jax.Array, inside: jax.Array | None) -> jax.Array:
    """softmax(q·kᵀ/√C) v over all places that are inside, a few rows of queries at a time.

    Args:
      q: [N, H, W, C].
      k: as ``q``.
      v: as ``q``; finite everywhere.
      inside: bool [N, H, W, 1]; None for all.

    Returns:
      [N, H, W, C] in the dtype of ``v``. Scores and softmax are float32.
    """
    _, height, width, channels = q.shape

    def one_row(queries: jax.Array) -> jax.Array:
        scores = jnp.einsum("nqc,nhwc->nqhw", queries, k, preferred_element_type=jnp.float32)
        if inside is not None:
            scores = jnp.where(inside[:, None, :, :, 0], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=(2, 3)).astype(v.dtype)
        return jnp.einsum("nqhw,nhwc->nqc", weights, v)

    rows = jnp.moveaxis(q * channels**-0.5, 1, 0)
    return jnp.moveaxis(jax.lax.map(one_row, rows, batch_size=min(height, max(1, QUERIES // width))), 0, 1)


def _inside(sizes: jax.Array, height: int, width: int) -> jax.Array:
    rows = jnp.arange(height) < sizes[:, :1]
    columns = jnp.arange(width) < sizes[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _linear(n_in: int, n_out: int, rngs: nnx.Rngs) -> Linear:
    return Linear(n_in, n_out, (None, None), bias=True, rngs=rngs, init=_kernel)
