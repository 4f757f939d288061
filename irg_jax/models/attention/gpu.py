"""Attention by spans as Pallas kernels for NVIDIA GPUs, through Triton.

FlashAttention-2 (arXiv 2307.08691), forward and backward, with block sparsity. One program owns a block of queries (for
the output, and for dq) or a block of keys (for dk and dv) of one head, and loops over the blocks of the other side that
share a visible pair with it. They are listed before the kernel runs: blocks that no query sees are neither computed nor
read, and full blocks, where every query sees every key, which are most of them inside images, need no mask.
"""

# ruff: noqa: E741 (l is FlashAttention's name)

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from irg_jax.models.attention.spans import INT32_MAX, MASK_VALUE, MIN_LSE, SAVED, AttentionOutput, Spans, visible_blocks

_LOG2E = math.log2(math.e)

# A block of one head, [tokens, D], as one array for each of the powers of two that D is the sum of.
Chunks = tuple[jax.Array, ...]
Ref = Any  # an array in the memory of the GPU
Shapes = tuple[jax.ShapeDtypeStruct, ...]


@dataclasses.dataclass(frozen=True)
class Tile:
    """Block sizes and launch parameters of one kernel.

    Attributes:
      block_q: queries in a block; a power of two, at least 16.
      block_k: keys in a block; likewise.
      num_warps: warps of 32 threads per program.
      num_stages: depth of the software pipeline: blocks whose loads are in flight.
    """

    block_q: int
    block_k: int
    num_warps: int
    num_stages: int


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The ``Tile`` of each kernel.

    Attributes:
      out: of the forward kernel: output and log-sum-exp.
      dq: of the gradient of q.
      dkv: of the gradients of k and v.
    """

    out: Tile
    dq: Tile
    dkv: Tile


# For D = 128. In bfloat16 small blocks with few warps won on an H100 (docs/speed.md): two programs share a
# multiprocessor, and more blocks are empty or full. Float32, which is there to be exact, does not use tensor cores and
# soon runs out of registers.
_BF16_TILE = Tile(64, 64, 4, 2)
BF16_TILES = Tiles(out=_BF16_TILE, dq=_BF16_TILE, dkv=_BF16_TILE)
FP32_TILES = Tiles(out=Tile(32, 32, 8, 2), dq=Tile(32, 32, 8, 2), dkv=Tile(32, 32, 8, 2))


class BlockSchedule(NamedTuple):
    """The block that each program owns (outer), and the blocks of the other side that it loops over (inner).

    Attributes:
      outer: int32 [B, blocks]; those with the most inner blocks come first, so that no long program starts last.
      partial: how many inner blocks need a mask, int32 [B, blocks].
      total: how many inner blocks there are, int32 [B, blocks].
      inner: partial blocks first, then full ones, int32 [B, blocks, inner blocks + 1]; the last one is never computed,
        it lets a program read one index ahead.
    """

    outer: jax.Array
    partial: jax.Array
    total: jax.Array
    inner: jax.Array


def attend(
    q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, *, tiles: Tiles | None = None, interpret: bool = False
) -> AttentionOutput:
    """See ``attention.Backend``. ``out`` has the dtype of ``q``.

    Memory beyond arguments and results is O(Q + K) and an integer for each pair of blocks.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D].
      v: [B, K, G, D].
      spans: visibility of ``k``.
      tiles: block sizes; by default ``BF16_TILES``, or ``FP32_TILES`` for float32.
      interpret: run in Pallas' interpreter, for tests: on any platform, slowly.
    """
    if not q.size or not k.size:
        return AttentionOutput(jnp.zeros_like(q), jnp.full(q.shape[:3], MIN_LSE, jnp.float32))
    return _attend(q, k, v, spans, tiles or (FP32_TILES if q.dtype == jnp.float32 else BF16_TILES), interpret)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _attend(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, tiles: Tiles, interpret: bool) -> AttentionOutput:
    return _forward(q, k, v, spans, tiles, interpret)[0]


def _forward(
    q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, tiles: Tiles, interpret: bool
) -> tuple[AttentionOutput, tuple]:
    tile = _clip_tile(tiles.out, q, k)
    blocked = _block_spans(spans, tile)
    rows, blocks = blocked.query.shape[:2]
    outputs = *_shapes(q), jax.ShapeDtypeStruct((rows, blocks, q.shape[2], tile.block_q), jnp.float32)
    out, lse = _launch(_forward_kernel, _schedule(_block_mask(blocked)), blocked, (q, k, v), outputs, tile, interpret)
    output = checkpoint_name(AttentionOutput(out, _unblock(lse, q.shape[1])), SAVED)
    return output, (q, k, v, spans, output)


def _backward(
    tiles: Tiles, interpret: bool, saved: tuple, grads: AttentionOutput
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    q, k, v, spans, (out, lse) = saved
    # delta = Σ p·dp over the keys of a query, which is Σ do·out over D; the gradient of lse enters with it.
    delta = jnp.sum(grads.out.astype(jnp.float32) * out.astype(jnp.float32), axis=-1) - grads.lse

    def operands(tile: Tile) -> tuple[jax.Array, ...]:
        return q, k, v, grads.out, *(_blocks(x, tile.block_q, 0) for x in (delta, lse * _LOG2E))

    tile = _clip_tile(tiles.dq, q, k)
    blocked = _block_spans(spans, tile)
    (dq,) = _launch(_dq_kernel, _schedule(_block_mask(blocked)), blocked, operands(tile), _shapes(q), tile, interpret)
    tile = _clip_tile(tiles.dkv, q, k)
    blocked = _block_spans(spans, tile)
    schedule = _schedule(_block_mask(blocked).swapaxes(1, 2))
    dk, dv = _launch(_dkv_kernel, schedule, blocked, operands(tile), _shapes(k, v), tile, interpret)
    return dq, dk, dv, None


_attend.defvjp(_forward, _backward)


# --- kernels: refs are [tokens or blocks, heads, D or block], of one row and the heads of the program


def _forward_kernel(
    schedule: BlockSchedule, spans: Spans, refs: tuple[Ref, ...], o_ref: Ref, lse_ref: Ref, *, size: int, exp2: Callable
) -> None:
    q_ref, k_ref, v_ref = refs
    q_block, block_k, scale = schedule.outer[...], spans.start.shape[-1], size**-0.5 * _LOG2E
    query = spans.query[q_block, 0]
    q = _load(q_ref, q_block, len(query), size)

    def online_softmax(masked: bool, kv_block: jax.Array, _: jax.Array, carry: tuple) -> tuple:
        m, l, acc = carry
        k, v = (_load(ref, kv_block, block_k, size) for ref in (k_ref, v_ref))
        scores = _dot_chunks(q, k)
        if masked:
            visible = _visible(query[:, None], spans.start[kv_block, 0], spans.end[kv_block, 0])
            scores = jnp.where(visible, scores, MASK_VALUE)
        m_new = jnp.maximum(m, scores.max(axis=1) * scale)
        p, alpha = exp2(scores * scale - m_new[:, None]), exp2(m - m_new)
        l = l * alpha + p.sum(axis=1)
        return m_new, l, _add_dots([x * alpha[:, None] for x in acc], p.astype(v_ref.dtype), v)

    zero = jnp.zeros(len(query), jnp.float32)
    m, l, acc = _loop_over_blocks(schedule, 1, online_softmax, (zero + MIN_LSE, zero, _zeros(q)))
    sees_a_key = l > 0
    l = jnp.where(sees_a_key, l, 1)
    _store(o_ref, q_block, [x / l[:, None] for x in acc], size)
    lse_ref[q_block, 0] = jnp.where(sees_a_key, m / _LOG2E + jnp.log(l), MIN_LSE)


def _dq_kernel(
    schedule: BlockSchedule, spans: Spans, refs: tuple[Ref, ...], dq_ref: Ref, *, size: int, exp2: Callable
) -> None:
    q_ref, k_ref, v_ref, do_ref, delta_ref, lse_ref = refs
    q_block, block_k, scale = schedule.outer[...], spans.start.shape[-1], size**-0.5 * _LOG2E
    query = spans.query[q_block, 0]
    q, do = (_load(ref, q_block, len(query), size) for ref in (q_ref, do_ref))
    delta, lse = (ref[q_block, 0][:, None] for ref in (delta_ref, lse_ref))

    def accumulate(masked: bool, kv_block: jax.Array, _: jax.Array, dq: Chunks) -> Chunks:
        k, v = (_load(ref, kv_block, block_k, size) for ref in (k_ref, v_ref))
        scores = _dot_chunks(q, k)
        if masked:
            visible = _visible(query[:, None], spans.start[kv_block, 0], spans.end[kv_block, 0])
            scores = jnp.where(visible, scores, MASK_VALUE)
        p = exp2(scores * scale - lse)
        ds = p * (_dot_chunks(do, v) - delta)
        return _add_dots(dq, ds.astype(k_ref.dtype), k)

    dq = _loop_over_blocks(schedule, 1, accumulate, _zeros(q))
    _store(dq_ref, q_block, [x * size**-0.5 for x in dq], size)


def _dkv_kernel(
    schedule: BlockSchedule, spans: Spans, refs: tuple[Ref, ...], dk_ref: Ref, dv_ref: Ref, *, size: int, exp2: Callable
) -> None:
    """Scores are [keys, queries] here, so that p needs no transpose for the matmuls that sum over queries."""
    q_ref, k_ref, v_ref, do_ref, delta_ref, lse_ref = refs
    kv_block, block_q, scale = schedule.outer[...], spans.query.shape[-1], size**-0.5 * _LOG2E
    start, end = (x[kv_block, 0][:, None] for x in (spans.start, spans.end))
    k, v = (_load(ref, kv_block, len(start), size) for ref in (k_ref, v_ref))

    def accumulate(masked: bool, q_block: jax.Array, head: jax.Array, dkv: tuple[Chunks, Chunks]) -> tuple:
        q, do = (_load(ref, q_block, block_q, size, head) for ref in (q_ref, do_ref))
        scores = _dot_chunks(k, q)
        if masked:
            scores = jnp.where(_visible(spans.query[q_block, 0], start, end), scores, MASK_VALUE)
        p = exp2(scores * scale - lse_ref[q_block, head])
        dv = _add_dots(dkv[1], p.astype(do_ref.dtype), do)
        ds = p * (_dot_chunks(v, do) - delta_ref[q_block, head])
        return _add_dots(dkv[0], ds.astype(q_ref.dtype), q), dv

    dk, dv = _loop_over_blocks(schedule, q_ref.shape[1], accumulate, (_zeros(k), _zeros(v)))
    _store(dk_ref, kv_block, [x * size**-0.5 for x in dk], size)
    _store(dv_ref, kv_block, dv, size)


def _loop_over_blocks(schedule: Any, heads: int, body: Callable, carry: Any) -> Any:
    """``carry`` after body(masked, inner block, head, carry) for every inner block, ``heads`` times each."""

    def step(masked: bool, i: jax.Array, state: tuple) -> tuple:
        block, carry = state
        # Read one step ahead, so that loads need not wait for their address.
        next_block = schedule.inner[jax.lax.div(i + 1, heads)]
        return next_block, body(masked, block, jax.lax.rem(i, heads), carry)

    partial, total = schedule.partial[...] * heads, schedule.total[...] * heads
    state = jax.lax.fori_loop(0, partial, functools.partial(step, True), (schedule.inner[0], carry))
    return jax.lax.fori_loop(partial, total, functools.partial(step, False), state)[1]


def _visible(query: jax.Array, start: jax.Array, end: jax.Array) -> jax.Array:
    return (start <= query) & (query < end)


def _exp2(x: jax.Array) -> jax.Array:
    """2^x in one instruction; ``jnp.exp2`` takes three more, for results below 1e-38."""
    asm, like = "ex2.approx.ftz.f32 $0, $1;", jax.ShapeDtypeStruct(x.shape, x.dtype)
    return triton.elementwise_inline_asm(asm, args=[x], constraints="=f,f", pack=1, result_shape_dtypes=[like])[0]


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    # The default for float32 is TF32, with a mantissa of ten bits; bfloat16 takes no precision.
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jax.lax.dot(a, b, precision=precision, preferred_element_type=jnp.float32)


def _dot_chunks(a: Chunks, b: Chunks) -> jax.Array:
    """a·bᵀ over all of D."""
    return functools.reduce(operator.add, (_dot(x, y.T) for x, y in zip(a, b, strict=True)))


def _add_dots(acc: Iterable[jax.Array], a: jax.Array, b: Chunks) -> Chunks:
    """``acc`` + a·b."""
    return tuple(x + _dot(a, y) for x, y in zip(acc, b, strict=True))


def _zeros(chunks: Chunks) -> Chunks:
    return tuple(jnp.zeros(x.shape, jnp.float32) for x in chunks)


def _chunk_bounds(size: int) -> list[tuple[int, int]]:
    """(first, width) of each of the powers of two that ``size`` is the sum of: Triton's arrays have no other widths.

    The last one is at least 16 wide, which matmuls need, and may reach past the end.
    """
    bounds, first = [], 0
    while first < size:
        width = 1 << ((_round_up(size) - first).bit_length() - 1)
        bounds.append((first, width))
        first += width
    return bounds


def _round_up(size: int) -> int:
    return -(-size // 16) * 16


def _valid(ref: Ref, block: jax.Array, rows: int, first: int, width: int, size: int) -> jax.Array | None:
    """Which of [rows, width] exist, None for all: blocks may reach past the end of the row, chunks past that of D."""
    masks = []
    if ref.shape[0] % rows:
        masks.append((block * rows + jnp.arange(rows))[:, None] < ref.shape[0])
    if first + width > size:
        masks.append((first + jnp.arange(width))[None] < size)
    return functools.reduce(operator.and_, (jnp.broadcast_to(x, (rows, width)) for x in masks)) if masks else None


def _load(ref: Ref, block: jax.Array, rows: int, size: int, head: jax.Array | int = 0) -> Chunks:
    def load_chunk(first: int, width: int) -> jax.Array:
        mask = _valid(ref, block, rows, first, width, size)
        part = ref.at[pl.ds(block * rows, rows), jnp.int32(head), pl.ds(first, width)]
        return triton.load(part, mask=mask, other=None if mask is None else 0.0)

    return tuple(load_chunk(*x) for x in _chunk_bounds(size))


def _store(ref: Ref, block: jax.Array, chunks: Iterable[jax.Array], size: int) -> None:
    for (first, width), x in zip(_chunk_bounds(size), chunks, strict=True):
        part = ref.at[pl.ds(block * len(x), len(x)), jnp.int32(0), pl.ds(first, width)]
        triton.store(part, x.astype(ref.dtype), mask=_valid(ref, block, len(x), first, width, size))


# --- around the kernels


# Jitted for the sake of remat, which can drop a jitted function whose results are not needed, but not a bare kernel.
@functools.partial(jax.jit, static_argnames=("kernel", "outputs", "tile", "interpret"))
def _launch(
    kernel: Callable, schedule: BlockSchedule, blocked: Spans, operands: tuple, outputs: Shapes, tile: Tile,
    interpret: bool,
) -> tuple[jax.Array, ...]:  # fmt: skip
    """The outputs of ``kernel``, which runs one program per head of the output, block and row.

    Arrays are [B, tokens or blocks, heads, D or block]: ``operands``, the first of which is q, and ``blocked`` (see
    ``_block_spans``). A program gets the whole row of each, and of its heads those that belong to the program's own, or
    the one that the program's own shares with others.
    """
    heads = outputs[0].shape[2]

    def row_spec(x: jax.Array | jax.ShapeDtypeStruct) -> pl.BlockSpec:
        own, shared = max(x.shape[2] // heads, 1), max(heads // x.shape[2], 1)
        block = (None, x.shape[1], own, _round_up(x.shape[3]))
        return pl.BlockSpec(block, lambda head, i, row: (row, 0, jax.lax.div(head, shared), 0))

    def schedule_spec(x: jax.Array) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, *x.shape[2:]), lambda head, i, row: (row, i, *[0] * (x.ndim - 2)))

    return pl.pallas_call(
        functools.partial(kernel, size=operands[0].shape[3], exp2=jnp.exp2 if interpret else _exp2),
        out_shape=outputs,
        grid=(heads, *schedule.outer.shape[::-1]),
        in_specs=(jax.tree.map(schedule_spec, schedule), *jax.tree.map(row_spec, (blocked, operands))),
        out_specs=tuple(map(row_spec, outputs)),
        compiler_params=triton.CompilerParams(num_warps=tile.num_warps, num_stages=tile.num_stages),
        interpret=interpret,
        name="attention" + kernel.__name__.removesuffix("_kernel"),
    )(schedule, blocked, operands)


_PARTIAL, _FULL, _EMPTY = range(3)


def _block_mask(blocked: Spans) -> jax.Array:
    """_PARTIAL, _FULL or _EMPTY for each pair of blocks, [B, query blocks, key blocks]."""
    query, start, end = (x[:, :, 0] for x in blocked)
    index, count = jax.vmap(jax.vmap(visible_blocks, (0, None, None)))(query, start, end)
    visible = jnp.argsort(index, axis=-1) < count[..., None]  # argsort gives the rank of each block in the list
    first, last = query.min(axis=2)[:, :, None], query.max(axis=2)[:, :, None]
    full = (start.max(axis=2)[:, None] <= first) & (last < end.min(axis=2)[:, None])
    return jnp.where(visible, jnp.where(full, _FULL, _PARTIAL), _EMPTY)


def _schedule(mask: jax.Array) -> BlockSchedule:
    """From a block mask [B, outer blocks, inner blocks]."""
    partial, total = jnp.sum(mask == _PARTIAL, axis=2), jnp.sum(mask != _EMPTY, axis=2)
    outer = jnp.argsort(-total, axis=1)
    inner = jnp.pad(jnp.argsort(mask, axis=2), ((0, 0), (0, 0), (0, 1)))
    partial, total = (jnp.take_along_axis(x, outer, axis=1) for x in (partial, total))
    inner = jnp.take_along_axis(inner, outer[:, :, None], axis=1)
    return BlockSchedule(*(x.astype(jnp.int32) for x in (outer, partial, total, inner)))


def _shapes(*arrays: jax.Array) -> Shapes:
    return tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays)


def _clip_tile(tile: Tile, q: jax.Array, k: jax.Array) -> Tile:
    """The tile with blocks no larger than the arrays need, as for decoding a single token."""
    block_q, block_k = (max(pl.next_power_of_2(x.shape[1]), 16) for x in (q, k))
    return dataclasses.replace(tile, block_q=min(tile.block_q, block_q), block_k=min(tile.block_k, block_k))


def _block_spans(spans: Spans, tile: Tile) -> Spans:
    """[B, blocks, 1, block] each; padding sees nothing and is not seen."""
    query, start, end = (x[:, :, None] for x in spans)
    query = _blocks(query, tile.block_q, -1)
    return Spans(query, _blocks(start, tile.block_k, INT32_MAX), _blocks(end, tile.block_k, 0))


def _blocks(x: jax.Array, block: int, fill: int) -> jax.Array:
    """[B, T, H] to [B, blocks, H, block], the last block padded with ``fill``."""
    x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % block), (0, 0)), constant_values=fill)
    return x.reshape(len(x), -1, block, x.shape[2]).swapaxes(2, 3)


def _unblock(x: jax.Array, length: int) -> jax.Array:
    """The inverse of ``_blocks``, to ``length`` tokens."""
    return x.swapaxes(2, 3).reshape(len(x), -1, x.shape[2])[:, :length]
