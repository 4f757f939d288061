"""Grouped-query attention over spans, by one of several backends that compute the same function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from irg_jax.models.attention import chunked, gpu, plain, tpu
from irg_jax.models.attention.spans import AttentionOutput, CacheView, Spans, merge_partials
from irg_jax.sharding.activations import HEADS, ROWS, TOKENS

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
    attend = BACKENDS[backend]
    with jax.named_scope("attention"):
        new = _attend_sharded(attend, q, k, v, spans)
        out = new.out if cache is None else merge_partials(new, _attend_cache(attend, q, spans.query, cache))
        return out.astype(q.dtype)


def _attend_sharded(attend: Backend, q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> AttentionOutput:
    """``attend`` over each device's rows, queries and heads: the compiler cannot partition a loop or a kernel."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size == 1 or mesh.empty or attend is plain.attend:
        return attend(q, k, v, spans)
    tokens = TOKENS if q.shape[1] % mesh.shape[TOKENS] == 0 else None
    queries, keys = P(ROWS, tokens, HEADS), P(ROWS, None, HEADS)
    visibility: Any = Spans(P(ROWS, tokens), P(ROWS), P(ROWS))  # type: ignore[arg-type]
    return jax.shard_map(attend, in_specs=(queries, keys, keys, visibility), out_specs=queries, check_vma=False)(
        q, k, v, spans
    )


def _attend_cache(attend: Backend, q: jax.Array, query: jax.Array, cache: CacheView) -> AttentionOutput:
    """Attention over the cache, each row through its own view."""
    count, views = len(cache.k), len(cache.views)
    q, query = (x.reshape(count, views, *x.shape[1:]) for x in (q, query))
    outputs = []
    for i, (first, stop) in enumerate(cache.views):
        k, v, start, end = (x[:, first:stop] for x in (cache.k, cache.v, cache.start, cache.end))
        outputs.append(attend(q[:, i], k, v, Spans(query[:, i], start, end)))
    return AttentionOutput(
        *(jnp.stack(x, axis=1).reshape(count * views, *x[0].shape[1:]) for x in zip(*outputs, strict=True))
    )
