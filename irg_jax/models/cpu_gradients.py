"""Gradients of ``layers.matmul`` and ``layers.rms_norm`` written for XLA on CPUs, where autodiff's are slow.

They have no forward-mode derivative (``jax.jvp``), and other platforms gain nothing from them.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax.models import layers


def use_cpu_gradients(model: nnx.Module) -> None:
    """Gives every ``Linear`` and ``RMSNorm`` in ``model`` the gradients of this file, in place."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, layers.Linear):
            module.matmul = matmul
        elif isinstance(module, layers.RMSNorm):
            module.rms_norm = rms_norm


@jax.custom_vjp
def matmul(x: jax.Array, w: jax.Array) -> jax.Array:
    """``layers.matmul``, [..., in] and [in, out] to [..., out].

    Its gradient of w is written as xᵀ·∂y. Autodiff writes the transpose of that, for which XLA makes transposed copies
    on a CPU: a fifth of a layer's time.
    """
    return layers.matmul(x, w)


def _matmul_forward(x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple]:
    return layers.matmul(x, w), (x, w)


def _matmul_backward(saved: tuple, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, w = saved
    axes = tuple(range(x.ndim - 1))
    return grad @ w.T, jnp.tensordot(x, grad, (axes, axes))


matmul.defvjp(_matmul_forward, _matmul_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """``layers.rms_norm``, over the last axis of [..., D].

    Its gradient saves only x, and its sums over the last axis are matmuls, since XLA sums the products of a single row
    scalar by scalar on a CPU.
    """
    return layers.rms_norm(x, scale, eps)


def _rms_norm_forward(x: jax.Array, scale: jax.Array, eps: float) -> tuple[jax.Array, tuple]:
    return layers.rms_norm(x, scale, eps), (x, scale)


def _rms_norm_backward(eps: float, saved: tuple, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, scale = saved
    x32, grad32 = x.astype(jnp.float32), grad.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    inverse = jax.lax.rsqrt(_row_mean(x32, x32) + eps)
    y, y_grad = x32 * inverse, grad32 * scale.astype(jnp.float32)
    x_grad = inverse * (y_grad - y * _row_mean(y, y_grad))
    return x_grad.astype(x.dtype), jnp.sum(grad32 * y, axis=axes).astype(scale.dtype)


def _row_mean(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean of a·b over the last axis, which is kept with size 1."""
    products = jnp.einsum("...d,...d->...", a, b, precision=jax.lax.Precision.HIGHEST)
    return products[..., None] / a.shape[-1]


rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)
