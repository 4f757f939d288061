"""Named streams of random numbers: what one use draws is independent of what all others draw."""

import zlib

import jax

# What draws random numbers in training. The order has no meaning, a name has: it is hashed into the key.
STREAMS = (
    "weights", "lora", "times", "noise", "posterior", "round_ema", "round_moments", "validation_times",
    "validation_noise",
)  # fmt: skip


def stream_key(seed: int | jax.Array, stream: str, step: int | jax.Array = 0) -> jax.Array:
    """The key of a stream at a step; no two (stream, step) share one.

    Args:
      seed: of the run, an integer or a uint32 scalar.
      stream: a name in ``STREAMS``.
      step: of training, an integer or an int32 scalar.
    """
    if stream not in STREAMS:
        raise ValueError(f"{stream!r} is not one of {', '.join(STREAMS)}")
    # Keys derived by small numbers, as nnx.Rngs derives them, cannot meet one that is derived by a 32-bit hash first.
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), zlib.crc32(stream.encode())), step)
