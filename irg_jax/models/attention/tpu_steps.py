"""The list of steps of the TPU kernels of one row: which blocks of queries meet which blocks of keys.

A step is one int32: the index of the block of queries in the bits above that of the block of keys. A block of queries
without a visible key has one step too, in which the kernels write its zeros; these idle steps come last.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from irg_jax.models.attention.spans import INT32_MAX, visible_blocks

Steps = Any  # int32 [steps], an array or a reference to scalar memory

_BITS = 16
_KEY_MASK = (1 << _BITS) - 1
_IDLE = 1 << 30


def list_steps(query: jax.Array, start: jax.Array, end: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The steps of a row's kernels.

    Args:
      query: positions, int32 [blocks, block_q]; below 0 is padding.
      start: int32 [blocks, block_k].
      end: int32 [blocks, block_k].

    Returns:
      the steps, by block of queries and then by block of keys, int32 [all pairs of blocks + 1], padded at the end; and
      how many there are, int32.
    """
    index, count = jax.vmap(visible_blocks, (0, None, None))(query, start, end)
    q_block, slot = jnp.arange(len(query))[:, None] << _BITS, jnp.arange(len(start))
    steps = jnp.where(slot < count[:, None], q_block | index, INT32_MAX)
    steps = jnp.where((slot == 0) & (count[:, None] == 0), _IDLE | q_block | _KEY_MASK, steps)
    steps = jnp.append(jax.lax.sort(steps.reshape(-1), is_stable=False), INT32_MAX)
    return steps, jnp.sum(steps < INT32_MAX, dtype=jnp.int32)


def has_keys(steps: Steps, step: jax.Array) -> jax.Array:
    """Whether a step has a block of keys, or is an idle one."""
    return steps[step] < _IDLE


def query_block(steps: Steps, step: jax.Array) -> jax.Array:
    """The index of a step's block of queries."""
    return (steps[step] & ~_IDLE) >> _BITS


def key_block(steps: Steps, step: jax.Array) -> jax.Array:
    """The index of a step's block of keys; all bits are set in an idle step."""
    return steps[step] & _KEY_MASK


def is_first_step(steps: Steps, step: jax.Array) -> jax.Array:
    """Whether this is the first step of its block of queries."""
    return (step == 0) | (query_block(steps, jnp.maximum(step - 1, 0)) != query_block(steps, step))


def is_last_step(steps: Steps, step: jax.Array) -> jax.Array:
    """Whether this is the last step of its block of queries."""
    return (step == pl.num_programs(1) - 1) | (query_block(steps, step + 1) != query_block(steps, step))
