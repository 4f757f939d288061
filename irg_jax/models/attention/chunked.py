"""Attention by spans in memory linear in the tokens, in plain XLA: for the CPU, and wherever no kernel fits.

Queries and keys are cut into blocks. Each block of queries runs a loop over the blocks of keys that it may see, with a
running softmax (arXiv 2112.05682); what no query of the block sees is neither computed nor read. The backward pass has
the output and the log-sum-exp of every query and computes the scores again, block by block (arXiv 2205.14135).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from irg_jax.models.attention.spans import HIDDEN, LOWEST, SAVED, Attended, Spans, scaled, visits

_FAR = jnp.iinfo(jnp.int32).max

Sizes = tuple[int, int]

# Queries and keys in a block: of a packed row, small enough to skip most of what is hidden; of a row of few queries, as
# in sampling, which see nearly all there is, large enough for few steps.
PACKED: Sizes = (256, 128)
FEW: Sizes = (512, 1024)


class KeyBlocks(NamedTuple):
    """The keys of one row in blocks.

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
) -> Attended:
    """See ``attention.Backend``. ``out`` has the dtype of ``q``.

    Memory beyond arguments and results is O(Q + K) for any visibility, forward and backward; the time is that of the
    pairs of blocks that ``visits`` lists.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D].
      v: [B, K, G, D].
      spans: visibility of ``k``.
      block_q: queries in a block. Few blocks are visited where the queries of a block are neighbours in position.
      block_k: keys in a block. By default both are those of ``PACKED``, or of ``FEW`` where that holds all queries.
    """
    defaults = FEW if q.shape[1] <= FEW[0] else PACKED
    sizes = (block_q or defaults[0], block_k or defaults[1])
    return _attend(q, k, v, spans, (min(sizes[0], max(q.shape[1], 1)), min(sizes[1], max(k.shape[1], 1))))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, sizes: Sizes) -> Attended:
    return _forward(q, k, v, spans, sizes)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, sizes: Sizes) -> tuple[Attended, tuple]:
    def one_row(row: tuple) -> Attended:
        q, k, v, spans = row
        queries, keys = _blocks(scaled(q), k.shape[1], sizes[0]), _key_blocks(k, v, spans, sizes[1])
        positions = _cut(spans.query, sizes[0], -1)
        out, lse = jax.lax.map(functools.partial(_attend_block, keys), (queries, positions))
        return Attended(_tokens(out, q.shape), _tokens(lse, (*q.shape[:2], 1))[..., 0])

    # A loop over rows, not a batched matmul: each row, and each block in it, runs as many steps as it needs.
    attended = checkpoint_name(jax.lax.map(one_row, (q, k, v, spans)), SAVED)
    return attended, (q, k, v, spans, attended)


