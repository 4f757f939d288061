"""Sharding constraints on activations, for the mesh that is set while a model is traced; without one, no constraints.

Rows of a batch are sharded over the axes ``data`` and ``fsdp``, the tokens of a row over ``context``. Weights declare
their own axes (``models.layers.param``); the compiler derives the rest.
"""

import math

import jax
from jax.sharding import PartitionSpec as P

ROWS, TOKENS, HEADS = ("data", "fsdp"), "context", "tensor"


def row_shards() -> int:
    """The number of shards of the rows of a batch."""
    shape = jax.sharding.get_abstract_mesh().shape
    return math.prod(shape.get(axis, 1) for axis in ROWS)


def devices_per_row() -> int:
    """The number of devices that share the tokens of a row."""
    return jax.sharding.get_abstract_mesh().shape.get(TOKENS, 1)


def splits_tokens() -> bool:
    """Whether the tokens of a row are sharded over several devices."""
    return devices_per_row() > 1


def gather_tokens(x: jax.Array) -> jax.Array:
    """``x`` [B, T, …] with all tokens of its rows on every device of their context group."""
    if not splits_tokens():
        return x
    return jax.lax.with_sharding_constraint(x, P(ROWS, None, *[P.UNCONSTRAINED] * (x.ndim - 2)))


def split_tokens(x: jax.Array) -> jax.Array:
    """``x`` [B, T, …] with the tokens of its rows sharded over the devices of their context group, if they divide."""
    if not splits_tokens() or x.shape[1] % devices_per_row():
        return x
    return jax.lax.with_sharding_constraint(x, P(ROWS, TOKENS, *[P.UNCONSTRAINED] * (x.ndim - 2)))


def shard_cache(x: jax.Array) -> jax.Array:
    """``x`` [layers, B, S, kv_heads, …] with its rows sharded, and its heads if they divide."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    heads = HEADS if x.shape[3] % mesh.shape[HEADS] == 0 else None
    return jax.lax.with_sharding_constraint(x, P(None, ROWS, None, heads))


def shard_one_per_device(x: jax.Array) -> jax.Array:
    """``x`` [rounds, row_shards() · devices_per_row(), …] with its second axis sharded over data, fsdp and context."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, P(None, (*ROWS, TOKENS), *[P.UNCONSTRAINED] * (x.ndim - 2)))
