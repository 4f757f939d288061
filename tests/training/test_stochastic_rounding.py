"""Stochastic rounding: right on average, exact where nothing is cut off."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from irg_jax.training import stochastic_rounding

KEY = jax.random.key(0)


def test_rounding_is_unbiased_and_to_one_of_the_two_neighbours():
    x = jnp.full(100_000, 1.001, jnp.float32)  # bfloat16 has 1 and 1.0078125 around it
    y = np.asarray(stochastic_rounding.stochastic_round(x, "bfloat16", KEY), np.float64)
    assert set(np.unique(y)) == {1.0, 1.0078125}
    assert abs(y.mean() - 1.001) < 1e-4


def test_bfloat16_and_non_finite_values_do_not_change():
    x = jnp.array([0.0, -1.5, 3e38, jnp.inf, -jnp.inf, jnp.nan])
    x = x.at[2].set(x[2].astype(jnp.bfloat16).astype(jnp.float32))
    np.testing.assert_array_equal(
        stochastic_rounding.to_float32(stochastic_rounding.stochastic_round(x, "bfloat16", KEY)), x
    )


def test_float32_is_not_rounded():
    x = jnp.array([1.001])
    assert stochastic_rounding.stochastic_round(x, "float32", KEY) is x


def test_an_average_in_bfloat16_moves_where_rounding_to_nearest_does_not():
    target, steps, decay = 1.001, 400, 0.995
    plain = jnp.ones(1000, jnp.bfloat16)
    average = plain
    for step in range(steps):
        plain = (plain + (1 - decay) * (target - plain.astype(jnp.float32))).astype(jnp.bfloat16)
        new = stochastic_rounding.to_float32(average) * decay + (1 - decay) * target
        average = stochastic_rounding.stochastic_round(new, "bfloat16", jax.random.fold_in(KEY, step))
    exact = target - (target - 1) * decay**steps
    assert (plain == 1).all()
    assert abs(np.asarray(average, np.float64).mean() - exact) < 3e-4


def test_adam_with_bfloat16_moments_takes_nearly_the_same_steps():
    def take_steps(adam):
        x = jnp.linspace(-1, 1, 1000)
        state = adam.init(x)
        for _ in range(30):
            updates, state = adam.update(jnp.sin(3 * x), state)
            x = x - 0.01 * updates
        return x, state

    adam = optax.scale_by_adam(0.9, 0.95)
    (exact, _), (x, state) = take_steps(adam), take_steps(stochastic_rounding.with_moments_in(adam, "bfloat16"))
    assert state.mu.dtype == state.nu.dtype == jnp.bfloat16
    assert float(jnp.abs(x - exact).mean()) < 2e-3
