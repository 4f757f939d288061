"""The key-value cache of a trajectory, and the line of positions that gives every guidance branch its context.

A cached key has a span, like every key (``data.layout``). So the contexts that guidance compares are no copies of the
cache: each branch is a noised block at its own place on one line of positions, and sees what a noised block there sees.

    system | null | prompt | thinking 1 | turn 1 | copy of thinking 2 | no image
           | VAE | ViT | no reflection | thinking 2 | turn 2

``null`` sees the system prompt alone; ``no reflection`` the first turn and its picture; ``turn 2`` everything. The copy
of thinking 2 was written without the picture, and its span ends behind ``no image``, the one block that sees it.
"""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Line:
    """Every region of a two-turn trajectory, in the order of positions; ``slots`` is the cache's length."""

    system: Region
    null: Region
    prompt: Region
    thinking1: Region
    turn1: Region
    copy2: Region
    no_image: Region
    vae: Region
    vit: Region
    no_reflection: Region
    thinking2: Region
    turn2: Region
    slots: int

    @classmethod
    def of(cls, *, system: int, prompt: int, thinking1: int, thinking2: int, latents: int, vit: int) -> "Line":
        """Lays the line.

        Args:
          system: tokens of the system prompt, with bos and eos; 0 without one.
          prompt: tokens kept for the prompt, with bos and eos.
          thinking1: tokens kept for thinking 1, with bos and eos.
          thinking2: likewise for thinking 2.
          latents: latent patches of a picture.
          vit: ViT patches of a picture.
        """
        block = latents + 2
        cached = dict(
            system=system, null=-block, prompt=prompt, thinking1=thinking1, turn1=-block, copy2=thinking2,
            no_image=-block, vae=block, vit=vit + 2, no_reflection=-block, thinking2=thinking2, turn2=-block,
        )  # fmt: skip
        regions, position, slot = {}, 0, 0
        for name, size in cached.items():
            regions[name] = Region(position, slot if size >= 0 else -1, abs(size))
            position, slot = position + abs(size), slot + max(size, 0)
        return cls(**regions, slots=slot)


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
    model: UnifiedTransformer, edges: tuple[int, int], inner: jax.Array, region: Region, rope: jax.Array, end: int
) -> tuple[Stream, Stream]:
    """An image block: vision_start and vision_end as text, its patches as a stream of their own.

    Args:
      model: the transformer.
      edges: ids of vision_start and vision_end.
      inner: embedded patches, [B, region.size − 2, D].
      region: where the block stands.
      rope: the one id of the whole block, int32 [B].
      end: where it stops being seen.

    Returns:
      the edges' stream and the patches' stream.
    """
    batch, count, _ = inner.shape

    def stream(x: jax.Array, positions: jax.Array) -> Stream:
        positions = jnp.broadcast_to(positions.astype(jnp.int32), x.shape[:2])
        whole = lambda value: jnp.broadcast_to(value, x.shape[:2]).astype(jnp.int32)  # noqa: E731
        return Stream(x, positions, whole(rope[:, None]), whole(region.position), whole(end))

    ids = jnp.broadcast_to(jnp.array(edges, jnp.int32), (batch, 2))
    nothing = jnp.zeros((batch, 0, model.config.decoder.hidden), model.dtype)
    ends = stream(model.embed_und(ids, jnp.full_like(ids, -1), nothing), jnp.array([region.position, region.end - 1]))
    return ends, stream(inner, region.position + 1 + jnp.arange(count))


def join(*streams: Stream) -> Stream:
    """Streams side by side."""
    return Stream(*(jnp.concatenate(columns, axis=1) for columns in zip(*streams, strict=True)))
