"""Attention by spans in memory linear in the tokens, in plain XLA: for the CPU, and where no kernel fits.

FlashAttention as loops: queries and keys are cut into blocks, and each block of queries runs a loop over the blocks of
keys that it may see, with an online softmax (arXiv 2112.05682); blocks that no query of the block sees are neither
computed nor read. The backward pass saves the output and the log-sum-exp of every query and recomputes the scores block
by block (arXiv 2205.14135, whose names m, l, acc, p and delta the code uses; alpha rescales acc when m grows).
"""

# ruff: noqa: E741 (l is FlashAttention's name)

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from irg_jax.models.attention.spans import (
    INT32_MAX,
    MASK_VALUE,
    MIN_LSE,
    SAVED,
    AttentionOutput,
    Spans,
    scale_queries,
    visible_blocks,
)

Sizes = tuple[int, int]

# (block_q, block_k). For packed rows, small enough to skip most of what is hidden; for few queries, as in sampling,
# which see nearly all keys, large enough for few steps.
TRAIN_BLOCKS: Sizes = (256, 128)
DECODE_BLOCKS: Sizes = (512, 1024)


class KVBlocks(NamedTuple):
    """The keys and values of one row in blocks.

    Attributes:
      k: [blocks, G, block_k, D].
      v: likewise.
      start: int32 [blocks, block_k].
      end: int32 [blocks, block_k].
    """

    k: jax.Array
    v: jax.Array
    start: jax.Array
    end: jax.Array


def attend(
    q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, *, block_q: int | None = None, block_k: int | None = None
) -> AttentionOutput:
    """See ``attention.Backend``. ``out`` has the dtype of ``q``.

    Memory beyond arguments and results is O(Q + K) for any visibility, forward and backward; the time is proportional
    to the pairs of blocks that ``visible_blocks`` lists.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D].
      v: [B, K, G, D].
      spans: visibility of ``k``.
      block_q: queries in a block. Few blocks are visible where the queries of a block are neighbours in position.
      block_k: keys in a block. By default both are ``TRAIN_BLOCKS``, or ``DECODE_BLOCKS`` where one of its blocks holds
        all queries.
    """
    defaults = DECODE_BLOCKS if q.shape[1] <= DECODE_BLOCKS[0] else TRAIN_BLOCKS
    sizes = (block_q or defaults[0], block_k or defaults[1])
    return _attend(q, k, v, spans, (min(sizes[0], max(q.shape[1], 1)), min(sizes[1], max(k.shape[1], 1))))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, sizes: Sizes) -> AttentionOutput:
    return _forward(q, k, v, spans, sizes)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, sizes: Sizes) -> tuple[AttentionOutput, tuple]:
    def attend_row(row: tuple) -> AttentionOutput:
        q, k, v, spans = row
        q_blocks, kv_blocks = _head_blocks(scale_queries(q), k.shape[1], sizes[0]), _kv_blocks(k, v, spans, sizes[1])
        positions = _blocks(spans.query, sizes[0], -1)
        out, lse = jax.lax.map(functools.partial(_forward_block, kv_blocks), (q_blocks, positions))
        return AttentionOutput(_unblock(out, q.shape), _unblock(lse, (*q.shape[:2], 1))[..., 0])

    # A loop over rows, not a batched matmul: each row, and each block in it, runs as many steps as it needs.
    output = checkpoint_name(jax.lax.map(attend_row, (q, k, v, spans)), SAVED)
    return output, (q, k, v, spans, output)


