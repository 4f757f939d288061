"""AdamW and what is around it: schedule, clipping, freezing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.errors import UserError
from irg_jax.training import optimizer
from irg_jax.training.state import graph_of
from tests import tiny


def rates(steps, **optim):
    schedule = optimizer.learning_rate(tiny.optim(**optim), steps)
    return np.array([float(schedule(step)) for step in range(steps + 1)])


def test_a_constant_rate_after_a_linear_warm_up():
    np.testing.assert_allclose(rates(6, lr=2.0, warmup_steps=4), [0, 0.5, 1, 1.5, 2, 2, 2])
    np.testing.assert_allclose(rates(3, lr=2.0), [2, 2, 2, 2])


def test_a_cosine_ends_at_the_final_rate_at_the_last_step():
    found = rates(10, lr=2.0, final_lr=0.5, warmup_steps=2, schedule="cosine")
    np.testing.assert_allclose(found[[0, 1, 2, 6, 10]], [0, 1, 2, 1.25, 0.5], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(schedule="linear"), "optim.schedule: 'linear' is none of constant, cosine"),
        (dict(warmup_steps=10), "optim.warmup_steps: 10 must be at least 0 and less than the 10 steps"),
        (dict(warmup_steps=-1), "optim.warmup_steps: -1"),
        (dict(lr=0.0, schedule="cosine"), "optim.lr: 0.0 must be > 0"),
        (dict(lr=float("nan")), "optim.lr: nan must be > 0"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        optimizer.learning_rate(tiny.optim(**change), 10)


def updates(gradient, steps=1, **optim):
    settings = tiny.optim(lr=1.0, **optim)
    made = optimizer.make_optimizer(settings, optimizer.learning_rate(settings, 10))
    weights = jnp.array([10.0, -10.0])
    state = made.init(weights)
    for _ in range(steps):
        update, state = made.update(jnp.array(gradient), state, weights)
    return np.asarray(update)


def test_gradients_are_clipped_by_their_common_norm():
    """The first Adam step is g / (|g| + eps): a large eps shows the gradient that arrived."""
    np.testing.assert_allclose(updates([30.0, 40.0], clip_norm=1.0, eps=1e3) * -1e3, [0.6, 0.8], rtol=1e-2)
    np.testing.assert_allclose(updates([0.3, 0.4], clip_norm=1.0, eps=1e3) * -1e3, [0.3, 0.4], rtol=1e-2)


def test_weight_decay_is_decoupled():
    np.testing.assert_allclose(updates([0.0, 0.0], weight_decay=0.1), [-1.0, 1.0])


# --- freezing


def frozen_from(rows):
    params = graph_of(tiny.CONFIG)[1]
    found = {}
    steps = optimizer.freeze_steps(params, rows)
    jax.tree_util.tree_map_with_path(lambda path, step: found.update({optimizer.weight_name(path): step}), steps)
    return found


def test_the_first_matching_row_says_from_which_step_a_weight_is_frozen():
    found = frozen_from([(r"^vit\.norm", 5), (r"^vit\.", 0), (r"^blocks\.und\.", 3)])
    assert found["vit.norm.scale"] == 5
    assert found["vit.patch.kernel"] == 0
    assert found["blocks.und.q.kernel"] == 3
    assert found["blocks.gen.q.kernel"] == found["lm_head.kernel"] == optimizer.NEVER


def test_frozen_weights_get_zeros_from_their_step_on():
    params = graph_of(tiny.CONFIG)[1]
    steps = optimizer.freeze_steps(params, [(r"^vit\.", 2)])
    ones = jax.tree.map(lambda x: jnp.ones(x.shape), params)
    for step, left in ((1, 1), (2, 0), (3, 0)):
        masked = optimizer.mask_frozen(ones, steps, jnp.int32(step))
        assert np.unique(masked["vit"]["patch"]["kernel"][...]) == left
        assert np.unique(masked["blocks"]["und"]["q"]["kernel"][...]) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("vit", 0), ("decoder", 3)], "optim.freeze: 'decoder' matches no weight .*; names look like blocks"),
        ([("vit(", 0)], r"optim.freeze: 'vit\(' is no regular expression"),
        ([("vit",)], r"optim.freeze: \('vit',\) must be \(regex, step\)"),
        (["vit"], r"optim.freeze: 'vit' must be \(regex, step\)"),
        ([("vit", -1)], r"optim.freeze: \('vit', -1\) must be \(regex, step\)"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused(rows, message):
    with pytest.raises(UserError, match=message):
        frozen_from(rows)


def test_a_row_that_an_earlier_one_covers_is_refused_too():
    with pytest.raises(UserError, match=r"'\^vit\.norm' matches no weight that an earlier row leaves"):
        frozen_from([("^vit", 0), (r"^vit.norm", 5)])
