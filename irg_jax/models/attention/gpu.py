"""Attention by spans as Pallas kernels for NVIDIA GPUs, through Triton.

One program owns a block of queries (for the output and the gradient of q) or a block of keys (for the gradients of k
and v) of one head, and walks those blocks of the other side that it has anything to do with. They are listed ahead of
the kernel: what nobody sees is neither computed nor read, and where every query of a block sees every key, which inside
images is nearly everywhere, no mask is computed. Forward and backward follow FlashAttention-2 (arXiv 2307.08691).
"""

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

from irg_jax.models.attention.spans import HIDDEN, LOWEST, SAVED, Attended, Spans, visits

_FAR = jnp.iinfo(jnp.int32).max
_LOG2E = math.log2(math.e)

# A block of one head, [tokens, D], as one array for each of the powers of two that D is the sum of.
Pieces = tuple[jax.Array, ...]

Ref = Any  # an array in the memory of the GPU
Shapes = tuple[jax.ShapeDtypeStruct, ...]


@dataclasses.dataclass(frozen=True)
class Tile:
    """How one kernel is cut.

    Attributes:
      queries: in a block; a power of two, at least 16.
      keys: likewise.
      warps: of 32 threads each, that a program has.
      stages: blocks that are on their way at a time.
    """

    queries: int
    keys: int
    warps: int
    stages: int


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The ``Tile`` of each kernel.

    Attributes:
      out: of the output and the log-sum-exp.
      q_grad: of the gradient of q.
      kv_grad: of the gradients of k and v.
    """

    out: Tile
    q_grad: Tile
    kv_grad: Tile


# For D = 128. In bfloat16 a program fills a multiprocessor: nearly all registers, with hardly a spill, and up to 162 of
# the 163 KB of shared memory that an A100 has (H100: 227). Triton needs three stages before it loads and works at the
# same time. Float32, which is there to be exact, does without tensor cores and soon runs out of registers.
HALF = Tiles(out=Tile(128, 64, 8, 3), q_grad=Tile(128, 64, 8, 3), kv_grad=Tile(64, 128, 8, 3))
FLOAT = Tiles(out=Tile(32, 32, 8, 2), q_grad=Tile(32, 32, 8, 2), kv_grad=Tile(32, 32, 8, 2))


class Walk(NamedTuple):
    """The block of each program and the ones it visits: first those where some pair is hidden, then all others.

    Attributes:
      block: int32 [B, blocks]. Those with the most to visit come first, lest one of them be left for the end.
      partial: how many of its visits need a mask, int32 [B, blocks].
      total: how many visits it makes, int32 [B, blocks].
      others: what it visits, int32 [B, blocks, other blocks + 1]; the last one only so that a program may look ahead.
    """

    block: jax.Array
    partial: jax.Array
    total: jax.Array
    others: jax.Array


def attend(
    q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, *, tiles: Tiles | None = None, interpret: bool = False
) -> Attended:
    """See ``attention.Backend``. ``out`` has the dtype of ``q``.

    Memory beyond arguments and results is O(Q + K) and an integer for each pair of blocks.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D].
      v: [B, K, G, D].
      spans: visibility of ``k``.
      tiles: sizes of the blocks; by default ``HALF``, or ``FLOAT`` for float32.
      interpret: run anywhere, slowly, for tests.
    """
    if not q.size or not k.size:
        return Attended(jnp.zeros_like(q), jnp.full(q.shape[:3], LOWEST, jnp.float32))
    return _attend(q, k, v, spans, tiles or (FLOAT if q.dtype == jnp.float32 else HALF), interpret)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _attend(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, tiles: Tiles, interpret: bool) -> Attended:
    return _forward(q, k, v, spans, tiles, interpret)[0]


def _forward(
    q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, tiles: Tiles, interpret: bool
) -> tuple[Attended, tuple]:
    tile = _fitted(tiles.out, q, k)
    cut = _cut_spans(spans, tile)
    rows, blocks = cut.query.shape[:2]
    outputs = *_shapes(q), jax.ShapeDtypeStruct((rows, blocks, q.shape[2], tile.queries), jnp.float32)
    out, lse = _launch(_attend_block, _walk(_pairs(cut)), cut, (q, k, v), outputs, tile, interpret)
    attended = checkpoint_name(Attended(out, _joined(lse, q.shape[1])), SAVED)
    return attended, (q, k, v, spans, attended)


def _backward(
    tiles: Tiles, interpret: bool, saved: tuple, grads: Attended
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    q, k, v, spans, (out, lse) = saved
    # Σ weight · ∂weight over a query's keys, known before any of them is met.
    common = jnp.sum(grads.out.astype(jnp.float32) * out.astype(jnp.float32), axis=-1) - grads.lse

    def given(tile: Tile) -> tuple[jax.Array, ...]:
        return q, k, v, grads.out, *(_cut(x, tile.queries, 0) for x in (common, lse * _LOG2E))

    tile = _fitted(tiles.q_grad, q, k)
    cut = _cut_spans(spans, tile)
    (q_grad,) = _launch(_q_grad_block, _walk(_pairs(cut)), cut, given(tile), _shapes(q), tile, interpret)
    tile = _fitted(tiles.kv_grad, q, k)
    cut = _cut_spans(spans, tile)
    walk = _walk(_pairs(cut).swapaxes(1, 2))
    k_grad, v_grad = _launch(_kv_grad_block, walk, cut, given(tile), _shapes(k, v), tile, interpret)
    return q_grad, k_grad, v_grad, None


_attend.defvjp(_forward, _backward)


# --- kernels: each of their arrays is [tokens or blocks, heads, D or block], of one row and the heads of the program


def _attend_block(
    walk: Walk, spans: Spans, given: tuple[Ref, ...], out: Ref, lse: Ref, *, size: int, exp2: Callable
) -> None:
    q, k, v = given
    block, keys, scale = walk.block[...], spans.start.shape[-1], size**-0.5 * _LOG2E
    positions = spans.query[block, 0]
    q_block = _load(q, block, len(positions), size)

    def visit(masked: bool, other: jax.Array, _: jax.Array, carry: tuple) -> tuple:
        top, total, sums = carry
        k_block, v_block = (_load(x, other, keys, size) for x in (k, v))
        scores = _dot_pieces(q_block, k_block)
        if masked:
            visible = _visible(positions[:, None], spans.start[other, 0], spans.end[other, 0])
            scores = jnp.where(visible, scores, HIDDEN)
        highest = jnp.maximum(top, scores.max(axis=1) * scale)
        weights, shrink = exp2(scores * scale - highest[:, None]), exp2(top - highest)
        total = total * shrink + weights.sum(axis=1)
        return highest, total, _add_dots([x * shrink[:, None] for x in sums], weights.astype(v.dtype), v_block)

    zero = jnp.zeros(len(positions), jnp.float32)
    top, total, sums = _visit_all(walk, 1, visit, (zero + LOWEST, zero, _zeros(q_block)))
    seeing = total > 0
    total = jnp.where(seeing, total, 1)
    _store(out, block, [x / total[:, None] for x in sums], size)
    lse[block, 0] = jnp.where(seeing, top / _LOG2E + jnp.log(total), LOWEST)


def _q_grad_block(walk: Walk, spans: Spans, given: tuple[Ref, ...], q_grad: Ref, *, size: int, exp2: Callable) -> None:
    q, k, v, grad, common, lse = given
    block, keys, scale = walk.block[...], spans.start.shape[-1], size**-0.5 * _LOG2E
    positions = spans.query[block, 0]
    q_block, grad_block = (_load(x, block, len(positions), size) for x in (q, grad))
    block_common, block_lse = (x[block, 0][:, None] for x in (common, lse))

    def visit(masked: bool, other: jax.Array, _: jax.Array, sums: Pieces) -> Pieces:
        k_block, v_block = (_load(x, other, keys, size) for x in (k, v))
        scores = _dot_pieces(q_block, k_block)
        if masked:
            visible = _visible(positions[:, None], spans.start[other, 0], spans.end[other, 0])
            scores = jnp.where(visible, scores, HIDDEN)
        weights = exp2(scores * scale - block_lse)
        score_grad = weights * (_dot_pieces(grad_block, v_block) - block_common)
        return _add_dots(sums, score_grad.astype(k.dtype), k_block)

    sums = _visit_all(walk, 1, visit, _zeros(q_block))
    _store(q_grad, block, [x * size**-0.5 for x in sums], size)


def _kv_grad_block(
    walk: Walk, spans: Spans, given: tuple[Ref, ...], k_grad: Ref, v_grad: Ref, *, size: int, exp2: Callable
) -> None:
    """Scores are [keys, queries] here, so that the weights need not be turned for the matmuls that sum over queries."""
    q, k, v, grad, common, lse = given
    block, queries, scale = walk.block[...], spans.query.shape[-1], size**-0.5 * _LOG2E
    start, end = (x[block, 0][:, None] for x in (spans.start, spans.end))
    k_block, v_block = (_load(x, block, len(start), size) for x in (k, v))

    def visit(masked: bool, other: jax.Array, head: jax.Array, sums: tuple[Pieces, Pieces]) -> tuple[Pieces, Pieces]:
        q_block, grad_block = (_load(x, other, queries, size, head) for x in (q, grad))
        scores = _dot_pieces(k_block, q_block)
        if masked:
            scores = jnp.where(_visible(spans.query[other, 0], start, end), scores, HIDDEN)
        weights = exp2(scores * scale - lse[other, head])
        v_sums = _add_dots(sums[1], weights.astype(grad.dtype), grad_block)
        score_grad = weights * (_dot_pieces(v_block, grad_block) - common[other, head])
        return _add_dots(sums[0], score_grad.astype(q.dtype), q_block), v_sums

    k_sums, v_sums = _visit_all(walk, q.shape[1], visit, (_zeros(k_block), _zeros(v_block)))
    _store(k_grad, block, [x * size**-0.5 for x in k_sums], size)
    _store(v_grad, block, v_sums, size)


def _visit_all(walk: Any, heads: int, visit: Callable, carry: Any) -> Any:
    """``carry`` after visit(masked, other block, head, carry) for every block on the list, ``heads`` times each."""

    def step(masked: bool, i: jax.Array, state: tuple) -> tuple:
        other, carry = state
        # Read one step ahead, so that loads need not wait for their address.
        following = walk.others[jax.lax.div(i + 1, heads)]
        return following, visit(masked, other, jax.lax.rem(i, heads), carry)

    partial, total = walk.partial[...] * heads, walk.total[...] * heads
    state = jax.lax.fori_loop(0, partial, functools.partial(step, True), (walk.others[0], carry))
    return jax.lax.fori_loop(partial, total, functools.partial(step, False), state)[1]


def _visible(query: jax.Array, start: jax.Array, end: jax.Array) -> jax.Array:
    return (start <= query) & (query < end)


def _exp2(x: jax.Array) -> jax.Array:
    """2^x by the instruction that there is for it; ``jnp.exp2`` takes three more, for results below 1e-38."""
    asm, like = "ex2.approx.ftz.f32 $0, $1;", jax.ShapeDtypeStruct(x.shape, x.dtype)
    return triton.elementwise_inline_asm(asm, args=[x], constraints="=f,f", pack=1, result_shape_dtypes=[like])[0]


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    # The default for float32 is TF32, of ten bits. For bfloat16 there is but one way.
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jax.lax.dot(a, b, precision=precision, preferred_element_type=jnp.float32)


def _dot_pieces(a: Pieces, b: Pieces) -> jax.Array:
    """a·bᵀ over all of D."""
    return functools.reduce(operator.add, (_dot(x, y.T) for x, y in zip(a, b, strict=True)))


def _add_dots(sums: Iterable[jax.Array], a: jax.Array, b: Pieces) -> Pieces:
    """``sums`` + a·b."""
    return tuple(x + _dot(a, y) for x, y in zip(sums, b, strict=True))


def _zeros(pieces: Pieces) -> Pieces:
    return tuple(jnp.zeros(x.shape, jnp.float32) for x in pieces)


def _pieces(size: int) -> list[tuple[int, int]]:
    """Where each of the powers of two that ``size`` is the sum of begins, and what it is: Triton has no other arrays.

    The last one, which for the sake of matmuls is at least 16, may reach past the end.
    """
    pieces, first = [], 0
    while first < size:
        width = 1 << ((_whole(size) - first).bit_length() - 1)
        pieces.append((first, width))
        first += width
    return pieces


def _whole(size: int) -> int:
    return -(-size // 16) * 16


def _inside(ref: Ref, block: jax.Array, rows: int, first: int, width: int, size: int) -> jax.Array | None:
    """Which of [rows, width] are there, if not all: blocks may reach past the end of the row, pieces past that of D."""
    parts = []
    if ref.shape[0] % rows:
        parts.append((block * rows + jnp.arange(rows))[:, None] < ref.shape[0])
    if first + width > size:
        parts.append((first + jnp.arange(width))[None] < size)
    return functools.reduce(operator.and_, (jnp.broadcast_to(x, (rows, width)) for x in parts)) if parts else None


def _load(ref: Ref, block: jax.Array, rows: int, size: int, head: jax.Array | int = 0) -> Pieces:
    def piece(first: int, width: int) -> jax.Array:
        mask = _inside(ref, block, rows, first, width, size)
        here = ref.at[pl.ds(block * rows, rows), jnp.int32(head), pl.ds(first, width)]
        return triton.load(here, mask=mask, other=None if mask is None else 0.0)

    return tuple(piece(*x) for x in _pieces(size))


def _store(ref: Ref, block: jax.Array, pieces: Iterable[jax.Array], size: int) -> None:
    for (first, width), x in zip(_pieces(size), pieces, strict=True):
        here = ref.at[pl.ds(block * len(x), len(x)), jnp.int32(0), pl.ds(first, width)]
        triton.store(here, x.astype(ref.dtype), mask=_inside(ref, block, len(x), first, width, size))


# --- around the kernels


# A function of its own for the sake of remat, which drops one whose results it need not have, but no bare kernel.
@functools.partial(jax.jit, static_argnames=("kernel", "outputs", "tile", "interpret"))
def _launch(
    kernel: Callable, walk: Walk, cut: Spans, given: tuple, outputs: Shapes, tile: Tile, interpret: bool
) -> tuple[jax.Array, ...]:
    """What ``kernel`` makes of arrays, the first being q: a program for each head of the output, block and row.

    Arrays are [B, tokens or blocks, heads, D or block], ``cut`` (see ``_cut_spans``) among them. A program is given all
    of a row, and of the heads those that belong to its own, or the one that its own shares with others.
    """
    heads = outputs[0].shape[2]

    def spec(x: jax.Array | jax.ShapeDtypeStruct) -> pl.BlockSpec:
        many, shared = max(x.shape[2] // heads, 1), max(heads // x.shape[2], 1)
        block = (None, x.shape[1], many, _whole(x.shape[3]))
        return pl.BlockSpec(block, lambda head, i, row: (row, 0, jax.lax.div(head, shared), 0))

    def walk_spec(x: jax.Array) -> pl.BlockSpec:
        return pl.BlockSpec((None, None, *x.shape[2:]), lambda head, i, row: (row, i, *[0] * (x.ndim - 2)))

    return pl.pallas_call(
        functools.partial(kernel, size=given[0].shape[3], exp2=jnp.exp2 if interpret else _exp2),
        out_shape=outputs,
        grid=(heads, *walk.block.shape[::-1]),
        in_specs=(jax.tree.map(walk_spec, walk), *jax.tree.map(spec, (cut, given))),
        out_specs=tuple(map(spec, outputs)),
        compiler_params=triton.CompilerParams(num_warps=tile.warps, num_stages=tile.stages),
        interpret=interpret,
        name=kernel.__name__.strip("_"),
    )(walk, cut, given)


_PARTIAL, _FULL, _HIDDEN = range(3)


def _pairs(cut: Spans) -> jax.Array:
    """How much queries see of keys, one of the above, [B, query blocks, key blocks]."""
    query, start, end = (x[:, :, 0] for x in cut)
    index, count = jax.vmap(jax.vmap(visits, (0, None, None)))(query, start, end)
    needed = jnp.argsort(index, axis=-1) < count[..., None]  # the place of each block on the list
    first, last = query.min(axis=2)[:, :, None], query.max(axis=2)[:, :, None]
    full = (start.max(axis=2)[:, None] <= first) & (last < end.min(axis=2)[:, None])
    return jnp.where(needed, jnp.where(full, _FULL, _PARTIAL), _HIDDEN)


def _walk(pairs: jax.Array) -> Walk:
    """From [B, own blocks, other blocks]."""
    partial, total = jnp.sum(pairs == _PARTIAL, axis=2), jnp.sum(pairs != _HIDDEN, axis=2)
    block = jnp.argsort(-total, axis=1)
    others = jnp.pad(jnp.argsort(pairs, axis=2), ((0, 0), (0, 0), (0, 1)))
    partial, total = (jnp.take_along_axis(x, block, axis=1) for x in (partial, total))
    walk = Walk(block, partial, total, jnp.take_along_axis(others, block[:, :, None], axis=1))
    return jax.tree.map(lambda x: x.astype(jnp.int32), walk)


def _shapes(*arrays: jax.Array) -> Shapes:
    return tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays)


def _fitted(tile: Tile, q: jax.Array, k: jax.Array) -> Tile:
    """With blocks no larger than need be, as where a single token is decoded."""
    queries, keys = (max(pl.next_power_of_2(x.shape[1]), 16) for x in (q, k))
    return dataclasses.replace(tile, queries=min(tile.queries, queries), keys=min(tile.keys, keys))


def _cut_spans(spans: Spans, tile: Tile) -> Spans:
    """[B, blocks, 1, block] each; where there is no token nothing is seen."""
    query, start, end = (x[:, :, None] for x in spans)
    return Spans(_cut(query, tile.queries, -1), _cut(start, tile.keys, _FAR), _cut(end, tile.keys, 0))


def _cut(x: jax.Array, block: int, fill: int) -> jax.Array:
    """[B, T, H] to [B, blocks, H, block], the last block filled up."""
    x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % block), (0, 0)), constant_values=fill)
    return x.reshape(len(x), -1, block, x.shape[2]).swapaxes(2, 3)


def _joined(x: jax.Array, length: int) -> jax.Array:
    """The way back from ``_cut``."""
    return x.swapaxes(2, 3).reshape(len(x), -1, x.shape[2])[:, :length]
