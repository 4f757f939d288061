"""Attention's only mask: two integers per key.

Key k is visible to the query at position q if and only if ``start[k] <= q < end[k]``. Causal text, images with full
attention, noised images that no other token sees, packed samples, padding, and the CFG branches of the sampler are all
spans (``data.packing.layout`` says which); there is no other mask.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# The running maximum m before the first key, and the log-sum-exp of a query that sees no key.
MIN_LSE = -1e30
# The score of a hidden key. It is so far below MIN_LSE that its probability is 0 even where m has not moved yet.
MASK_VALUE = jnp.finfo(jnp.float32).min

# The ``checkpoint_name`` that every backend gives its output and log-sum-exp, so that a remat policy can save them.
SAVED = "attention"

INT32_MAX = jnp.iinfo(jnp.int32).max


class Spans(NamedTuple):
    """Which queries see which keys.

    Attributes:
      query: position of every query, int32 [B, Q]; below 0 is padding, which sees nothing.
      start: first query position that sees a key, int32 [B, K]; never below 0.
      end: one past the last, int32 [B, K].
    """

    query: jax.Array
    start: jax.Array
    end: jax.Array


class CacheView(NamedTuple):
    """One layer of a KV cache, and which queries see its keys.

    Attributes:
      k: [C, S, G, D], for C·V rows of queries: V neighbouring rows share a cache, each through one of the V ``views``.
      v: likewise.
      start: span of each key, int32 [C, S].
      end: int32 [C, S].
      views: the (first, end) of the slots that each of the V rows reads; the spans still mask them.
    """

    k: jax.Array
    v: jax.Array
    start: jax.Array
    end: jax.Array
    views: tuple[tuple[int, int], ...]


class AttentionOutput(NamedTuple):
    """Attention over some of the keys; ``merge_partials`` merges two that are over different keys.

    Attributes:
      out: [B, Q, H, D]; 0 for a query that sees none of them.
      lse: log Σ exp(score) over the keys it sees, float32 [B, Q, H]; ``MIN_LSE`` if there is none.
    """

    out: jax.Array
    lse: jax.Array


def scale_queries(q: jax.Array, factor: float = 1.0) -> jax.Array:
    """q · ``factor`` / √D. The factor is not rounded to the dtype of q: that would bias all scores."""
    return (q.astype(jnp.float32) * (q.shape[-1] ** -0.5 * factor)).astype(q.dtype)


def merge_partials(a: AttentionOutput, b: AttentionOutput) -> jax.Array:
    """Attention over the keys of both, float32 [B, Q, H, D]."""
    m = jnp.maximum(a.lse, b.lse)
    weights = [jnp.exp(x.lse - m)[..., None] for x in (a, b)]
    return (a.out * weights[0] + b.out * weights[1]) / (weights[0] + weights[1])


def dense_mask(spans: Spans) -> jax.Array:
    """The dense mask, bool [B, Q, K]; only the plain backend and tests make one."""
    query = spans.query[:, :, None]
    return (spans.start[:, None] <= query) & (query < spans.end[:, None])


def visible_blocks(query: jax.Array, start: jax.Array, end: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The blocks of keys that a block of queries has to read.

    Found from the minima and maxima of one side against the tokens of the other, never from pairs of tokens: a block is
    listed if one of its keys starts before the last query and ends after the first one, and one of the queries lies
    between the first start and the last end of the keys.

    Args:
      query: positions of a block of queries, int32 [block_q]; below 0 is padding.
      start: int32 [blocks, block_k].
      end: int32 [blocks, block_k].

    Returns:
      indices of blocks, the visible ones first and in order, int32 [blocks]; and how many are visible, int32.
    """
    first, last = jnp.where(query < 0, INT32_MAX, query).min(), query.max()
    by_keys = jnp.any((start <= last) & (first < end), axis=1)
    first_start, last_end = start.min(axis=1, keepdims=True), end.max(axis=1, keepdims=True)
    by_queries = jnp.any((first_start <= query) & (query < last_end), axis=1)
    visible = by_keys & by_queries
    return jnp.argsort(~visible, stable=True).astype(jnp.int32), visible.sum(dtype=jnp.int32)
