"""Numbers kept in bfloat16 from step to step: rounded at random, so that small changes are not lost.

A moving average that takes 1/200 of a small difference would stand still in 8 bits of mantissa; rounded up with the
probability that the cut-off part says, it moves right in the mean (arXiv 1502.02551).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

DTYPES = ("float32", "bfloat16")


def stored(tree: Any, dtype: str, key: jax.Array) -> Any:
    """A tree of float32 arrays in a dtype of ``DTYPES``; ``key`` decides what is rounded up."""
    if dtype == "float32":
        return tree
    leaves, structure = jax.tree.flatten(tree)
    rounded = [_rounded(x, jax.random.fold_in(key, i)) for i, x in enumerate(leaves)]
    return jax.tree.unflatten(structure, rounded)


def loaded(tree: Any) -> Any:
    """The same in float32."""
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def with_moments_in(inner: optax.GradientTransformation, dtype: str) -> optax.GradientTransformation:
    """``inner``, an Adam, which keeps both moments in ``dtype`` between its updates and computes in float32."""

    def init(params: Any) -> optax.ScaleByAdamState:
        state = inner.init(params)
        mu, nu = (jax.tree.map(lambda x: x.astype(dtype), x) for x in (state.mu, state.nu))
        return state._replace(mu=mu, nu=nu)

    def update(grads: Any, state: optax.ScaleByAdamState, params: Any = None) -> tuple[Any, optax.ScaleByAdamState]:
        updates, new = inner.update(grads, state._replace(mu=loaded(state.mu), nu=loaded(state.nu)), params)
        key = jax.random.fold_in(jax.random.key(0), new.count)
        mu, nu = (stored(x, dtype, jax.random.fold_in(key, i)) for i, x in enumerate((new.mu, new.nu)))
        return updates, new._replace(mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)


def _rounded(x: jax.Array, key: jax.Array) -> jax.Array:
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    bits = (jax.lax.bitcast_convert_type(x, jnp.uint32) + noise) & jnp.uint32(0xFFFF0000)
    # What is not finite has no neighbours to choose from.
    return jnp.where(jnp.isfinite(x), jax.lax.bitcast_convert_type(bits, jnp.float32), x).astype(jnp.bfloat16)
