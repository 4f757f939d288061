"""Attention by spans as Pallas kernels for TPUs.

FlashAttention with block sparsity. Queries and keys are cut into blocks, and a grid step is one block of queries and
one block of keys, for all query heads of a group. The visible pairs of blocks of a row are listed before the kernels
run, and the grid is as long as the list: blocks that no query sees are neither computed nor copied. Forward is an
online softmax (arXiv 2112.05682). Backward (arXiv 2205.14135) recomputes the scores and computes all three gradients
from them in one kernel; dk and dv are accumulated in HBM, since a block of keys comes up again with each block of
queries.

Scores are transposed, [keys, queries]: per-query numbers (m, l, the log-sum-exp) are then rows of lanes, which needs
neither reductions across lanes nor padding, and no matmul has to transpose the scores.
"""

# ruff: noqa: E741 (l is FlashAttention's name)

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

from irg_jax.core.errors import UserError
from irg_jax.models.attention.spans import INT32_MAX, MASK_VALUE, MIN_LSE, SAVED, AttentionOutput, Spans, scale_queries
from irg_jax.models.attention.tpu_steps import has_keys, is_first_step, is_last_step, key_block, list_steps, query_block

_LOG2E = math.log2(math.e)  # TPUs have an instruction for 2^x
_LANES = 128
_VMEM_LIMIT = 32 << 20  # bytes of a core's VMEM: bfloat16 takes up to 16 MiB, float32 up to 23 MiB
_MAX_STEPS = 256_000  # that fit a core's scalar memory (SMEM) of 1 MiB


class Blocks(NamedTuple):
    """How many tokens are in a block, and whether the kernels run in Pallas' interpreter."""

    queries: int
    keys: int
    interpret: bool | pltpu.InterpretParams


