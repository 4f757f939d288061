"""Attention by spans in memory linear in the tokens, in plain XLA: for the CPU, and wherever no kernel fits.

Queries and keys are cut into blocks. Each block of queries runs a loop over the blocks of keys that it may see, with a
running softmax (arXiv 2112.05682); what no query of the block sees is neither computed nor read. The backward pass keeps
the output and the log-sum-exp of every query and computes the scores again, block by block (arXiv 2205.14135).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from irg_jax.models.attention import Spans

# What a remat policy may keep of the forward pass, so that the backward pass does not repeat it.
SAVED = "chunked_attention"

_FAR = jnp.iinfo(jnp.int32).max
# A hidden score lies so far below where the running maximum starts that its weight is 0 before any other is met.
_HIDDEN, _LOWEST = jnp.finfo(jnp.float32).min, -1e30

Sizes = tuple[int, int]


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


def chunked_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, *, block_q: int = 256, block_k: int = 256
) -> jax.Array:
    """Grouped-query attention over the visible keys, as ``attention.attention`` without a cache.

    Memory beyond arguments and results is O(Q + K) for any visibility, forward and backward; the time is that of the
    pairs of blocks that ``visits`` lists.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D], H a multiple of G; KV heads are never repeated.
      v: [B, K, G, D].
      spans: visibility of ``k``; no key starts below 0, and a query below 0 is padding, which sees nothing.
      block_q: queries in a block. Few blocks are visited where the queries of a block are neighbours in position.
      block_k: keys in a block.

    Returns:
      [B, Q, H, D] in the dtype of ``q``. A query that sees no key gets 0 and passes no gradient on. Scores and softmax
      are float32.
    """
    sizes = (min(block_q, max(q.shape[1], 1)), min(block_k, max(k.shape[1], 1)))
    with jax.named_scope("attention"):
        return _attend(q, k, v, spans, sizes)


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


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, sizes: Sizes) -> jax.Array:
    return _forward(q, k, v, spans, sizes)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, sizes: Sizes) -> tuple[jax.Array, tuple]:
    def one_row(row: tuple) -> tuple[jax.Array, jax.Array]:
        q, k, v, spans = row
        queries, keys = _blocks(q * q.shape[-1] ** -0.5, k.shape[1], sizes[0]), _key_blocks(k, v, spans, sizes[1])
        positions = _cut(spans.query, sizes[0], -1)
        out, lse = jax.lax.map(lambda block: _attend_block(*block, keys), (queries, positions))
        return _tokens(out, q.shape), lse

    # A loop over rows, not a batched matmul: each row, and each block in it, runs as many steps as it needs.
    out, lse = jax.lax.map(one_row, (q, k, v, spans))
    out, lse = checkpoint_name(out.astype(q.dtype), SAVED), checkpoint_name(lse, SAVED)
    return out, (q, k, v, spans, out, lse)


def _attend_block(q: jax.Array, query: jax.Array, keys: KeyBlocks) -> tuple[jax.Array, jax.Array]:
    """One block of queries: output [G, R·block_q, D] and log-sum-exp [G, R·block_q, 1], float32."""
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
    top, total, out = jax.lax.fori_loop(0, count, visit, (zero + _LOWEST, zero, out))
    total = jnp.where(total > 0, total, 1)
    return out / total, top + jnp.log(total)


def _backward(sizes: Sizes, saved: tuple, grad: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    def one_row(row: tuple) -> tuple[jax.Array, jax.Array, jax.Array]:
        q, k, v, spans, out, lse, grad = row
        scale, keys = q.shape[-1] ** -0.5, _key_blocks(k, v, spans, sizes[1])
        # Σ weight · ∂weight over a query's keys, known before any of them is met.
        common = jnp.sum(grad.astype(jnp.float32) * out.astype(jnp.float32), axis=-1, keepdims=True)
        queries = [_blocks(x, k.shape[1], sizes[0]) for x in (q * scale, grad, common)]
        zeros = jnp.zeros(keys.k.shape, jnp.float32)
        (k_grad, v_grad), q_grad = jax.lax.scan(
            lambda grads, block: _attend_block_grad(grads, *block, keys),
            (zeros, zeros),
            (*queries, lse, _cut(spans.query, sizes[0], -1)),
        )
        return (
            (_tokens(q_grad, q.shape) * scale).astype(q.dtype),
            _tokens(k_grad, k.shape).astype(k.dtype),
            _tokens(v_grad, v.shape).astype(v.dtype),
        )

    return *jax.lax.map(one_row, (*saved, grad)), None


def _attend_block_grad(
    grads: tuple[jax.Array, jax.Array],
    q: jax.Array,
    grad: jax.Array,
    common: jax.Array,
    lse: jax.Array,
    query: jax.Array,
    keys: KeyBlocks,
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Adds one block of queries to the gradients of k and v, [blocks, G, block_k, D]; and gives that of q; float32."""
    index, count = visits(query, keys.start, keys.end)

    def visit(i: jax.Array, carry: tuple) -> tuple:
        q_grad, k_grad, v_grad = carry
        k, v, start, end = (x[index[i]] for x in keys)
        weights = jnp.exp(_scores(q, k, query, start, end) - lse)
        v_grad = _add(v_grad, index[i], _matmul("gqk,gqd->gkd", weights.astype(grad.dtype), grad))
        score_grad = (weights * (_matmul("gqd,gkd->gqk", grad, v) - common)).astype(q.dtype)
        k_grad = _add(k_grad, index[i], _matmul("gqk,gqd->gkd", score_grad, q))
        return q_grad + _matmul("gqk,gkd->gqd", score_grad, k), k_grad, v_grad

    q_grad, *rest = jax.lax.fori_loop(0, count, visit, (jnp.zeros(q.shape, jnp.float32), *grads))
    return tuple(rest), q_grad


_attend.defvjp(_forward, _backward)


def _scores(q: jax.Array, k: jax.Array, query: jax.Array, start: jax.Array, end: jax.Array) -> jax.Array:
    """Scores of one block of queries [G, R·block_q, D] with one of keys [G, block_k, D], [G, R·block_q, block_k]."""
    scores = _matmul("gqd,gkd->gqk", q, k)
    visible = (start <= query[:, None]) & (query[:, None] < end)
    by_head = scores.reshape(len(q), -1, *visible.shape)
    return jnp.where(visible, by_head, _HIDDEN).reshape(scores.shape)


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
