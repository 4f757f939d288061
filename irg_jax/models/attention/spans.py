"""Attention's only mask: two integers a key.

Key k is visible to the query at position q if and only if ``start[k] <= q < end[k]``. Causal text, full image blocks,
noised blocks that nobody else sees, samples packed side by side, padding, and the guidance branches of the sampler are
all spans (``data.layout`` says which); there is no other mask.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Where the running maximum of scores starts, and the log-sum-exp of a query that sees no key. A hidden score lies so
# far below that its weight is 0 before any other is met.
LOWEST, HIDDEN = -1e30, jnp.finfo(jnp.float32).min

# What every backend calls its output and log-sum-exp, so that a remat policy may keep them.
SAVED = "attention"

_FAR = jnp.iinfo(jnp.int32).max


class Spans(NamedTuple):
    """Who sees whom.

    Attributes:
      query: position of every query, int32 [B, Q]; below 0 is padding, which sees nothing.
      start: first query position that sees a key, int32 [B, K]; never below 0.
      end: one past the last, int32 [B, K].
    """

    query: jax.Array
    start: jax.Array
    end: jax.Array


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


class Attended(NamedTuple):
    """Attention over some of the keys; two over different keys can be ``merged``.

    Attributes:
      out: [B, Q, H, D]; 0 for a query that sees none of them.
      lse: log Σ exp(score) over the keys it sees, float32 [B, Q, H]; ``LOWEST`` if there is none.
    """

    out: jax.Array
    lse: jax.Array


def scaled(q: jax.Array, times: float = 1.0) -> jax.Array:
    """q · ``times`` / √D. The factor is not rounded to the dtype of q: that would shift all scores one way."""
    return (q.astype(jnp.float32) * (q.shape[-1] ** -0.5 * times)).astype(q.dtype)


def merged(a: Attended, b: Attended) -> jax.Array:
    """Attention over the keys of both, float32 [B, Q, H, D]."""
    highest = jnp.maximum(a.lse, b.lse)
    weights = [jnp.exp(x.lse - highest)[..., None] for x in (a, b)]
    return (a.out * weights[0] + b.out * weights[1]) / (weights[0] + weights[1])


def visible(spans: Spans) -> jax.Array:
    """The dense mask, bool [B, Q, K]. For the plain backend and for tests: nothing else makes one."""
    query = spans.query[:, :, None]
    return (spans.start[:, None] <= query) & (query < spans.end[:, None])


def visits(query: jax.Array, start: jax.Array, end: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The blocks of keys that a block of queries has to look at.

    Found from the minima and maxima of either side against the tokens of the other, never from pairs of tokens: a block
    is listed if one of its keys opens before the last query and closes after the first one, and one of the queries lies
    between the keys' first start and last end.

    Args:
      query: positions of a block of queries, int32 [block_q]; below 0 is padding.
      start: int32 [blocks, block_k].
      end: int32 [blocks, block_k].

    Returns:
      numbers of blocks, those to look at first, in order, int32 [blocks]; and how many those are, int32.
    """
    first, last = jnp.where(query < 0, _FAR, query).min(), query.max()
    by_keys = jnp.any((start <= last) & (first < end), axis=1)
    opens, closes = start.min(axis=1, keepdims=True), end.max(axis=1, keepdims=True)
    by_queries = jnp.any((opens <= query) & (query < closes), axis=1)
    needed = by_keys & by_queries
    return jnp.argsort(~needed, stable=True).astype(jnp.int32), needed.sum(dtype=jnp.int32)
