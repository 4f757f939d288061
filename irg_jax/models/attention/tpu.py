"""Attention by spans as Pallas kernels for TPUs.

Queries and keys are cut into blocks, and a grid step is a visit of one block of queries to one block of keys for all
query heads that share the keys. The visits of a row are listed ahead of the kernels, one after another, so that the
grid is as long as the list and no step is idle: what nobody sees is neither computed nor copied. Forward is a running
softmax (arXiv 2112.05682). Backward (arXiv 2205.14135) computes the scores once more and all three gradients from them
in one kernel; the gradients of k and v are summed in main memory, since their blocks come back with every block of
queries.

Scores stand transposed, keys below one another and queries side by side: what there is one of per query (maximum, sum,
log-sum-exp) is then a row, which costs neither a reduction across lanes nor padding, and no matmul has to transpose
scores.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from irg_jax.errors import UserError
from irg_jax.models.attention.spans import HIDDEN, LOWEST, SAVED, Attended, Spans, scaled, visits

_FAR = jnp.iinfo(jnp.int32).max
_LOG2E = math.log2(math.e)  # TPUs have an instruction for 2^x
_LANES = 128
_VMEM = 32 << 20  # of a core's vector memory, at most: bfloat16 takes up to 16 MiB, float32 up to 23 MiB
_STEPS = 256_000  # for which a core's scalar memory of 1 MiB has room

# A step in the list: the number of the block of queries above that of the block of keys. A block of queries that visits
# nobody has one step all the same, in which its zeros are written; these steps come last.
_BITS = 16
_NOBODY = (1 << _BITS) - 1
_LAST = 1 << 30


class Blocks(NamedTuple):
    """How many tokens are in a block, and whether the kernels run in Pallas' interpreter."""

    queries: int
    keys: int
    interpret: bool | pltpu.InterpretParams


class Row(NamedTuple):
    """One row in whole blocks, as the kernels want it.

    Attributes:
      q: [G, R, Q, D], times log2(e)/√D.
      k: [G, K, D].
      v: likewise.
      query: int32 [1, Q].
      bounds: start and end of the keys, int32 [2, K].
    """

    q: jax.Array
    k: jax.Array
    v: jax.Array
    query: jax.Array
    bounds: jax.Array


def attend(
    q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, *,
    block_q: int | None = None, block_k: int = 1024, interpret: bool | pltpu.InterpretParams = False,
) -> Attended:  # fmt: skip
    """See ``attention.Backend``. ``out`` has the dtype of ``q``.

    Memory beyond arguments and results is O(Q + K) and an integer for each pair of blocks. Where a chip has two cores
    (v4, v5p) they share the groups, so that an odd number of these on a device leaves one core idle.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D].
      v: [B, K, G, D].
      spans: visibility of ``k``.
      block_q: queries in a block, a multiple of 128; by default as many as have 2,048 scores with a key in all heads of
        a group, but no more than 1,024.
      block_k: keys in a block, a multiple of 128.
      interpret: run anywhere, slowly, for tests.

    Raises:
      UserError: there are more pairs of blocks than scalar memory holds (at 256 by 1,024, from 256,000 tokens a row).
    """
    block_q = block_q or min(max(2048 * k.shape[2] // q.shape[2] // _LANES, 1) * _LANES, 1024)
    block_q, block_k = (min(block, _whole(x.shape[1], _LANES)) for block, x in ((block_q, q), (block_k, k)))
    if _whole(q.shape[1], block_q) // block_q * (_whole(k.shape[1], block_k) // block_k) > _STEPS:
        raise UserError(
            f"attention: rows of {q.shape[1]} queries and {k.shape[1]} keys have too many blocks for the TPU kernels; "
            "split rows over the mesh axis context, or set model.attention to chunked"
        )
    return _attend(q, k, v, spans, Blocks(block_q, block_k, interpret))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, blocks: Blocks) -> Attended:
    return _forward(q, k, v, spans, blocks)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, blocks: Blocks) -> tuple[Attended, tuple]:
    def one_row(row: Row) -> tuple[jax.Array, jax.Array]:
        queries, stats, query, keys, bounds = _specs(row, blocks)
        _, repeat, _, size = row.q.shape
        shapes = [row.q, jax.ShapeDtypeStruct(row.q.shape[:3], jnp.float32)]
        scratch = [pltpu.VMEM((repeat, *x, blocks.queries), jnp.float32) for x in ((), (), (size,))]
        specs = [queries, query, keys, keys, bounds], [queries, stats]
        return _launch(_attend_block, row, blocks, *specs, shapes, scratch)(row.q, row.query, row.k, row.v, row.bounds)

    # A loop over rows: each has as many steps as it needs, and scalar memory holds the list of one.
    out, lse = jax.lax.map(one_row, _rows(q, k, v, spans, blocks))
    lse = lse.reshape(len(q), q.shape[2], -1).transpose(0, 2, 1)[:, : q.shape[1]]
    attended = checkpoint_name(Attended(_tokens(out, q.shape), lse), SAVED)
    return attended, (q, k, v, spans, attended)


