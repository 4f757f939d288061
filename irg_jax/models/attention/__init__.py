"""Grouped-query attention over spans, by one of several backends that compute the same function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from irg_jax.models.attention import chunked, gpu, plain, tpu
from irg_jax.models.attention.spans import AttentionOutput, CacheView, Spans, merge_partials
from irg_jax.sharding.activations import HEADS, ROWS, TOKENS, row_shards

# From q [B, Q, H, D], k and v [B, K, G, D] and the spans of k, to the attention of the queries over these keys. Scores
# and softmax are float32; KV heads are never repeated.
Backend = Callable[[jax.Array, jax.Array, jax.Array, Spans], AttentionOutput]

BACKENDS: dict[str, Backend] = {
    "plain": plain.attend,
    "chunked": chunked.attend,
    "gpu": gpu.attend,
    "tpu": tpu.attend,
}


def attention(
    q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, cache: CacheView | None = None, *, backend: str
) -> jax.Array:
    """softmax(q·kᵀ/√D) v over the visible keys.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D], H a multiple of G.
      v: [B, K, G, D].
      spans: visibility of ``k``.
      cache: more keys and values, which are neither copied nor concatenated with ``k`` and ``v``.
      backend: a name in ``BACKENDS``.

    Returns:
      [B, Q, H, D] in the dtype of ``q``; 0 for a query that sees no key, whose gradient is 0 too.
    """
    if q.shape[1] == 0:  # an empty stream; kernels need a query
        return q
    attend = BACKENDS[backend]
    with jax.named_scope("attention"):
        new = _attend_new(attend, q, k, v, spans)
        out = new.out if cache is None else merge_partials(new, _attend_cache(attend, q, spans.query, cache))
        return out.astype(q.dtype)


def _attend_new(attend: Backend, q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> AttentionOutput:
    """Attention over the keys that are given with the queries."""
    if not _needs_shard_map(attend):
        return attend(q, k, v, spans)
    axes = _axes(rows=len(q), queries=q.shape[1], heads=q.shape[2], kv_heads=k.shape[2])
    queries, keys = P(axes.rows, axes.tokens, axes.heads), P(axes.rows, None, axes.heads)
    visibility: Any = Spans(P(axes.rows, axes.tokens), P(axes.rows), P(axes.rows))  # type: ignore[arg-type]
    return jax.shard_map(attend, in_specs=(queries, keys, keys, visibility), out_specs=queries, check_vma=False)(
        q, k, v, spans
    )


def _attend_cache(attend: Backend, q: jax.Array, query: jax.Array, cache: CacheView) -> AttentionOutput:
    """Attention over the cache, each row through its own view."""
    count, views = len(cache.k), cache.views

    def attend_views(q: jax.Array, query: jax.Array, *cached: jax.Array) -> AttentionOutput:
        """From q [C, V, Q, H, D] to outputs [C, V, Q, …]."""
        outputs = []
        for i, (first, stop) in enumerate(views):
            k, v, start, end = (x[:, first:stop] for x in cached)
            outputs.append(attend(q[:, i], k, v, Spans(query[:, i], start, end)))
        return AttentionOutput(*(jnp.stack(x, axis=1) for x in zip(*outputs, strict=True)))

    if _needs_shard_map(attend):
        # The rows of one cache are an axis of their own, which is not split: they stay on the devices of their cache.
        axes = _axes(rows=count, queries=q.shape[1], heads=q.shape[2], kv_heads=cache.k.shape[3])
        queries, keys = P(axes.rows, None, axes.tokens, axes.heads), P(axes.rows, None, axes.heads)
        in_specs = (queries, P(axes.rows, None, axes.tokens), keys, keys, P(axes.rows), P(axes.rows))
        attend_views = jax.shard_map(attend_views, in_specs=in_specs, out_specs=queries, check_vma=False)
    q, query = (x.reshape(count, len(views), *x.shape[1:]) for x in (q, query))
    outputs = attend_views(q, query, cache.k, cache.v, cache.start, cache.end)
    return AttentionOutput(*(x.reshape(-1, *x.shape[2:]) for x in outputs))


class _Axes(NamedTuple):
    """The mesh axes that split the rows, the queries of a row, and the heads; None where they do not divide."""

    rows: tuple[str, ...] | None
    tokens: str | None
    heads: str | None


def _axes(*, rows: int, queries: int, heads: int, kv_heads: int) -> _Axes:
    shape = jax.sharding.get_abstract_mesh().shape
    splits_heads = heads % shape[HEADS] == 0 and kv_heads % shape[HEADS] == 0
    return _Axes(
        ROWS if rows % row_shards() == 0 else None,
        TOKENS if queries % shape[TOKENS] == 0 else None,
        HEADS if splits_heads else None,
    )


def _needs_shard_map(attend: Backend) -> bool:
    """Whether each device must run ``attend`` on its own rows, queries and heads.

    The compiler cannot split a loop or a kernel over devices by itself.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and mesh.size > 1 and attend is not plain.attend