def _forward_block(kv_blocks: KVBlocks, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Output [G, R·block_q, D] and log-sum-exp, float32 [G, R·block_q, 1], of a block of queries and its positions."""
    q, query = block
    index, count = visible_blocks(query, kv_blocks.start, kv_blocks.end)

    def online_softmax(i: jax.Array, carry: tuple) -> tuple:
        m, l, acc = carry
        k, v, start, end = (x[index[i]] for x in kv_blocks)
        scores = _scores(q, k, query, start, end)
        m_new = jnp.maximum(m, scores.max(-1, keepdims=True))
        p, alpha = jnp.exp(scores - m_new), jnp.exp(m - m_new)
        l = l * alpha + p.sum(-1, keepdims=True)
        return m_new, l, acc * alpha + _matmul("gqk,gkd->gqd", p.astype(v.dtype), v)

    zero, acc = jnp.zeros((*q.shape[:2], 1), jnp.float32), jnp.zeros(q.shape, jnp.float32)
    m, l, acc = jax.lax.fori_loop(0, count, online_softmax, (zero + MIN_LSE, zero, acc))
    l = jnp.where(l > 0, l, 1)
    return (acc / l).astype(q.dtype), m + jnp.log(l)


def _backward(sizes: Sizes, saved: tuple, grads: AttentionOutput) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    def row_gradients(row: tuple) -> tuple[jax.Array, jax.Array, jax.Array]:
        q, k, v, spans, (out, lse), (do, dlse) = row
        kv_blocks = _kv_blocks(k, v, spans, sizes[1])
        # delta = Σ p·dp over the keys of a query, which is Σ do·out over D; the gradient of lse enters with it.
        delta = jnp.sum(do.astype(jnp.float32) * out.astype(jnp.float32), axis=-1) - dlse
        per_query = (scale_queries(q), do, delta[..., None], lse[..., None])
        zeros = jnp.zeros(kv_blocks.k.shape, jnp.float32)
        (dk, dv), dq = jax.lax.scan(
            functools.partial(_backward_block, kv_blocks),
            (zeros, zeros),
            (*(_head_blocks(x, k.shape[1], sizes[0]) for x in per_query), _blocks(spans.query, sizes[0], -1)),
        )
        dk, dv = (_unblock(x, k.shape).astype(k.dtype) for x in (dk, dv))
        return _unblock(dq, q.shape), dk, dv

    return *jax.lax.map(row_gradients, (*saved, grads)), None


def _backward_block(
    kv_blocks: KVBlocks, dkv: tuple[jax.Array, jax.Array], block: tuple[jax.Array, ...]
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Adds what a block of queries contributes to dk and dv, float32 [blocks, G, block_k, D]; and gives its own dq."""
    q, do, delta, lse, query = block
    index, count = visible_blocks(query, kv_blocks.start, kv_blocks.end)

    def accumulate(i: jax.Array, carry: tuple) -> tuple:
        dq, dk, dv = carry
        k, v, start, end = (x[index[i]] for x in kv_blocks)
        p = jnp.exp(_scores(q, k, query, start, end) - lse)
        dv = _add(dv, index[i], _matmul("gqk,gqd->gkd", p.astype(do.dtype), do))
        ds = (p * (_matmul("gqd,gkd->gqk", do, v) - delta)).astype(q.dtype)
        dk = _add(dk, index[i], _matmul("gqk,gqd->gkd", ds, q))
        return dq + _matmul("gqk,gkd->gqd", ds, k), dk, dv

    dq, dk, dv = jax.lax.fori_loop(0, count, accumulate, (jnp.zeros(q.shape, jnp.float32), *dkv))
    return (dk, dv), (dq * q.shape[-1] ** -0.5).astype(q.dtype)


_attend.defvjp(_forward, _backward)


def _scores(q: jax.Array, k: jax.Array, query: jax.Array, start: jax.Array, end: jax.Array) -> jax.Array:
    """Scores of a block of queries [G, R·block_q, D] with a block of keys [G, block_k, D], [G, R·block_q, block_k]."""
    scores = _matmul("gqd,gkd->gqk", q, k)
    visible = (start <= query[:, None]) & (query[:, None] < end)
    by_head = scores.reshape(len(q), -1, *visible.shape)
    return jnp.where(visible, by_head, MASK_VALUE).reshape(scores.shape)


def _matmul(dims: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(dims, a, b, preferred_element_type=jnp.float32)


def _add(blocks: jax.Array, index: jax.Array, x: jax.Array) -> jax.Array:
    """``blocks.at[index].add(x)``, as a slice that a loop updates in place."""
    return jax.lax.dynamic_update_index_in_dim(blocks, blocks[index] + x, index, 0)


def _kv_blocks(k: jax.Array, v: jax.Array, spans: Spans, block: int) -> KVBlocks:
    groups = k.shape[1]
    start, end = _blocks(spans.start, block, INT32_MAX), _blocks(spans.end, block, 0)
    return KVBlocks(_head_blocks(k, groups, block), _head_blocks(v, groups, block), start, end)


def _blocks(x: jax.Array, block: int, fill: int) -> jax.Array:
    """[T, …] to [blocks, block, …], at least one block, the last one padded with ``fill``."""
    missing = max(-(-len(x) // block), 1) * block - len(x)
    x = jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1), constant_values=fill)
    return x.reshape(len(x) // block, block, *x.shape[1:])


def _head_blocks(x: jax.Array, groups: int, block: int) -> jax.Array:
    """[T, H, D] to [blocks, G, R·block, D]: the R heads of a group are stacked, for one matmul per group."""
    x = _blocks(x, block, 0)
    count, _, heads, size = x.shape
    x = x.reshape(count, block, groups, heads // groups, size).transpose(0, 2, 3, 1, 4)
    return x.reshape(count, groups, heads // groups * block, size)


def _unblock(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The inverse of ``_head_blocks``, to ``shape`` [T, H, D]."""
    count, groups, _, size = x.shape
    length, heads, _ = shape
    x = x.reshape(count, groups, heads // groups, -1, size).transpose(0, 3, 1, 2, 4)
    return x.reshape(-1, heads, size)[:length]