def _attend_block(keys: KeyBlocks, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Output [G, R·block_q, D] and log-sum-exp, float32 [G, R·block_q, 1], of a block of queries and its positions."""
    q, query = block
    index, count = visits(query, keys.start, keys.end)

    def visit(i: jax.Array, carry: tuple) -> tuple:
        top, total, out = carry
        k, v, start, end = (x[index[i]] for x in keys)
        scores = _scores(q, k, query, start, end)
        highest = jnp.maximum(top, scores.max(-1, keepdims=True))
        weights, shrink = jnp.exp(scores - highest), jnp.exp(top - highest)
        total = total * shrink + weights.sum(-1, keepdims=True)
        return highest, total, out * shrink + _matmul("gqk,gkd->gqd", weights.astype(v.dtype), v)

    zero, out = jnp.zeros((*q.shape[:2], 1), jnp.float32), jnp.zeros(q.shape, jnp.float32)
    top, total, out = jax.lax.fori_loop(0, count, visit, (zero + LOWEST, zero, out))
    total = jnp.where(total > 0, total, 1)
    return (out / total).astype(q.dtype), top + jnp.log(total)


def _backward(sizes: Sizes, saved: tuple, grads: Attended) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    def one_row(row: tuple) -> tuple[jax.Array, jax.Array, jax.Array]:
        q, k, v, spans, (out, lse), (grad, lse_grad) = row
        keys = _key_blocks(k, v, spans, sizes[1])
        # Σ weight · ∂weight over a query's keys, known before any of them is met.
        common = jnp.sum(grad.astype(jnp.float32) * out.astype(jnp.float32), axis=-1) - lse_grad
        queries = (scaled(q), grad, common[..., None], lse[..., None])
        zeros = jnp.zeros(keys.k.shape, jnp.float32)
        (k_grad, v_grad), q_grad = jax.lax.scan(
            functools.partial(_attend_block_grad, keys),
            (zeros, zeros),
            (*(_blocks(x, k.shape[1], sizes[0]) for x in queries), _cut(spans.query, sizes[0], -1)),
        )
        k_grad, v_grad = (_tokens(x, k.shape).astype(k.dtype) for x in (k_grad, v_grad))
        return _tokens(q_grad, q.shape), k_grad, v_grad

    return *jax.lax.map(one_row, (*saved, grads)), None


def _attend_block_grad(
    keys: KeyBlocks, grads: tuple[jax.Array, jax.Array], block: tuple[jax.Array, ...]
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """The gradients of k and v, float32 [blocks, G, block_k, D], with what a block of queries adds; and its own."""
    q, grad, common, lse, query = block
    index, count = visits(query, keys.start, keys.end)

    def visit(i: jax.Array, carry: tuple) -> tuple:
        q_grad, k_grad, v_grad = carry
        k, v, start, end = (x[index[i]] for x in keys)
        weights = jnp.exp(_scores(q, k, query, start, end) - lse)
        v_grad = _add(v_grad, index[i], _matmul("gqk,gqd->gkd", weights.astype(grad.dtype), grad))
        score_grad = (weights * (_matmul("gqd,gkd->gqk", grad, v) - common)).astype(q.dtype)
        k_grad = _add(k_grad, index[i], _matmul("gqk,gqd->gkd", score_grad, q))
        return q_grad + _matmul("gqk,gkd->gqd", score_grad, k), k_grad, v_grad

    q_grad, k_grad, v_grad = jax.lax.fori_loop(0, count, visit, (jnp.zeros(q.shape, jnp.float32), *grads))
    return (k_grad, v_grad), (q_grad * q.shape[-1] ** -0.5).astype(q.dtype)


_attend.defvjp(_forward, _backward)


def _scores(q: jax.Array, k: jax.Array, query: jax.Array, start: jax.Array, end: jax.Array) -> jax.Array:
    """Scores of one block of queries [G, R·block_q, D] with one of keys [G, block_k, D], [G, R·block_q, block_k]."""
    scores = _matmul("gqd,gkd->gqk", q, k)
    visible = (start <= query[:, None]) & (query[:, None] < end)
    by_head = scores.reshape(len(q), -1, *visible.shape)
    return jnp.where(visible, by_head, HIDDEN).reshape(scores.shape)


def _matmul(dims: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(dims, a, b, preferred_element_type=jnp.float32)


def _add(blocks: jax.Array, index: jax.Array, x: jax.Array) -> jax.Array:
    """``blocks.at[index].add(x)``, as a slice that a loop updates in place."""
    return jax.lax.dynamic_update_index_in_dim(blocks, blocks[index] + x, index, 0)


def _key_blocks(k: jax.Array, v: jax.Array, spans: Spans, block: int) -> KeyBlocks:
    groups = k.shape[1]
    start, end = _cut(spans.start, block, _FAR), _cut(spans.end, block, 0)
    return KeyBlocks(_blocks(k, groups, block), _blocks(v, groups, block), start, end)


def _cut(x: jax.Array, block: int, fill: int) -> jax.Array:
    """[T, …] to [blocks, block, …], at least one block, the last one filled up."""
    missing = max(-(-len(x) // block), 1) * block - len(x)
    x = jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1), constant_values=fill)
    return x.reshape(len(x) // block, block, *x.shape[1:])


def _blocks(x: jax.Array, groups: int, block: int) -> jax.Array:
    """[T, H, D] to [blocks, G, R·block, D]: the R heads of a group stand below one another, for one matmul a group."""
    x = _cut(x, block, 0)
    count, _, heads, size = x.shape
    x = x.reshape(count, block, groups, heads // groups, size).transpose(0, 2, 3, 1, 4)
    return x.reshape(count, groups, heads // groups * block, size)


def _tokens(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The way back from ``_blocks`` to ``shape`` [T, H, D]."""
    count, groups, _, size = x.shape
    length, heads, _ = shape
    x = x.reshape(count, groups, heads // groups, -1, size).transpose(0, 3, 1, 2, 4)
    return x.reshape(-1, heads, size)[:length]
