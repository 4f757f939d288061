"""Fixed embeddings of timesteps, 2-D positions and token order (RoPE), as in BAGEL (arXiv 2505.14683): no weights."""

import jax
import jax.numpy as jnp


def timestep_features(t: jax.Array, size: int) -> jax.Array:
    """cos then sin of t·10000^(−i/(size/2)), float32 [..., size]. ``t`` is in [0, 1] and not rescaled."""
    half = size // 2
    frequencies = 10000.0 ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = t.astype(jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def position_2d(pos_id: jax.Array, side: int, size: int) -> jax.Array:
    """Sin-cos embedding of a position in a square table, float32 [..., size].

    The first half is the column's, the second the row's; each has the sines, then the cosines.

    Args:
      pos_id: row·side + column, int32.
      side: side of the table, in patches.
      size: size of the embedding, a multiple of 4.
    """
    quarter = size // 4
    frequencies = 10000.0 ** (-jnp.arange(quarter, dtype=jnp.float32) / quarter)

    def sin_cos(coordinate: jax.Array) -> list[jax.Array]:
        angles = coordinate.astype(jnp.float32)[..., None] * frequencies
        return [jnp.sin(angles), jnp.cos(angles)]

    return jnp.concatenate(sin_cos(pos_id % side) + sin_cos(pos_id // side), axis=-1)


def rope_angles(ids: jax.Array, head_dim: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """cos and sin of the rotary angles, float32 [..., 1, head_dim/2], which broadcast over heads."""
    half = head_dim // 2
    frequencies = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = ids.astype(jnp.float32)[..., None, None] * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def apply_rope(x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
    """RoPE: rotates the pairs (i, i + D/2) of every head. ``x`` is [B, T, H, D]; computed in float32."""
    cos, sin = angles
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)
