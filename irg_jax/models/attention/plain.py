"""Attention in plain XLA, with all scores in memory: the reference that the other backends are tested against."""

# ruff: noqa: E741 (l is FlashAttention's name)

import jax
import jax.numpy as jnp

from irg_jax.models.attention.spans import MASK_VALUE, MIN_LSE, AttentionOutput, Spans, dense_mask, scale_queries


def attend(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> AttentionOutput:
    """See ``attention.Backend``. ``out`` is float32."""
    batch, queries, heads, size = q.shape
    keys, groups = k.shape[1:3]
    repeat = heads // groups
    # The query heads of a group are stacked along the rows of one matrix, so that each group is one plain matmul.
    q = scale_queries(q).reshape(batch, queries, groups, repeat, size).transpose(0, 2, 3, 1, 4)
    q = q.reshape(batch, groups, repeat * queries, size)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bgqd,bgkd->bgqk", q, k, preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, groups, repeat, queries, keys)
    scores = jnp.where(dense_mask(spans)[:, None, None], scores, MASK_VALUE)
    # m cancels out of the result and of the gradient; it only keeps exp from overflowing.
    m = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True, initial=MIN_LSE))
    p = jnp.exp(scores - m)
    l = jnp.sum(p, axis=-1, keepdims=True)
    l = jnp.where(l > 0, l, 1)
    p = p.reshape(batch, groups, repeat * queries, keys).astype(v.dtype)
    out = jnp.einsum("bgqk,bgkd->bgqd", p, v, preferred_element_type=jnp.float32)
    out = out.reshape(batch, groups, repeat, queries, size) / l

    def merge_heads(x: jax.Array) -> jax.Array:
        return x.transpose(0, 3, 1, 2, 4).reshape(batch, queries, heads, x.shape[-1])

    return AttentionOutput(merge_heads(out), merge_heads(m + jnp.log(l))[..., 0])
