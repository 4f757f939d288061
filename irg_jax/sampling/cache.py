"""The KV cache, and the layout of positions that lets all guidance branches share it.

Classifier-free guidance compares the velocities of one noised image under several contexts: the full one, one without
the text, one without the image. They need no cache each, because visibility is a matter of positions alone: a key with
the span ``[start, end)`` is seen by the queries at those positions and by no others (``models/attention/spans.py``);
a cached key keeps its span. So every guidance branch is a noised image block at its own positions over one shared
cache, and its context is what is visible from there:

* A ``PositionLayout`` assigns positions in advance, one slot after another: a slot for each text and each clean image
  block, whose keys are cached, and a slot for the noised block of each branch, which is never cached.
* A text or clean image is visible from its own slot on. So a branch sees all that comes before its slot, and nothing
  that comes after: the branch without the text has its slot before that of the text.
* A context that leaves out something in the middle (the image, but not the thinking after it) gets a copy of the later
  text in a slot before the image. The span of the copy ends behind the branch's slot, so that no other branch sees it.

RoPE ids are independent of positions: each block has the id that it would have in a sequence with its context alone.
The branches of an image are neighbouring rows of one batch. The order of slots in the cache can differ from that of
positions, so that what a branch needs is a contiguous range of the cache (``PositionLayout.view``).
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from irg_jax.models.transformer import KVCache, Stream, UnifiedTransformer
from irg_jax.sharding.activations import shard_cache

FAR = jnp.iinfo(jnp.int32).max  # a span that starts here is never seen; one that ends here is open


class Slot(NamedTuple):
    """A range of positions for one text or image block.

    Attributes:
      position: of its first token.
      cache_index: index of its first token in the cache; −1 for noised blocks, which are never cached.
      size: tokens, with vision_start and vision_end for image blocks.
    """

    position: int
    cache_index: int
    size: int

    @property
    def end(self) -> int:
        """One past the last position."""
        return self.position + self.size


class PositionLayout:
    """Slots one after another, in the order of positions; each is an attribute by its name.

    Args:
      cached: names of the slots that are cached, in the order of the cache: what a branch sees must be contiguous.
      sizes: tokens of each slot by name, in the order of positions. Slots not in ``cached`` are noised blocks.

    Attributes:
      cache_size: length of the cache in tokens.
    """

    def __init__(self, cached: Sequence[str], **sizes: int):
        starts = dict(zip(cached, itertools.accumulate((sizes[name] for name in cached), initial=0), strict=False))
        self._slots: dict[str, Slot] = {}
        position = 0
        for name, size in sizes.items():
            self._slots[name] = Slot(position, starts.get(name, -1), size)
            position += size
        self.cache_size = sum(sizes[name] for name in cached)

    def view(self, first: str, last: str) -> tuple[int, int]:
        """The (first, end) cache indices of the slots from ``first`` to ``last``, inclusive."""
        return self._slots[first].cache_index, self._slots[last].cache_index + self._slots[last].size

    def __getattr__(self, name: str) -> Slot:
        try:
            return self._slots[name]
        except KeyError:
            raise AttributeError(f"this layout has no slot {name}; it has {', '.join(self._slots)}") from None


def empty_cache(model: UnifiedTransformer, batch: int, size: int) -> KVCache:
    """A cache of ``size`` tokens, none of them visible yet."""
    d = model.config.decoder
    k, v = (shard_cache(jnp.zeros((d.layers, batch, size, d.kv_heads, d.head_dim), model.dtype)) for _ in range(2))
    start = jnp.full((batch, size), FAR, jnp.int32)
    return KVCache(k, v, start, jnp.zeros_like(start))


def empty_stream(model: UnifiedTransformer, batch: int) -> Stream:
    """A stream of length zero."""
    column = jnp.zeros((batch, 0), jnp.int32)
    return Stream(jnp.zeros((batch, 0, model.config.decoder.hidden), model.dtype), column, column, column, column)


def forward(
    model: UnifiedTransformer, cache: KVCache, und: Stream, gen: Stream, cache_index: jax.Array | int
) -> tuple[jax.Array, KVCache]:
    """Runs the model on new tokens over the cache, and adds their keys and values to it.

    Args:
      model: the transformer.
      cache: the cache.
      und: new understanding tokens.
      gen: new generation tokens.
      cache_index: where ``und`` followed by ``gen`` is written in the cache.

    Returns:
      final hidden states of ``und``, [B, U, D], and the cache with the new tokens.
    """
    hidden, _, fresh = model(und, gen, cache)
    assert fresh is not None  # a model that is called with a cache returns the new keys and values
    k, v = fresh

    def update(cached: jax.Array, new: jax.Array, axis: int) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(cached, new, cache_index, axis)

    start, end = (jnp.concatenate(pair, axis=1) for pair in ((und.start, gen.start), (und.end, gen.end)))
    return hidden, KVCache(
        update(cache.k, k, 2), update(cache.v, v, 2), update(cache.start, start, 1), update(cache.end, end, 1)
    )


def text_stream(
    model: UnifiedTransformer, ids: jax.Array, valid: jax.Array, position: jax.Array | int, rope: jax.Array, end: int
) -> Stream:
    """Causal text.

    Args:
      model: the transformer.
      ids: token ids, int32 [B, T].
      valid: which of them are not padding, bool [B, T].
      position: of the first column.
      rope: of the first column, int32 [B].
      end: the position from which on the text is not visible.
    """
    batch, count = ids.shape
    offsets = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32), ids.shape)
    x = model.embed_und(ids, jnp.full_like(ids, -1), jnp.zeros((batch, 0, model.config.decoder.hidden), model.dtype))
    positions = offsets + position
    return Stream(
        x, positions, rope[:, None] + offsets, jnp.where(valid, positions, FAR), jnp.full_like(positions, end)
    )


def block_streams(
    model: UnifiedTransformer, delimiters: tuple[int, int], patches: jax.Array, start: jax.Array | int, rope: jax.Array,
    end: jax.Array | int,
) -> tuple[Stream, Stream]:  # fmt: skip
    """An image block: vision_start and vision_end as text, its patches as a stream of their own.

    Args:
      model: the transformer.
      delimiters: ids of vision_start and vision_end.
      patches: embedded patches, [B, N, D].
      start: position of vision_start, int32 [B] or one for all.
      rope: the one RoPE id of the whole block, int32 [B].
      end: the position from which on the block is not visible, int32 [B] or one for all.

    Returns:
      the stream of the delimiters and the stream of the patches.
    """
    batch, count, _ = patches.shape
    start, end = (jnp.broadcast_to(jnp.asarray(x, jnp.int32), (batch,))[:, None] for x in (start, end))

    def make_stream(x: jax.Array, offsets: jax.Array) -> Stream:
        columns = (start + offsets, rope[:, None], start, end)
        return Stream(x, *(jnp.broadcast_to(column, x.shape[:2]).astype(jnp.int32) for column in columns))

    ids = jnp.broadcast_to(jnp.array(delimiters, jnp.int32), (batch, 2))
    no_features = jnp.zeros((batch, 0, model.config.decoder.hidden), model.dtype)
    x = model.embed_und(ids, jnp.full_like(ids, -1), no_features)
    return make_stream(x, jnp.array([0, count + 1])), make_stream(patches, 1 + jnp.arange(count))


def concatenate(*streams: Stream) -> Stream:
    """Concatenates streams along the token axis."""
    return Stream(*(jnp.concatenate(columns, axis=1) for columns in zip(*streams, strict=True)))
