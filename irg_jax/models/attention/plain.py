"""Attention in plain XLA, with all scores in memory: the reference that the other backends are held against."""

import jax
import jax.numpy as jnp

from irg_jax.models.attention.spans import HIDDEN, LOWEST, Attended, Spans, scaled, visible


def attend(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> Attended:
    """See ``attention.Backend``. ``out`` is float32."""
    batch, queries, heads, size = q.shape
    keys, groups = k.shape[1:3]
    repeat = heads // groups
    # The query heads of a group stand below one another, so that each group is one plain matmul.
    q = scaled(q).reshape(batch, queries, groups, repeat, size).transpose(0, 2, 3, 1, 4)
    q = q.reshape(batch, groups, repeat * queries, size)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bgqd,bgkd->bgqk", q, k, preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, groups, repeat, queries, keys)
    scores = jnp.where(visible(spans)[:, None, None], scores, HIDDEN)
    # What is taken off cancels; it only keeps exp from overflowing.
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True, initial=LOWEST))
    weights = jnp.exp(scores - top)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    total = jnp.where(total > 0, total, 1)
    weights = weights.reshape(batch, groups, repeat * queries, keys).astype(v.dtype)
    out = jnp.einsum("bgqk,bgkd->bgqd", weights, v, preferred_element_type=jnp.float32)
    out = out.reshape(batch, groups, repeat, queries, size) / total

    def by_query(x: jax.Array) -> jax.Array:
        return x.transpose(0, 3, 1, 2, 4).reshape(batch, queries, heads, x.shape[-1])

    return Attended(by_query(out), by_query(top + jnp.log(total))[..., 0])
