"""Where activations live on the mesh that is in use while a model is traced; without one, nothing is said.

Rows of a batch lie over the axes ``data`` and ``fsdp``, the tokens of a row over ``context``. Weights say for
themselves where they live (``param``); the compiler derives the rest.
"""

import math

import jax
from jax.sharding import PartitionSpec as P

ROWS, TOKENS, HEADS = ("data", "fsdp"), "context", "tensor"


def row_shards() -> int:
    """Into how many parts the rows of a batch are cut."""
    shape = jax.sharding.get_abstract_mesh().shape
    return math.prod(shape.get(axis, 1) for axis in ROWS)


def devices_a_row() -> int:
    """How many share the tokens of a row."""
    return jax.sharding.get_abstract_mesh().shape.get(TOKENS, 1)


def splits_tokens() -> bool:
    """Whether the tokens of a row lie on several devices."""
    return devices_a_row() > 1


def gather_tokens(x: jax.Array) -> jax.Array:
    """``x`` [B, T, …] with all tokens of its rows on every device of their context group."""
    if not splits_tokens():
        return x
    return jax.lax.with_sharding_constraint(x, P(ROWS, None, *[P.UNCONSTRAINED] * (x.ndim - 2)))


def split_tokens(x: jax.Array) -> jax.Array:
    """``x`` [B, T, …] with a row's tokens spread over the devices of its context group."""
    if not splits_tokens():
        return x
    return jax.lax.with_sharding_constraint(x, P(ROWS, TOKENS, *[P.UNCONSTRAINED] * (x.ndim - 2)))


def one_a_device(x: jax.Array) -> jax.Array:
    """``x`` [turns, row_shards() · devices_a_row(), …] with its second axis spread over data, fsdp and context."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, P(None, (*ROWS, TOKENS), *[P.UNCONSTRAINED] * (x.ndim - 2)))
