"""AdamW with its schedule, clipping and freezing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from irg_jax.core.errors import ConfigError
from irg_jax.core.tree import count_weights, weight_name
from irg_jax.models.transformer import abstract_model
from irg_jax.training import optimizer
from tests import tiny


def rates(steps, **changes):
    schedule = optimizer.learning_rate(tiny.optim(**changes), steps)
    return np.array([float(schedule(step)) for step in range(steps + 1)])


def test_a_constant_rate_follows_a_linear_warm_up():
    np.testing.assert_allclose(rates(6, lr=2.0, warmup_steps=4), [0, 0.5, 1, 1.5, 2, 2, 2])
    np.testing.assert_allclose(rates(3, lr=2.0), [2, 2, 2, 2])


def test_a_cosine_ends_at_the_final_rate_at_the_last_step():
    found = rates(10, lr=2.0, final_lr=0.5, warmup_steps=2, schedule="cosine")
    np.testing.assert_allclose(found[[0, 1, 2, 6, 10]], [0, 1, 2, 1.25, 0.5], atol=1e-6)


def updates(gradient, steps=1, **changes):
    optim = tiny.optim(lr=1.0, **changes)
    adamw = optimizer.make_optimizer(optim, optimizer.learning_rate(optim, 10))
    weights = jnp.array([10.0, -10.0])
    state = adamw.init(weights)
    for _ in range(steps):
        update, state = adamw.update(jnp.array(gradient), state, weights)
    return np.asarray(update)


def test_gradients_are_clipped_by_their_global_norm():
    """The first Adam step is g / (|g| + eps): a large eps shows the gradient that arrived."""
    np.testing.assert_allclose(updates([30.0, 40.0], clip_norm=1.0, eps=1e3) * -1e3, [0.6, 0.8], rtol=1e-2)
    np.testing.assert_allclose(updates([0.3, 0.4], clip_norm=1.0, eps=1e3) * -1e3, [0.3, 0.4], rtol=1e-2)


def test_weight_decay_is_decoupled():
    np.testing.assert_allclose(updates([0.0, 0.0], weight_decay=0.1), [-1.0, 1.0])


# --- freezing


def frozen_from(entries):
    params = abstract_model(tiny.CONFIG)[1]
    found = {}
    steps = optimizer.freeze_steps(params, entries)
    jax.tree_util.tree_map_with_path(lambda path, step: found.update({weight_name(path): step}), steps)
    return found


def test_the_first_matching_entry_says_from_which_step_a_weight_is_frozen():
    found = frozen_from([(r"^vit\.norm", 5), (r"^vit\.", 0), (r"^blocks\.und\.", 3)])
    assert found["vit.norm.scale"] == 5
    assert found["vit.patch.kernel"] == 0
    assert found["blocks.und.q.kernel"] == 3
    assert found["blocks.gen.q.kernel"] == found["lm_head.kernel"] == optimizer.NEVER


def test_frozen_weights_get_zeros_from_their_step_on():
    params = abstract_model(tiny.CONFIG)[1]
    steps = optimizer.freeze_steps(params, [(r"^vit\.", 2)])
    ones = jax.tree.map(lambda x: jnp.ones(x.shape), params)
    for step, left in ((1, 1), (2, 0), (3, 0)):
        masked = optimizer.mask_frozen(ones, steps, jnp.int32(step))
        assert np.unique(masked["vit"]["patch"]["kernel"][...]) == left
        assert np.unique(masked["blocks"]["und"]["q"]["kernel"][...]) == 1


def test_an_entry_without_a_match_is_refused():
    with pytest.raises(
        ConfigError, match=r"^config.optim.freeze: 'decoder' matches no weight .*; names look like blocks"
    ):
        frozen_from([("vit", 0), ("decoder", 3)])


def test_an_entry_whose_matches_an_earlier_one_takes_is_refused():
    with pytest.raises(ConfigError, match=r"'\^vit\.norm' matches no weight that an earlier entry leaves"):
        frozen_from([("^vit", 0), (r"^vit.norm", 5)])


# --- moments of frozen weights

FREEZE = ((r"^vit\.", 0), (r"^blocks\.und\.", 2))


def random_gradients(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), tiny.weights())


def three_steps(optim, steps):
    """Updates of three steps, with gradients and updates masked as in training, and the last state."""
    adamw = optimizer.make_optimizer(optim, optax.constant_schedule(optim.lr))
    weights, found = tiny.weights(), []
    state = adamw.init(weights)
    for step in range(3):
        gradients = optimizer.mask_frozen(random_gradients(step), steps, jnp.int32(step))
        update, state = adamw.update(gradients, state, weights)
        update = optimizer.mask_frozen(update, steps, jnp.int32(step))
        weights = optax.apply_updates(weights, update)
        found.append(update)
    return weights, found, state


def moment_bytes(state):
    return sum(x.nbytes for x in jax.tree.leaves(state) if x.ndim > 0)


@pytest.mark.parametrize("moments_dtype", ["float32", "bfloat16"])
def test_weights_that_are_always_frozen_have_no_moments(moments_dtype):
    optim = tiny.optim(freeze=FREEZE, moments_dtype=moments_dtype)
    state = optimizer.make_optimizer(optim, optax.constant_schedule(1.0)).init(tiny.weights())
    steps = jax.tree.leaves(optimizer.freeze_steps(tiny.weights(), FREEZE))
    weights = [x for x, step in zip(jax.tree.leaves(tiny.weights()), steps, strict=True) if step > 0]
    assert 0 < len(weights) < len(steps)
    moments = state[1].inner_state
    for moment in (moments.mu, moments.nu):
        assert [x.shape for x in jax.tree.leaves(moment)] == [x.shape for x in weights]
    assert moment_bytes(state) == 2 * jnp.dtype(moments_dtype).itemsize * count_weights(weights)


@pytest.mark.parametrize("moments_dtype", [pytest.param("float32", marks=pytest.mark.slow), "bfloat16"])
def test_leaving_out_moments_changes_no_bit_of_an_update(moments_dtype):
    steps = optimizer.freeze_steps(tiny.weights(), FREEZE)
    changes = dict(moments_dtype=moments_dtype, weight_decay=0.1)
    weights, found, state = three_steps(tiny.optim(freeze=FREEZE, **changes), steps)
    expected_weights, expected, full_state = three_steps(tiny.optim(**changes), steps)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    jax.tree.map(np.testing.assert_array_equal, weights, expected_weights)
    jax.tree.map(np.testing.assert_array_equal, weights["vit"], tiny.weights()["vit"])
    jax.tree.map(np.testing.assert_array_equal, state[1].inner_state.mu["blocks"], full_state[1].mu["blocks"])
    jax.tree.map(np.testing.assert_array_equal, state[1].inner_state.nu["blocks"], full_state[1].nu["blocks"])
