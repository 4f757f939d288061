"""Writing a thought: one compiled loop, one token a pass, until every text of the batch has ended."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from irg_jax.data.tokenizer import Tokenizer
from irg_jax.models.transformer import Past, UnifiedTransformer
from irg_jax.sampling import cache
from irg_jax.sampling.cache import FAR, Region


class Written(NamedTuple):
    """Texts of a batch.

    Attributes:
      ids: bos, tokens, eos, then padding, int32 [B, region.size].
      length: tokens in use, bos and eos among them, int32 [B].
      complete: the model ended the text itself, bool [B]; else it was cut off and eos put behind.
    """

    ids: jax.Array
    length: jax.Array
    complete: jax.Array


def write(
    model: UnifiedTransformer,
    past: Past,
    region: Region,
    rope: jax.Array,
    keys: jax.Array,
    *,
    tokenizer: Tokenizer,
    temperature: float,
) -> tuple[Written, Past]:
    """Samples a text for each row and leaves it in the cache.

    Args:
      model: the transformer.
      past: cache of everything before.
      region: where the texts go; its size is the most tokens, bos and eos among them.
      rope: rotary id of bos, int32 [B].
      keys: a random key a row, so that a row writes the same whoever is beside it.
      tokenizer: its special ids.
      temperature: 0 takes the likeliest token.
    """
    batch = rope.shape[0]
    nothing = cache.no_tokens(model, batch)
    last = region.size - 1

    def more(carry: tuple) -> jax.Array:
        column, _, _, ended, _, _ = carry
        return (column <= last) & ~jnp.all(ended)

    def one(carry: tuple) -> tuple:
        column, ids, current, ended, complete, past = carry
        ids = jax.lax.dynamic_update_slice_in_dim(ids, jnp.where(ended, tokenizer.pad, current)[:, None], column, 1)
        stream = cache.text_stream(
            model, current[:, None], ~ended[:, None], region.position + column, rope + column, FAR
        )
        hidden, past = cache.run(model, past, stream, nothing, region.slot + column)
        logits = model.logits(hidden)[:, 0]
        if temperature == 0:
            drawn = jnp.argmax(logits, axis=-1)
        else:
            column_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, column)
            drawn = jax.vmap(jax.random.categorical)(column_keys, logits / temperature)
        ended = ended | (current == tokenizer.eos)
        complete = complete | (~ended & (drawn == tokenizer.eos) & (column < last))
        # The last place is eos's: a text that has not ended by then is cut off.
        following = jnp.where(column + 1 >= last, tokenizer.eos, drawn).astype(jnp.int32)
        return column + 1, ids, following, ended, complete, past

    start = (
        jnp.int32(0),
        jnp.full((batch, region.size), tokenizer.pad, jnp.int32),
        jnp.full((batch,), tokenizer.bos, jnp.int32),
        jnp.zeros((batch,), bool),
        jnp.zeros((batch,), bool),
        past,
    )
    _, ids, _, _, complete, past = jax.lax.while_loop(more, one, start)
    is_eos = ids == tokenizer.eos
    return Written(ids, jnp.argmax(is_eos, axis=1).astype(jnp.int32) + 1, complete), past