def _attend_block(
    steps: Any, q: Any, query: Any, k: Any, v: Any, bounds: Any, out: Any, lse: Any, top: Any, total: Any, summed: Any
) -> None:
    """One visit: adds a block of keys to the running softmax of a block of queries.

    ``top`` and ``total`` [R, queries] are the highest score so far and the sum of weights relative to it, ``summed``
    [R, D, queries] the weighted values.
    """
    at = pl.program_id(1)

    @pl.when(_begins(steps, at))
    def _() -> None:
        top[...] = jnp.full_like(top, LOWEST)
        total[...] = jnp.zeros_like(total)
        summed[...] = jnp.zeros_like(summed)

    @pl.when(steps[at] < _LAST)
    def _() -> None:
        hidden, values, pieces = _hidden(query, bounds), v[...].T, _pieces(q, k)
        scores: dict[int, jax.Array] = {}
        weighed: dict[int, tuple[jax.Array, jax.Array]] = {}
        # The compiler keeps about to this order: while one piece's scores become weights in the vector units, the
        # matrix units have the scores of the next piece and the values of the last one to work on.
        for i in range(len(pieces) + 2):
            if i < len(pieces):
                of = pieces[i]
                scores[i] = _matmul(k[of.keys], q[of.head, of.queries], transposed=True) + hidden[of.keys, of.queries]
            if i >= 2:
                of, (weights, shrink) = pieces[i - 2], weighed.pop(i - 2)
                to = of.head, slice(None), of.queries
                summed[to] = summed[to] * shrink + _matmul(values[:, of.keys], weights.astype(v.dtype))
            if 0 < i <= len(pieces):
                of = pieces[i - 1]
                highest = jnp.maximum(top[of.row], scores[i - 1].max(0, keepdims=True))
                weights, shrink = jnp.exp2(scores.pop(i - 1) - highest), jnp.exp2(top[of.row] - highest)
                top[of.row], total[of.row] = highest, total[of.row] * shrink + weights.sum(0, keepdims=True)
                weighed[i - 1] = weights, shrink

    @pl.when(_ends(steps, at))
    def _() -> None:
        seen = total[...] > 0
        whole = jnp.where(seen, total[...], 1)
        lse[...] = jnp.where(seen, (top[...] + jnp.log2(whole)) / _LOG2E, LOWEST)
        for head in range(len(q)):
            out[head] = (summed[head] / whole[head : head + 1]).T.astype(out.dtype)


