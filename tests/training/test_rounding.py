"""Stochastic rounding: right in the mean, exact where nothing is cut off."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from irg_jax.training import rounding

KEY = jax.random.key(0)


def test_it_is_right_in_the_mean_and_never_further_than_the_neighbours():
    x = jnp.full(100_000, 1.001, jnp.float32)  # bfloat16 has 1 and 1.0078125 around it
    y = np.asarray(rounding.stored(x, "bfloat16", KEY), np.float64)
    assert set(np.unique(y)) == {1.0, 1.0078125}
    assert abs(y.mean() - 1.001) < 1e-4


def test_what_bfloat16_can_say_stays_and_so_does_what_is_not_finite():
    x = jnp.array([0.0, -1.5, 3e38, jnp.inf, -jnp.inf, jnp.nan])
    x = x.at[2].set(x[2].astype(jnp.bfloat16).astype(jnp.float32))
    np.testing.assert_array_equal(rounding.loaded(rounding.stored(x, "bfloat16", KEY)), x)


def test_float32_is_left_alone():
    x = jnp.array([1.001])
    assert rounding.stored(x, "float32", KEY) is x


def test_an_average_in_bfloat16_follows_where_plain_rounding_stands_still():
    target, steps, decay = 1.001, 400, 0.995
    plain = jnp.ones(1000, jnp.bfloat16)
    average = plain
    for step in range(steps):
        plain = (plain + (1 - decay) * (target - plain.astype(jnp.float32))).astype(jnp.bfloat16)
        new = rounding.loaded(average) * decay + (1 - decay) * target
        average = rounding.stored(new, "bfloat16", jax.random.fold_in(KEY, step))
    exact = target - (target - 1) * decay**steps
    assert (plain == 1).all()
    assert abs(np.asarray(average, np.float64).mean() - exact) < 3e-4


def test_adam_with_moments_in_bfloat16_takes_nearly_the_same_way():
    def walk(adam):
        x = jnp.linspace(-1, 1, 1000)
        state = adam.init(x)
        for _ in range(30):
            updates, state = adam.update(jnp.sin(3 * x), state)
            x = x - 0.01 * updates
        return x, state

    adam = optax.scale_by_adam(0.9, 0.95)
    (exact, _), (x, state) = walk(adam), walk(rounding.with_moments_in(adam, "bfloat16"))
    assert state.mu.dtype == state.nu.dtype == jnp.bfloat16
    assert float(jnp.abs(x - exact).mean()) < 2e-3
