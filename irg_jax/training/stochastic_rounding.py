"""Stochastic rounding: numbers kept in bfloat16 from step to step without losing small changes.

In 8 bits of mantissa, a moving average that adds 1/200 of a small difference would never change. Rounding up with a
probability equal to the part that is cut off makes it right on average (arXiv 1502.02551).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from irg_jax.training.random_streams import stream_key


def stochastic_round(tree: Any, dtype: str, key: jax.Array) -> Any:
    """Rounds a tree of float32 arrays to ``dtype``, float32 (which changes nothing) or bfloat16.

    Each array has random bits of its own, from ``key`` and its index in the tree. A weight without moments
    (``optax.MaskedNode``) counts too: freezing some weights changes no random bit of the others.
    """
    if dtype == "float32":
        return tree
    leaves, structure = jax.tree.flatten(tree, is_leaf=_is_masked)
    rounded = [x if _is_masked(x) else _round_to_bfloat16(x, jax.random.fold_in(key, i)) for i, x in enumerate(leaves)]
    return jax.tree.unflatten(structure, rounded)


def to_float32(tree: Any) -> Any:
    """The same tree in float32."""
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def with_moments_in(inner: optax.GradientTransformation, dtype: str) -> optax.GradientTransformation:
    """``inner``, an Adam, with both moments stored in ``dtype`` between updates; updates are computed in float32."""

    def init(params: Any) -> optax.ScaleByAdamState:
        state = inner.init(params)
        mu, nu = (jax.tree.map(lambda x: x.astype(dtype), x) for x in (state.mu, state.nu))
        return state._replace(mu=mu, nu=nu)

    def update(grads: Any, state: optax.ScaleByAdamState, params: Any = None) -> tuple[Any, optax.ScaleByAdamState]:
        updates, new = inner.update(grads, state._replace(mu=to_float32(state.mu), nu=to_float32(state.nu)), params)
        key = stream_key(0, "round_moments", new.count)
        mu, nu = (stochastic_round(x, dtype, jax.random.fold_in(key, i)) for i, x in enumerate((new.mu, new.nu)))
        return updates, new._replace(mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)


def _is_masked(x: Any) -> bool:
    return isinstance(x, optax.MaskedNode)


def _round_to_bfloat16(x: jax.Array, key: jax.Array) -> jax.Array:
    # The default generator, not rbg: that is slower on CPUs, and on a mesh every device makes the bits of whole arrays.
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    bits = (jax.lax.bitcast_convert_type(x, jnp.uint32) + noise) & jnp.uint32(0xFFFF0000)
    # Infinities and NaN have no neighbours to choose from.
    return jnp.where(jnp.isfinite(x), jax.lax.bitcast_convert_type(bits, jnp.float32), x).astype(jnp.bfloat16)