class RowOperands(NamedTuple):
    """One row, padded to whole blocks, in the layout of the kernels.

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
) -> AttentionOutput:  # fmt: skip
    """See ``attention.Backend``. ``out`` has the dtype of ``q``.

    Memory beyond arguments and results is O(Q + K) and an integer for each pair of blocks. Where a chip has two cores
    (v4, v5p) they share the groups, so that an odd number of groups per device leaves one core idle.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D].
      v: [B, K, G, D].
      spans: visibility of ``k``.
      block_q: queries in a block, a multiple of 128; by default as many as have 2,048 scores with a key in all heads of
        a group, but no more than 1,024.
      block_k: keys in a block, a multiple of 128.
      interpret: run in Pallas' interpreter, for tests: on any platform, slowly.

    Raises:
      UserError: there are more pairs of blocks than scalar memory holds (at 256 by 1,024, from 256,000 tokens per row).
    """
    block_q = block_q or min(max(2048 * k.shape[2] // q.shape[2] // _LANES, 1) * _LANES, 1024)
    block_q, block_k = (min(block, _round_up(x.shape[1], _LANES)) for block, x in ((block_q, q), (block_k, k)))
    if _round_up(q.shape[1], block_q) // block_q * (_round_up(k.shape[1], block_k) // block_k) > _MAX_STEPS:
        raise UserError(
            f"attention: rows of {q.shape[1]} queries and {k.shape[1]} keys have too many blocks for the TPU kernels; "
            "split rows over the mesh axis context, or set execution.attention to chunked"
        )
    return _attend(q, k, v, spans, Blocks(block_q, block_k, interpret))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, blocks: Blocks) -> AttentionOutput:
    return _forward(q, k, v, spans, blocks)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, blocks: Blocks) -> tuple[AttentionOutput, tuple]:
    def attend_row(row: RowOperands) -> tuple[jax.Array, jax.Array]:
        q_spec, stats, query, kv_spec, bounds = _block_specs(row, blocks)
        _, repeat, _, size = row.q.shape
        shapes = [row.q, jax.ShapeDtypeStruct(row.q.shape[:3], jnp.float32)]
        scratch = [pltpu.VMEM((repeat, *x, blocks.queries), jnp.float32) for x in ((), (), (size,))]
        specs = [q_spec, query, kv_spec, kv_spec, bounds], [q_spec, stats]
        return _launch(_forward_kernel, row, blocks, *specs, shapes, scratch)(
            row.q, row.query, row.k, row.v, row.bounds
        )

    # A loop over rows: each has as many steps as it needs, and scalar memory holds the list of one.
    out, lse = jax.lax.map(attend_row, _row_operands(q, k, v, spans, blocks))
    lse = lse.reshape(len(q), q.shape[2], -1).transpose(0, 2, 1)[:, : q.shape[1]]
    output = checkpoint_name(AttentionOutput(_ungroup_heads(out, q.shape), lse), SAVED)
    return output, (q, k, v, spans, output)


def _forward_kernel(
    steps: Any, q_ref: Any, query_ref: Any, k_ref: Any, v_ref: Any, bounds_ref: Any, o_ref: Any, lse_ref: Any,
    m_ref: Any, l_ref: Any, acc_ref: Any,
) -> None:  # fmt: skip
    """One step: adds a block of keys to the online softmax of a block of queries.

    ``m_ref`` and ``l_ref`` [R, queries] are the running maximum and the running sum of p, ``acc_ref`` [R, D, queries]
    the weighted values.
    """
    step = pl.program_id(1)

    @pl.when(is_first_step(steps, step))
    def _() -> None:
        m_ref[...] = jnp.full_like(m_ref, MIN_LSE)
        l_ref[...] = jnp.zeros_like(l_ref)
        acc_ref[...] = jnp.zeros_like(acc_ref)

    @pl.when(has_keys(steps, step))
    def _() -> None:
        mask, v, subtiles = _mask_bias(query_ref, bounds_ref), v_ref[...].T, _subtiles(q_ref, k_ref)
        scores: dict[int, jax.Array] = {}
        softmax: dict[int, tuple[jax.Array, jax.Array]] = {}
        # A software pipeline, whose order the compiler roughly keeps: while the vector units turn the scores of one
        # subtile into p, the matrix units work on the scores of the next subtile and the values of the previous one.
        for i in range(len(subtiles) + 2):
            if i < len(subtiles):
                tile = subtiles[i]
                s = _matmul(k_ref[tile.keys], q_ref[tile.head, tile.queries], transposed=True)
                scores[i] = s + mask[tile.keys, tile.queries]
            if i >= 2:
                tile, (p, alpha) = subtiles[i - 2], softmax.pop(i - 2)
                at = tile.head, slice(None), tile.queries
                acc_ref[at] = acc_ref[at] * alpha + _matmul(v[:, tile.keys], p.astype(v_ref.dtype))
            if 0 < i <= len(subtiles):
                tile = subtiles[i - 1]
                m = jnp.maximum(m_ref[tile.stats], scores[i - 1].max(0, keepdims=True))
                p, alpha = jnp.exp2(scores.pop(i - 1) - m), jnp.exp2(m_ref[tile.stats] - m)
                m_ref[tile.stats], l_ref[tile.stats] = m, l_ref[tile.stats] * alpha + p.sum(0, keepdims=True)
                softmax[i - 1] = p, alpha

    @pl.when(is_last_step(steps, step))
    def _() -> None:
        sees_a_key = l_ref[...] > 0
        l = jnp.where(sees_a_key, l_ref[...], 1)
        lse_ref[...] = jnp.where(sees_a_key, (m_ref[...] + jnp.log2(l)) / _LOG2E, MIN_LSE)
        for head in range(len(q_ref)):
            o_ref[head] = (acc_ref[head] / l[head : head + 1]).T.astype(o_ref.dtype)


def _backward(blocks: Blocks, saved: tuple, grads: AttentionOutput) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    def row_gradients(operands: tuple[RowOperands, jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        row, *per_query = operands
        q_spec, stats, query, kv_spec, bounds = _block_specs(row, blocks)
        _, repeat, _, size = row.q.shape
        hbm, dkv = pl.BlockSpec(memory_space=pl.ANY), jnp.zeros((2, *row.k.shape), jnp.float32)
        specs = [q_spec, query, q_spec, stats, stats, kv_spec, kv_spec, bounds, hbm], [q_spec, hbm]
        scratch = [
            pltpu.VMEM((repeat, size, blocks.queries), jnp.float32),
            pltpu.VMEM((2, 2, blocks.keys, size), jnp.float32),
            pltpu.SMEM((1,), jnp.int32),
            pltpu.SemaphoreType.DMA((2, 2)),
        ]
        kernel = functools.partial(_backward_kernel, scale=q.shape[-1] ** -0.5)
        call = _launch(kernel, row, blocks, *specs, [row.q, dkv], scratch, input_output_aliases={9: 1})
        return call(row.q, row.query, *per_query, row.k, row.v, row.bounds, dkv)

    q, k, v, spans, (out, lse) = saved
    do, dlse = grads
    # delta = Σ p·dp over the keys of a query, which is Σ do·out over D; the gradient of lse enters with it.
    delta = jnp.sum(do.astype(jnp.float32) * out.astype(jnp.float32), axis=-1) - dlse
    per_query = (_pad_to_multiple(do, 3, _LANES), lse * _LOG2E, delta)
    grouped = [_group_heads(x, k.shape[2], blocks.queries) for x in per_query]
    dq, dkv = jax.lax.map(row_gradients, (_row_operands(q, k, v, spans, blocks), *grouped))
    # The kernel's q is scaled by log2(e)/√D: dk needs the root, but not log2(e).
    dk, dv = (_ungroup_heads(dkv[:, i], k.shape) for i in range(2))
    return _ungroup_heads(dq, q.shape), (dk / _LOG2E).astype(k.dtype), dv.astype(v.dtype), None


def _backward_kernel(
    steps: Any, q_ref: Any, query_ref: Any, do_ref: Any, lse_ref: Any, delta_ref: Any, k_ref: Any, v_ref: Any,
    bounds_ref: Any, zeros: Any, dq_ref: Any, dkv_ref: Any, acc_ref: Any, buffers: Any, runs: Any, copied: Any, *,
    scale: float,
) -> None:  # fmt: skip
    """One step: adds to the gradients of a block of queries, of a block of keys and of its values.

    ``acc_ref`` [R, D, queries] accumulates dq. ``dkv_ref`` [2, G, K, D], for k and v, is in HBM: a block of it is
    fetched while the step computes what to add, and written back while the next one computes. Consecutive steps with
    the same block of keys are a run, with one fetch and one write; runs alternate between the two ``buffers``. A run
    first waits for the write of the last run but one, and the last run wrote another block: nothing is read while it is
    written. ``zeros`` is the initial value of ``dkv_ref``, in the same memory.
    """
    group, step = pl.program_id(0), pl.program_id(1)
    is_last = step == pl.num_programs(1) - 1
    kv_block, sees_keys = key_block(steps, step), has_keys(steps, step)
    opens = sees_keys & ((step == 0) | (key_block(steps, jnp.maximum(step - 1, 0)) != kv_block))
    closes = sees_keys & (is_last | (key_block(steps, step + 1) != kv_block))
    run = jnp.where(step == 0, 0, runs[0]) + opens
    runs[0] = run
    slot = run % 2
    in_hbm = dkv_ref.at[:, group, pl.ds(kv_block * len(k_ref), len(k_ref))]
    fetch = pltpu.make_async_copy(in_hbm, buffers.at[slot], copied.at[0, slot])
    write, other_write = (pltpu.make_async_copy(buffers.at[i], in_hbm, copied.at[1, i]) for i in (slot, 1 - slot))
    pl.when(opens & (run > 2))(write.wait)
    pl.when(opens)(fetch.start)

    @pl.when(is_first_step(steps, step))
    def _() -> None:
        acc_ref[...] = jnp.zeros_like(acc_ref)

    @pl.when(sees_keys)
    def _() -> None:
        mask, k = _mask_bias(query_ref, bounds_ref), k_ref[...].T
        dk, dv = jnp.zeros(k_ref.shape, jnp.float32), jnp.zeros(v_ref.shape, jnp.float32)
        for tile in _subtiles(q_ref, k_ref, block_k=len(k_ref)):
            queries, at = (tile.head, tile.queries), (tile.head, slice(None), tile.queries)
            scores = _matmul(k_ref[...], q_ref[queries], transposed=True) + mask[:, tile.queries]
            p = jnp.exp2(scores - lse_ref[tile.stats])
            dv += _matmul(p.astype(do_ref.dtype), do_ref[queries])
            ds = p * (_matmul(v_ref[...], do_ref[queries], transposed=True) - delta_ref[tile.stats])
            ds = ds.astype(q_ref.dtype)
            dk += _matmul(ds, q_ref[queries])
            acc_ref[at] += _matmul(k, ds)

        pl.when(opens)(fetch.wait)
        buffers[slot, 0] += dk
        buffers[slot, 1] += dv

    pl.when(closes)(write.start)

    @pl.when(is_last_step(steps, step))
    def _() -> None:
        for head in range(len(q_ref)):
            dq_ref[head] = (acc_ref[head] * scale).T.astype(dq_ref.dtype)

    pl.when(is_last & (run > 0))(write.wait)
    pl.when(is_last & (run > 1))(other_write.wait)


_attend.defvjp(_forward, _backward)


class Subtile(NamedTuple):
    """The part of a step that is computed at a time: some queries of one head, some keys."""

    head: int
    queries: slice
    keys: slice

    @property
    def stats(self) -> tuple[slice, slice]:
        """The index of its queries in [R, queries]."""
        return slice(self.head, self.head + 1), self.queries


def _subtiles(q: Any, k: Any, block_q: int = 256, block_k: int = 512) -> list[Subtile]:
    """Ordered by head, then by queries, then by keys."""
    cuts = [[slice(i, min(i + n, of)) for i in range(0, of, n)] for n, of in ((block_q, q.shape[1]), (block_k, len(k)))]
    return [Subtile(head, *cut) for head in range(len(q)) for cut in itertools.product(*cuts)]


def _mask_bias(query: Any, bounds: Any) -> jax.Array:
    """The mask as a bias to add to scores: 0 where a query sees a key, else ``MASK_VALUE``, float32 [keys, queries]."""
    bounds = bounds[...].T
    visible = (bounds[:, :1] <= query[...]) & (query[...] < bounds[:, 1:])
    return jnp.where(visible, 0.0, MASK_VALUE)


def _matmul(a: jax.Array, b: jax.Array, transposed: bool = False) -> jax.Array:
    """a·b, or a·bᵀ, in float32."""
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    dims = (((1,), (1 if transposed else 0,)), ((), ()))
    return jax.lax.dot_general(a, b, dims, precision=precision, preferred_element_type=jnp.float32)


# --- around the kernels


def _block_specs(row: RowOperands, blocks: Blocks) -> tuple[pl.BlockSpec, ...]:
    """The blocks that a step reads of [G, R, Q, D], [G, R, Q], [1, Q], [G, K, D] and [2, K]."""
    _, repeat, _, size = row.q.shape
    last = row.k.shape[1] // blocks.keys - 1

    def kv_block(steps: Any, step: jax.Array) -> jax.Array:
        return jnp.minimum(key_block(steps, step), last)

    return (
        pl.BlockSpec((None, repeat, blocks.queries, size), lambda g, step, steps: (g, 0, query_block(steps, step), 0)),
        pl.BlockSpec((None, repeat, blocks.queries), lambda g, step, steps: (g, 0, query_block(steps, step))),
        pl.BlockSpec((1, blocks.queries), lambda g, step, steps: (0, query_block(steps, step))),
        pl.BlockSpec((None, blocks.keys, size), lambda g, step, steps: (g, kv_block(steps, step), 0)),
        pl.BlockSpec((2, blocks.keys), lambda g, step, steps: (0, kv_block(steps, step))),
    )


def _launch(
    kernel: Callable,
    row: RowOperands,
    blocks: Blocks,
    ins: list,
    outs: list,
    shapes: list,
    scratch: list,
    **kwargs: Any,
) -> Callable:
    """``kernel`` over the groups and steps of a row."""
    steps, count = list_steps(row.query.reshape(-1, blocks.queries), *row.bounds.reshape(2, -1, blocks.keys))
    grid = pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=1, grid=(len(row.q), count), in_specs=ins, out_specs=outs, scratch_shapes=scratch
    )
    params = pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=_VMEM_LIMIT)
    call = pl.pallas_call(kernel, shapes, grid_spec=grid, compiler_params=params, interpret=blocks.interpret, **kwargs)
    return functools.partial(call, steps)


def _row_operands(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, blocks: Blocks) -> RowOperands:
    sizes, arrays = (blocks.queries, blocks.keys, blocks.keys), (scale_queries(q, _LOG2E), k, v)
    groups = k.shape[2]
    q, k, v = (_group_heads(_pad_to_multiple(x, 3, _LANES), groups, n) for x, n in zip(arrays, sizes, strict=True))
    query = _pad_to_multiple(spans.query, 1, blocks.queries, -1)[:, None]
    bounds = [_pad_to_multiple(x, 1, blocks.keys, fill) for x, fill in ((spans.start, INT32_MAX), (spans.end, 0))]
    return RowOperands(q, k[:, :, 0], v[:, :, 0], query, jnp.stack(bounds, axis=1))


def _group_heads(x: jax.Array, groups: int, block: int) -> jax.Array:
    """[B, T, H, …] to [B, G, R, T, …], padded to whole blocks."""
    x = _pad_to_multiple(x, 1, block).swapaxes(1, 2)
    return x.reshape(len(x), groups, -1, *x.shape[2:])


def _ungroup_heads(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The inverse of ``_group_heads``, to ``shape`` [B, T, H, D]."""
    rows, tokens, heads, size = shape
    return x.reshape(rows, heads, -1, x.shape[-1])[:, :, :tokens, :size].transpose(0, 2, 1, 3)


def _pad_to_multiple(x: jax.Array, axis: int, block: int, fill: int = 0) -> jax.Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, _round_up(x.shape[axis], block) - x.shape[axis])
    return jnp.pad(x, widths, constant_values=fill)


def _round_up(length: int, block: int) -> int:
    """The tokens in whole blocks, at least one of them."""
    return max(-(-length // block), 1) * block