def _backward(blocks: Blocks, saved: tuple, grads: Attended) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    def one_row(given: tuple[Row, jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        row, *of_out = given
        queries, stats, query, keys, bounds = _specs(row, blocks)
        _, repeat, _, size = row.q.shape
        anywhere, kv_grad = pl.BlockSpec(memory_space=pl.ANY), jnp.zeros((2, *row.k.shape), jnp.float32)
        specs = [queries, query, queries, stats, stats, keys, keys, bounds, anywhere], [queries, anywhere]
        scratch = [
            pltpu.VMEM((repeat, size, blocks.queries), jnp.float32),
            pltpu.VMEM((2, 2, blocks.keys, size), jnp.float32),
            pltpu.SMEM((1,), jnp.int32),
            pltpu.SemaphoreType.DMA((2, 2)),
        ]
        kernel = functools.partial(_attend_block_grad, scale=q.shape[-1] ** -0.5)
        call = _launch(kernel, row, blocks, *specs, [row.q, kv_grad], scratch, input_output_aliases={9: 1})
        return call(row.q, row.query, *of_out, row.k, row.v, row.bounds, kv_grad)

    q, k, v, spans, (out, lse) = saved
    grad, lse_grad = grads
    # Σ weight · ∂weight over a query's keys, known before any of them is met.
    common = jnp.sum(grad.astype(jnp.float32) * out.astype(jnp.float32), axis=-1) - lse_grad
    of_out = [_heads(x, k.shape[2], blocks.queries) for x in (_padded(grad, 3, _LANES), lse * _LOG2E, common)]
    q_grad, kv_grad = jax.lax.map(one_row, (_rows(q, k, v, spans, blocks), *of_out))
    # q stood there times log2(e)/√D: the gradient of k has the root already, and a logarithm too much.
    k_grad, v_grad = (_tokens(kv_grad[:, i], k.shape) for i in range(2))
    return _tokens(q_grad, q.shape), (k_grad / _LOG2E).astype(k.dtype), v_grad.astype(v.dtype), None


def _attend_block_grad(
    steps: Any, q: Any, query: Any, grad: Any, lse: Any, common: Any, k: Any, v: Any, bounds: Any, zeros: Any,
    q_grad: Any, kv_grad: Any, summed: Any, buffers: Any, runs: Any, copied: Any, *, scale: float,
) -> None:  # fmt: skip
    """One visit: the gradients of a block of queries, of a block of keys and of its values.

    ``summed`` [R, D, queries] is the gradient of q so far. ``kv_grad`` [2, G, K, D], of k and of v, lies in main
    memory: a block of it is fetched while the visit computes what to add, and written while the next one computes.
    Visits to the same block one after another are a run, with one fetch and one write; runs take turns in the two
    ``buffers``. A run waits for what the last but one wrote, and the last one wrote another block: nothing is read
    while it is written. ``zeros`` is what ``kv_grad`` starts from, in the same memory.
    """
    group, at = pl.program_id(0), pl.program_id(1)
    last = at == pl.num_programs(1) - 1
    here, visits_somebody = _key_block(steps, at), steps[at] < _LAST
    opens = visits_somebody & ((at == 0) | (_key_block(steps, jnp.maximum(at - 1, 0)) != here))
    closes = visits_somebody & (last | (_key_block(steps, at + 1) != here))
    run = jnp.where(at == 0, 0, runs[0]) + opens
    runs[0] = run
    turn = run % 2
    lasting = kv_grad.at[:, group, pl.ds(here * len(k), len(k))]
    fetch = pltpu.make_async_copy(lasting, buffers.at[turn], copied.at[0, turn])
    write, other_write = (pltpu.make_async_copy(buffers.at[i], lasting, copied.at[1, i]) for i in (turn, 1 - turn))
    pl.when(opens & (run > 2))(write.wait)
    pl.when(opens)(fetch.start)

    @pl.when(_begins(steps, at))
    def _() -> None:
        summed[...] = jnp.zeros_like(summed)

    @pl.when(visits_somebody)
    def _() -> None:
        hidden, keys = _hidden(query, bounds), k[...].T
        k_grad, v_grad = jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32)
        for piece in _pieces(q, k, block_k=len(k)):
            of, to = (piece.head, piece.queries), (piece.head, slice(None), piece.queries)
            scores = _matmul(k[...], q[of], transposed=True) + hidden[:, piece.queries]
            weights = jnp.exp2(scores - lse[piece.row])
            v_grad += _matmul(weights.astype(grad.dtype), grad[of])
            score_grad = weights * (_matmul(v[...], grad[of], transposed=True) - common[piece.row])
            score_grad = score_grad.astype(q.dtype)
            k_grad += _matmul(score_grad, q[of])
            summed[to] += _matmul(keys, score_grad)

        pl.when(opens)(fetch.wait)
        buffers[turn, 0] += k_grad
        buffers[turn, 1] += v_grad

    pl.when(closes)(write.start)

    @pl.when(_ends(steps, at))
    def _() -> None:
        for head in range(len(q)):
            q_grad[head] = (summed[head] * scale).T.astype(q_grad.dtype)

    pl.when(last & (run > 0))(write.wait)
    pl.when(last & (run > 1))(other_write.wait)


_attend.defvjp(_forward, _backward)


class Piece(NamedTuple):
    """What is worked on at a time within a step: some queries of one head, some keys."""

    head: int
    queries: slice
    keys: slice

    @property
    def row(self) -> tuple[slice, slice]:
        """Where [R, queries] has what there is one of per query."""
        return slice(self.head, self.head + 1), self.queries


def _pieces(q: Any, k: Any, block_q: int = 256, block_k: int = 512) -> list[Piece]:
    """By head, then by queries, then by keys."""
    cuts = [[slice(i, min(i + n, of)) for i in range(0, of, n)] for n, of in ((block_q, q.shape[1]), (block_k, len(k)))]
    return [Piece(head, *cut) for head in range(len(q)) for cut in itertools.product(*cuts)]


def _hidden(query: Any, bounds: Any) -> jax.Array:
    """What to add to scores: 0 where a query sees a key and next to -∞ where not, float32 [keys, queries]."""
    bounds = bounds[...].T
    seen = (bounds[:, :1] <= query[...]) & (query[...] < bounds[:, 1:])
    return jnp.where(seen, 0.0, HIDDEN)


def _matmul(a: jax.Array, b: jax.Array, transposed: bool = False) -> jax.Array:
    """a·b, or a·bᵀ, in float32."""
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    dims = (((1,), (1 if transposed else 0,)), ((), ()))
    return jax.lax.dot_general(a, b, dims, precision=precision, preferred_element_type=jnp.float32)


# --- the list of visits


def list_visits(query: jax.Array, start: jax.Array, end: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The steps of a row's kernels.

    Args:
      query: positions, int32 [blocks, block_q]; below 0 is padding.
      start: int32 [blocks, block_k].
      end: int32 [blocks, block_k].

    Returns:
      the steps, by block of queries and then by block of keys, int32 [all pairs of blocks + 1], the rest filled up; and
      how many there are, int32.
    """
    index, count = jax.vmap(visits, (0, None, None))(query, start, end)
    block, slot = jnp.arange(len(query))[:, None] << _BITS, jnp.arange(len(start))
    steps = jnp.where(slot < count[:, None], block | index, _FAR)
    steps = jnp.where((slot == 0) & (count[:, None] == 0), _LAST | block | _NOBODY, steps)
    steps = jnp.append(jax.lax.sort(steps.reshape(-1), is_stable=False), _FAR)
    return steps, jnp.sum(steps < _FAR, dtype=jnp.int32)


def _query_block(steps: Any, at: jax.Array) -> jax.Array:
    return (steps[at] & ~_LAST) >> _BITS


def _key_block(steps: Any, at: jax.Array) -> jax.Array:
    return steps[at] & _NOBODY


def _begins(steps: Any, at: jax.Array) -> jax.Array:
    """Whether this is the first step of its block of queries."""
    return (at == 0) | (_query_block(steps, jnp.maximum(at - 1, 0)) != _query_block(steps, at))


def _ends(steps: Any, at: jax.Array) -> jax.Array:
    """Whether this is the last step of its block of queries."""
    return (at == pl.num_programs(1) - 1) | (_query_block(steps, at + 1) != _query_block(steps, at))


# --- around the kernels


def _specs(row: Row, blocks: Blocks) -> tuple[pl.BlockSpec, ...]:
    """What a step has of [G, R, Q, D], [G, R, Q], [1, Q], [G, K, D] and [2, K]."""
    _, repeat, _, size = row.q.shape
    last = row.k.shape[1] // blocks.keys - 1

    def there(steps: Any, at: jax.Array) -> jax.Array:
        return jnp.minimum(_key_block(steps, at), last)

    return (
        pl.BlockSpec((None, repeat, blocks.queries, size), lambda g, at, steps: (g, 0, _query_block(steps, at), 0)),
        pl.BlockSpec((None, repeat, blocks.queries), lambda g, at, steps: (g, 0, _query_block(steps, at))),
        pl.BlockSpec((1, blocks.queries), lambda g, at, steps: (0, _query_block(steps, at))),
        pl.BlockSpec((None, blocks.keys, size), lambda g, at, steps: (g, there(steps, at), 0)),
        pl.BlockSpec((2, blocks.keys), lambda g, at, steps: (0, there(steps, at))),
    )


def _launch(
    kernel: Callable, row: Row, blocks: Blocks, ins: list, outs: list, shapes: list, scratch: list, **kwargs: Any
) -> Callable:
    """``kernel`` over the groups and steps of a row."""
    steps, count = list_visits(row.query.reshape(-1, blocks.queries), *row.bounds.reshape(2, -1, blocks.keys))
    grid = pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=1, grid=(len(row.q), count), in_specs=ins, out_specs=outs, scratch_shapes=scratch
    )
    params = pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=_VMEM)
    call = pl.pallas_call(kernel, shapes, grid_spec=grid, compiler_params=params, interpret=blocks.interpret, **kwargs)
    return functools.partial(call, steps)


def _rows(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, blocks: Blocks) -> Row:
    sizes, given = (blocks.queries, blocks.keys, blocks.keys), (scaled(q, _LOG2E), k, v)
    q, k, v = (_heads(_padded(x, 3, _LANES), k.shape[2], n) for x, n in zip(given, sizes, strict=True))
    query = _padded(spans.query, 1, blocks.queries, -1)[:, None]
    bounds = [_padded(x, 1, blocks.keys, fill) for x, fill in ((spans.start, _FAR), (spans.end, 0))]
    return Row(q, k[:, :, 0], v[:, :, 0], query, jnp.stack(bounds, axis=1))


def _heads(x: jax.Array, groups: int, block: int) -> jax.Array:
    """[B, T, H, …] to [B, G, R, T, …] in whole blocks."""
    x = _padded(x, 1, block).swapaxes(1, 2)
    return x.reshape(len(x), groups, -1, *x.shape[2:])


def _tokens(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The way back from ``_heads`` to ``shape`` [B, T, H, D]."""
    rows, tokens, heads, size = shape
    return x.reshape(rows, heads, -1, x.shape[-1])[:, :, :tokens, :size].transpose(0, 2, 1, 3)


def _padded(x: jax.Array, axis: int, block: int, fill: int = 0) -> jax.Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, _whole(x.shape[axis], block) - x.shape[axis])
    return jnp.pad(x, widths, constant_values=fill)


def _whole(length: int, block: int) -> int:
    """The tokens in whole blocks, at least one of them."""
    return max(-(-length // block), 1) * block
