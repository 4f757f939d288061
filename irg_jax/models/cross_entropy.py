"""Chunked cross entropy over a large vocabulary: the logits of all tokens are never in memory at once."""

import functools

import jax
import jax.numpy as jnp


def token_cross_entropy(hidden: jax.Array, kernel: jax.Array, label: jax.Array, *, chunk: int) -> jax.Array:
    """−log softmax(hidden · kernel)[label] of every token.

    Logits exist for one chunk at a time, forward and backward; the backward pass recomputes them and uses the saved
    log-sum-exp. The matmuls run in the dtype of ``hidden``; logits, sums and the gradient of ``kernel`` across chunks
    are float32.

    Args:
      hidden: [B, T, D].
      kernel: [D, V].
      label: int32 [B, T], in [0, V).
      chunk: tokens per row in a chunk; a chunk takes B · chunk · V float32 of memory.

    Returns:
      float32 [B, T].
    """
    with jax.named_scope("cross_entropy"):
        return _cross_entropy(hidden, kernel, label, min(chunk, max(label.shape[1], 1)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _cross_entropy(hidden: jax.Array, kernel: jax.Array, label: jax.Array, chunk: int) -> jax.Array:
    return _forward(hidden, kernel, label, chunk)[0]


def _forward(hidden: jax.Array, kernel: jax.Array, label: jax.Array, chunk: int) -> tuple[jax.Array, tuple]:
    weight = kernel.astype(hidden.dtype)

    def chunk_loss(part: tuple) -> tuple[jax.Array, jax.Array]:
        logits = _logits(part[0], weight)
        lse = jax.nn.logsumexp(logits, axis=-1)
        return lse - jnp.sum(jnp.where(_is_label(logits, part[1]), logits, 0), axis=-1), lse

    loss, lse = jax.lax.map(chunk_loss, (_chunks(hidden, chunk), _chunks(label, chunk)))
    return _tokens(loss, label.shape), (hidden, kernel, label, lse)


def _backward(chunk: int, saved: tuple, grad: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    hidden, kernel, label, lse = saved
    weight = kernel.astype(hidden.dtype)

    def add_chunk_gradient(kernel_grad: jax.Array, part: tuple) -> tuple[jax.Array, jax.Array]:
        hidden, label, lse, grad = part
        logits = _logits(hidden, weight)
        logits_grad = (jnp.exp(logits - lse[..., None]) - _is_label(logits, label)) * grad[..., None]
        logits_grad = logits_grad.astype(hidden.dtype)
        kernel_grad += jnp.einsum("btd,btv->dv", hidden, logits_grad, preferred_element_type=jnp.float32)
        return kernel_grad, jnp.einsum("btv,dv->btd", logits_grad, weight)

    parts = (_chunks(hidden, chunk), _chunks(label, chunk), lse, _chunks(grad, chunk))
    kernel_grad, hidden_grad = jax.lax.scan(add_chunk_gradient, jnp.zeros(kernel.shape, jnp.float32), parts)
    return _tokens(hidden_grad, hidden.shape), kernel_grad.astype(kernel.dtype), None


_cross_entropy.defvjp(_forward, _backward)


def _logits(hidden: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.einsum("btd,dv->btv", hidden, weight, preferred_element_type=jnp.float32)


def _is_label(logits: jax.Array, label: jax.Array) -> jax.Array:
    """One-hot labels as a comparison, so that a vocabulary sharded over devices is not gathered."""
    return jnp.arange(logits.shape[-1]) == label[..., None]


def _chunks(x: jax.Array, chunk: int) -> jax.Array:
    """[B, T, …] to [chunks, B, chunk, …], the row padded with zeros.

    A chunk takes every n-th token, so that tokens that are sharded over devices stay on their devices.
    """
    rows, length, *rest = x.shape
    count = -(-length // chunk)
    x = jnp.pad(x, [(0, 0), (0, count * chunk - length)] + [(0, 0)] * len(rest))
    return jnp.moveaxis(x.reshape(rows, chunk, count, *rest), 2, 0)


def _tokens(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The inverse of ``_chunks``, to ``shape`` [B, T, …]."""
    count, rows, chunk, *rest = x.shape
    return jnp.moveaxis(x, 0, 2).reshape(rows, chunk * count, *rest)[:, : shape[1]]
