"""Attention whose mask is two integers a key.

Key k is visible to the query at position q if and only if ``start[k] <= q < end[k]``. Causal text, full image blocks,
noised blocks that nobody else sees, samples packed side by side, padding, and the guidance branches of the sampler are
all spans (``data.layout`` says which); there is no other mask.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Spans(NamedTuple):
    """Who sees whom.

    Attributes:
      query: position of every query, int32 [B, Q].
      start: first query position that sees a key, int32 [B, K].
      end: one past the last, int32 [B, K].
    """

    query: jax.Array
    start: jax.Array
    end: jax.Array


def visible(spans: Spans) -> jax.Array:
    """The dense mask, bool [B, Q, K]. For the reference below and for tests: nothing else makes one."""
    query = spans.query[:, :, None]
    return (spans.start[:, None] <= query) & (query < spans.end[:, None])


def attention(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> jax.Array:
    """Grouped-query attention, softmax(q·kᵀ/√D) v over the visible keys. The plain XLA reference.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D], H a multiple of G; KV heads are never repeated.
      v: [B, K, G, D].
      spans: visibility.

    Returns:
      [B, Q, H, D] in the dtype of ``q``. A query that sees no key (padding) gets the mean of ``v``: finite, and used by
      nobody. Scores and softmax are float32.
    """
    batch, queries, heads, size = q.shape
    keys, groups = k.shape[1:3]
    repeat = heads // groups
    # The query heads of a group stand below one another, so that each group is one plain matmul.
    q = (q * size**-0.5).reshape(batch, queries, groups, repeat, size).transpose(0, 2, 3, 1, 4)
    q = q.reshape(batch, groups, repeat * queries, size)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    with jax.named_scope("attention"):
        scores = jnp.einsum("bgqd,bgkd->bgqk", q, k, preferred_element_type=jnp.float32)
        scores = scores.reshape(batch, groups, repeat, queries, keys)
        scores = jnp.where(visible(spans)[:, None, None], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        out = jnp.einsum("bgqk,bgkd->bgqd", weights.reshape(batch, groups, repeat * queries, keys), v)
    out = out.reshape(batch, groups, repeat, queries, size).transpose(0, 3, 1, 2, 4)
    return out.reshape(batch, queries, heads, size)
