"""Autoregressive decoding: one compiled loop, one token per step, until every text of the batch has ended."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from irg_jax.data.tokenizer import Tokenizer
from irg_jax.models.transformer import KVCache, UnifiedTransformer
from irg_jax.sampling import cache as kv
from irg_jax.sampling.cache import FAR, Slot


class TextBatch(NamedTuple):
    """Texts of a batch.

    Attributes:
      ids: bos, tokens, eos, then padding, int32 [B, T].
      length: tokens without padding, including bos and eos, int32 [B].
      complete: the text ended with the model's own eos, bool [B]; if not, it was truncated and eos appended.
    """

    ids: jax.Array
    length: jax.Array
    complete: jax.Array


def decode_text(
    model: UnifiedTransformer,
    cache: KVCache,
    slot: Slot,
    rope: jax.Array,
    keys: jax.Array,
    *,
    tokenizer: Tokenizer,
    temperature: float,
) -> tuple[TextBatch, KVCache]:
    """Samples a text for each row and adds it to the cache.

    Args:
      model: the transformer.
      cache: with everything before.
      slot: where the texts go; its size is the maximum number of tokens, including bos and eos.
      rope: RoPE id of bos, int32 [B].
      keys: one random key per row, so that a row's text does not depend on the rest of the batch.
      tokenizer: for its special ids.
      temperature: 0 is greedy decoding.

    Returns:
      the texts, ids int32 [B, slot.size], and the cache with them.
    """
    batch = rope.shape[0]
    no_gen = kv.empty_stream(model, batch)
    last = slot.size - 1

    def is_unfinished(carry: tuple) -> jax.Array:
        column, _, _, ended, _, _ = carry
        return (column <= last) & ~jnp.all(ended)

    def decode_token(carry: tuple) -> tuple:
        column, ids, current, ended, complete, cache = carry
        ids = jax.lax.dynamic_update_slice_in_dim(ids, jnp.where(ended, tokenizer.pad, current)[:, None], column, 1)
        stream = kv.text_stream(model, current[:, None], ~ended[:, None], slot.position + column, rope + column, FAR)
        hidden, cache = kv.forward(model, cache, stream, no_gen, slot.cache_index + column)
        logits = model.logits(hidden)[:, 0]
        if temperature == 0:
            sampled = jnp.argmax(logits, axis=-1)
        else:
            column_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, column)
            sampled = jax.vmap(jax.random.categorical)(column_keys, logits / temperature)
        ended = ended | (current == tokenizer.eos)
        complete = complete | (~ended & (sampled == tokenizer.eos) & (column < last))
        # The last column is reserved for eos: a text that has not ended by then is truncated.
        following = jnp.where(column + 1 >= last, tokenizer.eos, sampled).astype(jnp.int32)
        return column + 1, ids, following, ended, complete, cache

    initial = (
        jnp.int32(0),
        jnp.full((batch, slot.size), tokenizer.pad, jnp.int32),
        jnp.full((batch,), tokenizer.bos, jnp.int32),
        jnp.zeros((batch,), bool),
        jnp.zeros((batch,), bool),
        cache,
    )
    _, ids, _, _, complete, cache = jax.lax.while_loop(is_unfinished, decode_token, initial)
    is_eos = ids == tokenizer.eos
    return TextBatch(ids, jnp.argmax(is_eos, axis=1).astype(jnp.int32) + 1, complete), cache
