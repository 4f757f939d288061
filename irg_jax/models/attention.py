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


class Cached(NamedTuple):
    """Keys and values of tokens that were run before, and who sees them.

    Attributes:
      k: [C, S, G, D], for C·V rows of queries: each of the V ``views`` is one of V neighbouring rows.
      v: likewise.
      start: span of each key, int32 [C, S].
      end: int32 [C, S].
      views: for each, the (first, end) of the keys it needs to look at; the spans still decide what it sees of them.
    """

    k: jax.Array
    v: jax.Array
    start: jax.Array
    end: jax.Array
    views: tuple[tuple[int, int], ...]


def attention(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, cached: Cached | None = None) -> jax.Array:
    """Grouped-query attention, softmax(q·kᵀ/√D) v over the visible keys. The plain XLA reference.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D], H a multiple of G; KV heads are never repeated.
      v: [B, K, G, D].
      spans: visibility of ``k``.
      cached: more keys, which are neither copied nor joined to ``k``.

    Returns:
      [B, Q, H, D] in the dtype of ``q``. A query that sees no key (padding) gets the mean of ``v``: finite, and used by
      nobody. Scores and softmax are float32.
    """
    with jax.named_scope("attention"):
        top, weight, out = _partial(q, k, v, spans)
        if cached is not None:
            top2, weight2, out2 = _partial_cached(q, spans.query, cached)
            highest = jnp.maximum(top, top2)
            scale, scale2 = jnp.exp(top - highest), jnp.exp(top2 - highest)
            weight, out = weight * scale + weight2 * scale2, out * scale + out2 * scale2
        return (out / weight).astype(q.dtype)


def _partial_cached(q: jax.Array, query: jax.Array, cached: Cached) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``_partial`` over the cache, each row through its own view."""
    count, views = len(cached.k), len(cached.views)
    q, query = (x.reshape(count, views, *x.shape[1:]) for x in (q, query))
    parts = []
    for i, (first, end) in enumerate(cached.views):
        k, v, start, stop = (x[:, first:end] for x in (cached.k, cached.v, cached.start, cached.end))
        parts.append(_partial(q[:, i], k, v, Spans(query[:, i], start, stop)))
    stacked = (jnp.stack(part, axis=1) for part in zip(*parts, strict=True))
    top, total, out = (x.reshape(count * views, *x.shape[2:]) for x in stacked)
    return top, total, out


def _partial(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Softmax over some of the keys, not normalised: max s, Σ exp(s − max) [B, Q, H, 1], and Σ exp·v; float32."""
    batch, queries, heads, size = q.shape
    keys, groups = k.shape[1:3]
    repeat = heads // groups
    # The query heads of a group stand below one another, so that each group is one plain matmul.
    q = (q * size**-0.5).reshape(batch, queries, groups, repeat, size).transpose(0, 2, 3, 1, 4)
    q = q.reshape(batch, groups, repeat * queries, size)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bgqd,bgkd->bgqk", q, k, preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, groups, repeat, queries, keys)
    lowest = jnp.finfo(jnp.float32).min
    scores = jnp.where(visible(spans)[:, None, None], scores, lowest)
    # What is taken off cancels; it only keeps exp from overflowing.
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True, initial=lowest))
    weights = jnp.exp(scores - top)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights.reshape(batch, groups, repeat * queries, keys).astype(v.dtype)
    out = jnp.einsum("bgqk,bgkd->bgqd", weights, v, preferred_element_type=jnp.float32)

    def by_query(x: jax.Array) -> jax.Array:
        x = x.reshape(batch, groups, repeat, queries, x.shape[-1]).transpose(0, 3, 1, 2, 4)
        return x.reshape(batch, queries, heads, x.shape[-1])

    return by_query(top), by_query(total), by_query(out)
