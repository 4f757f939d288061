"""Layers, and how their weights are declared: value, logical axes and dtype in one place."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

Initializer = Callable[[jax.Array, tuple[int, ...], jnp.dtype], jax.Array]


def param(rngs: nnx.Rngs, init: Initializer, shape: tuple[int, ...], axes: tuple[str | None, ...]) -> nnx.Param:
    """A float32 weight whose dimensions have logical names; ``sharding.rules`` maps the names to mesh axes.

    Args:
      rngs: the key is taken from its stream ``params``.
      init: a jax initializer.
      shape: shape of the weight.
      axes: one logical name (or None) for each dimension.
    """
    # No eager sharding: the whole state is created in one jit with explicit shardings.
    return nnx.Param(init(rngs.params(), shape, jnp.float32), out_sharding=axes, eager_sharding=False)


def matmul(x: jax.Array, w: jax.Array) -> jax.Array:
    """x·w, [..., in] and [in, out] to [..., out]."""
    return x @ w


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """x / rms(x) · scale over the last axis of [..., D]; computed in float32, returned in the dtype of ``x``."""
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + eps)
    return y.astype(x.dtype) * scale


class Linear(nnx.Module):
    """y = x·W + b over the last axis, in the dtype of ``x``; x·W is ``matmul``, or what replaces it.

    Args:
      in_axis: logical name of the input dimension.
      out_axis: logical name of the output dimension.
      bias: whether there is a b.
      init: initializer of W; b starts at zero.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        axes: tuple[str | None, str | None],
        *,
        bias: bool,
        rngs: nnx.Rngs,
        init: Initializer,
    ):
        self.matmul: Callable[..., jax.Array] = matmul
        self.kernel = param(rngs, init, (in_size, out_size), axes)
        self.bias = param(rngs, nnx.initializers.zeros, (out_size,), axes[1:]) if bias else None

    def weight(self) -> jax.Array:
        """The effective W, [in, out]: the kernel and what a wrapper such as LoRA adds to it."""
        return self.kernel[...]

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.matmul(x, self.kernel[...].astype(x.dtype))
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)


class RMSNorm(nnx.Module):
    """``rms_norm``, or what replaces it, with a learned scale."""

    def __init__(self, size: int, axis: str | None, *, eps: float, rngs: nnx.Rngs):
        self.rms_norm: Callable[..., jax.Array] = rms_norm
        self.scale = param(rngs, nnx.initializers.ones, (size,), (axis,))
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.rms_norm(x, self.scale[...].astype(x.dtype), self.eps)


class LayerNorm(nnx.Module):
    """(x − mean) / std · scale + bias over the last axis; computed in float32, returned in the dtype of ``x``."""

    def __init__(self, size: int, axis: str | None, *, eps: float, rngs: nnx.Rngs):
        self.scale = param(rngs, nnx.initializers.ones, (size,), (axis,))
        self.bias = param(rngs, nnx.initializers.zeros, (size,), (axis,))
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x.astype(jnp.float32)
        y = y - jnp.mean(y, axis=-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + self.eps)
        return y.astype(x.dtype) * self.scale[...].astype(x.dtype) + self.bias[...].astype(x.dtype)


def stack_layers(make: Callable[[nnx.Rngs], nnx.Module], depth: int, rngs: nnx.Rngs) -> nnx.Module:
    """``depth`` modules in one: every weight has a leading axis ``layers``, for ``jax.lax.scan``."""

    @nnx.vmap
    @nnx.transform_metadata(in_axes=0, out_axes=0, partition="layers")
    def make_stacked(r: nnx.Rngs) -> nnx.Module:
        return make(r)

    return make_stacked(rngs.split(depth))
