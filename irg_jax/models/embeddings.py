"""Fixed embeddings of time, place and order; none of them has weights (irg.md §3, after BAGEL, arXiv 2505.14683)."""

import jax
import jax.numpy as jnp


def timestep_features(t: jax.Array, size: int) -> jax.Array:
    """cos then sin of t·10000^(−i/(size/2)), float32 [..., size]. ``t`` in [0, 1], taken as it is."""
    half = size // 2
    frequencies = 10000.0 ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = t.astype(jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def position_2d(place: jax.Array, side: int, size: int) -> jax.Array:
    """Sin-cos embedding of a place in a square table, float32 [..., size]: column's half, then row's, sin then cos.

    Args:
      place: row·side + column, int32.
      side: side of the table, in patches.
      size: of the embedding, a multiple of 4.
    """
    quarter = size // 4
    frequencies = 10000.0 ** (-jnp.arange(quarter, dtype=jnp.float32) / quarter)

    def one(coordinate: jax.Array) -> list[jax.Array]:
        angles = coordinate.astype(jnp.float32)[..., None] * frequencies
        return [jnp.sin(angles), jnp.cos(angles)]

    return jnp.concatenate(one(place % side) + one(place // side), axis=-1)


def rope_angles(ids: jax.Array, head_dim: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """cos and sin of the rotary angles, float32 [..., 1, head_dim/2], ready to broadcast over heads."""
    half = head_dim // 2
    frequencies = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = ids.astype(jnp.float32)[..., None, None] * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def apply_rope(x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Turns the two halves of every head (i with i + D/2). ``x`` is [B, T, H, D]; computed in float32."""
    cos, sin = angles
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)
