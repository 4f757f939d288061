"""The key-value cache of a context, and the line of positions that gives every guidance branch its own view of it.

A cached key has a span, like every key (``data.layout``). So the contexts that guidance compares are no copies of the
cache: each branch is a noised block at its own place on one line of positions, and sees what a noised block there sees.
A text that only one branch may see has a span that ends behind that branch's block.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from irg_jax.models.transformer import Past, Stream, UnifiedTransformer

FAR = jnp.iinfo(jnp.int32).max  # a span that starts here is seen by nobody; one that ends here is open


class Region(NamedTuple):
    """A stretch of the line.

    Attributes:
      position: of its first token.
      slot: its first place in the cache; −1 for noised blocks, which are never cached.
      size: tokens, with vision_start and vision_end for image blocks.
    """

    position: int
    slot: int
    size: int

    @property
    def end(self) -> int:
        """One past the last position."""
        return self.position + self.size


class Line:
    """Regions one behind another, in the order of positions.

    Args:
      slots: the names of those that are cached, in the order of the cache: what a branch sees should lie together.
      regions: tokens of each by name. Those that have no slot are noised blocks.

    Attributes:
      slots: the cache's length.
    """

    def __init__(self, slots: Sequence[str], **regions: int):
        first = dict(zip(slots, itertools.accumulate((regions[name] for name in slots), initial=0), strict=False))
        self._regions: dict[str, Region] = {}
        position = 0
        for name, size in regions.items():
            self._regions[name] = Region(position, first.get(name, -1), size)
            position += size
        self.slots = sum(regions[name] for name in slots)

    def view(self, first: str, last: str) -> tuple[int, int]:
        """The slots from one region to another, both among them."""
        return self._regions[first].slot, self._regions[last].slot + self._regions[last].size

    def __getattr__(self, name: str) -> Region:
        try:
            return self._regions[name]
        except KeyError:
            raise AttributeError(f"this line has no region {name}; it has {', '.join(self._regions)}") from None


def empty(model: UnifiedTransformer, batch: int, slots: int) -> Past:
    """A cache in which nothing can be seen yet."""
    d = model.config.decoder
    shape = (d.layers, batch, slots, d.kv_heads, d.head_dim)
    nobody = jnp.full((batch, slots), FAR, jnp.int32)
    return Past(jnp.zeros(shape, model.dtype), jnp.zeros(shape, model.dtype), nobody, jnp.zeros_like(nobody))


def run(
    model: UnifiedTransformer, past: Past, und: Stream, gen: Stream, slot: jax.Array | int
) -> tuple[jax.Array, Past]:
    """Runs new tokens behind what is cached, and caches them.

    Args:
      model: the transformer.
      past: the cache.
      und: new understanding tokens.
      gen: new generation tokens.
      slot: where ``und`` then ``gen`` go in the cache, one behind the other.

    Returns:
      final hidden states of ``und``, and the cache with the new tokens.
    """
    hidden, _, fresh = model(und, gen, past)
    assert fresh is not None  # a model that is given a past gives what to add to it
    k, v = fresh

    def put(cached: jax.Array, new: jax.Array, axis: int) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(cached, new, slot, axis)

    start, end = (jnp.concatenate(pair, axis=1) for pair in ((und.start, gen.start), (und.end, gen.end)))
    return hidden, Past(put(past.k, k, 2), put(past.v, v, 2), put(past.start, start, 1), put(past.end, end, 1))


def no_tokens(model: UnifiedTransformer, batch: int) -> Stream:
    """A stream of length zero."""
    column = jnp.zeros((batch, 0), jnp.int32)
    return Stream(jnp.zeros((batch, 0, model.config.decoder.hidden), model.dtype), column, column, column, column)


def text_stream(
    model: UnifiedTransformer, ids: jax.Array, valid: jax.Array, position: jax.Array | int, rope: jax.Array, end: int
) -> Stream:
    """Causal text.

    Args:
      model: the transformer.
      ids: [B, T].
      valid: which of them are real, bool [B, T].
      position: of the first column.
      rope: of the first column, int32 [B].
      end: where the text stops being seen.
    """
    batch, count = ids.shape
    offsets = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32), ids.shape)
    x = model.embed_und(ids, jnp.full_like(ids, -1), jnp.zeros((batch, 0, model.config.decoder.hidden), model.dtype))
    positions = offsets + position
    return Stream(
        x, positions, rope[:, None] + offsets, jnp.where(valid, positions, FAR), jnp.full_like(positions, end)
    )


def block_streams(
    model: UnifiedTransformer, edges: tuple[int, int], inner: jax.Array, start: jax.Array | int, rope: jax.Array,
    end: jax.Array | int,
) -> tuple[Stream, Stream]:  # fmt: skip
    """An image block: vision_start and vision_end as text, its patches as a stream of their own.

    Args:
      model: the transformer.
      edges: ids of vision_start and vision_end.
      inner: embedded patches, [B, N, D].
      start: position of vision_start, int32 [B] or one for all.
      rope: the one id of the whole block, int32 [B].
      end: where the block stops being seen, int32 [B] or one for all.

    Returns:
      the edges' stream and the patches' stream.
    """
    batch, count, _ = inner.shape
    start, end = (jnp.broadcast_to(jnp.asarray(x, jnp.int32), (batch,))[:, None] for x in (start, end))

    def stream(x: jax.Array, offsets: jax.Array) -> Stream:
        columns = (start + offsets, rope[:, None], start, end)
        return Stream(x, *(jnp.broadcast_to(column, x.shape[:2]).astype(jnp.int32) for column in columns))

    ids = jnp.broadcast_to(jnp.array(edges, jnp.int32), (batch, 2))
    nothing = jnp.zeros((batch, 0, model.config.decoder.hidden), model.dtype)
    ends = stream(model.embed_und(ids, jnp.full_like(ids, -1), nothing), jnp.array([0, count + 1]))
    return ends, stream(inner, 1 + jnp.arange(count))


def join(*streams: Stream) -> Stream:
    """Streams side by side."""
    return Stream(*(jnp.concatenate(columns, axis=1) for columns in zip(*streams, strict=True)))
