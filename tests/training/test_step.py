"""The training step: one loss over the global batch, however it is split."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from irg_jax.models.config import ExecutionConfig
from irg_jax.sharding.batches import batch_shardings, local_rows, shard_batch
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules
from irg_jax.training import optimizer as optimizers
from irg_jax.training.config import LossConfig
from irg_jax.training.objective import InterleavedLoss
from irg_jax.training.state import FrozenParams, TrainState, make_state_spec
from irg_jax.training.step import make_step, visible_pairs
from tests import tiny

ROWS, MODES, EMA = 8, 5, 0.9
AUTO = ExecutionConfig().on("cpu").attention  # that of the 7B configs
FROZEN = FrozenParams(tiny.VAE, nnx.State({}))

# Bounds between two ways to split one step, relative, and the errors measured on an x86-64 CPU.
METRICS = 2e-6  # 2.5e-7
LOSS = 7e-7  # 7.3e-8
MOMENT = 1e-5  # 3.2e-6
NO_MOMENT = 1.5e-9  # 1.6e-10, absolute: the gradient of a key's bias is zero but for rounding
UPDATE = 3e-3  # 1.1e-3: Adam's first step makes rounding errors of such a gradient as large as the others


def uneven_batch():
    """Rows of one to three samples, some without an image: no count is the same in any two parts of the batch."""
    budgets = tiny.Budgets(und=152, gen=112, vit=96, images=7, image_size=(32, 32), vit_patch=192)
    samples = [[tiny.conversation(7 * i + j, parts=2) for j in range(1 + i % 3)] for i in range(ROWS)]
    return tiny.batch(*(tiny.row(some, budgets) for some in samples))


@functools.cache
def compiled(axes, accumulate, freeze, vae_encode, **changes):
    """The step, a function that makes its first state from ``tiny.weights()``, and the batch on the devices."""
    optim = tiny.optim(ema_decay=EMA, accumulate=accumulate, freeze=freeze, **changes)
    execution = tiny.execution(vae_encode=vae_encode, attention=AUTO)
    mesh = make_mesh(MeshConfig(**{"fsdp": 1} | dict(axes)), jax.devices()[: math.prod(dict(axes).values())])
    schedule = optimizers.learning_rate(optim, 10)
    adamw = optimizers.make_optimizer(optim, schedule)
    spec = make_state_spec(tiny.CONFIG, execution, adamw, mesh, ShardingRules())
    weights = tiny.weights()
    loss = InterleavedLoss(LossConfig(ce_weight=1.0, mse_weight=1.0, timestep_shift=4.0), tiny.CONFIG, MODES)
    step_fn = make_step(
        spec, tiny.CONFIG, execution, loss=loss, optim=optim, optimizer=adamw, schedule=schedule, seed=0, mesh=mesh
    )

    def first_state(step):
        copies = (jax.tree.map(jnp.copy, weights) for _ in range(2))  # a step donates the buffers of its state
        return jax.device_put(TrainState(jnp.int32(step), *copies, adamw.init(weights)), spec.shardings)

    return step_fn, first_state, shard_batch(uneven_batch(), batch_shardings(mesh), local_rows(mesh, ROWS, 0))


@functools.cache
def one_step(axes=(), accumulate=1, freeze=(), step=0, vae_encode="in_step"):
    """The state after one step, and the step's metrics."""
    step_fn, first_state, batch = compiled(axes, accumulate, freeze, vae_encode)
    return jax.device_get(step_fn(first_state(step), FROZEN, batch))


def assert_close(a, b, atol):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=atol), a, b)


@pytest.mark.parametrize(
    "split",
    [
        dict(axes=(("data", 2), ("fsdp", 2), ("tensor", 2))),
        dict(axes=(("fsdp", 2), ("context", 4)), vae_encode="separate", accumulate=2),
        # Each splits the step in one of the ways that those do.
        pytest.param(dict(accumulate=2), marks=pytest.mark.slow),
        pytest.param(dict(accumulate=4), marks=pytest.mark.slow),
        pytest.param(dict(vae_encode="separate"), marks=pytest.mark.slow),
        pytest.param(dict(axes=(("fsdp", 8),)), marks=pytest.mark.slow),
        pytest.param(dict(axes=(("data", 2), ("tensor", 4))), marks=pytest.mark.slow),
        pytest.param(dict(axes=(("fsdp", 2), ("context", 4))), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_microbatches_devices_and_programs_change_neither_loss_nor_update(split):
    expected_state, expected = one_step()
    state, metrics = one_step(**split)
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=METRICS, err_msg=name)
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=LOSS)
    # Adam's moments are the gradients; the weights would show only their signs.
    pairs = zip(jax.tree.leaves(state.opt[1].mu), jax.tree.leaves(expected_state.opt[1].mu), strict=True)
    for ours, wanted in pairs:
        assert np.abs(ours - wanted).max() <= MOMENT * np.abs(wanted).max() + NO_MOMENT
    update = optax.tree.norm(jax.tree.map(jnp.subtract, expected_state.params, tiny.weights()))
    difference = optax.tree.norm(jax.tree.map(jnp.subtract, expected_state.params, state.params))
    assert difference < UPDATE * update


def test_other_batches_do_not_recompile_the_step():
    step_fn, first_state, batch = compiled((), 1, (), "in_step")
    shardings, state = jax.tree.map(lambda x: x.sharding, batch), first_state(0)
    for seed in range(4):
        samples = [[tiny.conversation(31 * seed + 7 * i + j, parts=2) for j in range(1 + i % 2)] for i in range(ROWS)]
        budgets = tiny.Budgets(und=152, gen=112, vit=96, images=7, image_size=(32, 32), vit_patch=192)
        other = tiny.batch(*(tiny.row(some, budgets) for some in samples))
        state, _ = step_fn(state, FROZEN, jax.tree.map(jax.device_put, other, shardings))
    assert step_fn._update._cache_size() == 1


def test_metrics_count_what_is_in_the_batch():
    metrics = one_step()[1]
    batch = uneven_batch()
    assert metrics["tokens/ce"] == (batch["und"]["weight"] > 0).sum()
    assert metrics["tokens/mse"] == batch["gen"]["noised"].sum()
    for stream in ("und", "gen", "vit"):
        assert metrics[f"tokens/{stream}"] == (batch[stream]["position"] >= 0).sum()
    assert metrics["lr"] == pytest.approx(1e-2)
    assert metrics["loss"] == pytest.approx(metrics["ce"] + metrics["mse"], rel=1e-6)


def test_losses_by_mode_average_to_the_loss_and_a_missing_mode_has_none():
    metrics, batch = one_step()[1], uneven_batch()
    counts = [(batch["und"]["weight"][batch["und"]["mode"] == m] > 0).sum() for m in range(MODES)]
    present = np.array(counts) > 0
    assert not present.all() and present.sum() > 1
    assert np.isnan(metrics["ce_by_mode"][~present]).all()
    assert np.average(metrics["ce_by_mode"][present], weights=np.array(counts)[present]) == pytest.approx(metrics["ce"])


def test_ema_moves_towards_the_new_weights():
    state, _ = one_step()
    wanted = jax.tree.map(lambda old, new: EMA * old + (1 - EMA) * new, tiny.weights(), state.params)
    assert_close(state.ema, wanted, atol=1e-6)
    assert state.step == 1


def test_every_step_draws_other_timesteps_and_noise():
    assert one_step(step=0)[1]["mse"] != one_step(step=1)[1]["mse"]


def test_frozen_weights_do_not_change_and_do_not_count_in_the_gradient_norm():
    freeze = (("^vit", 1), ("und", 0))
    state, metrics = one_step(freeze=freeze)
    old = tiny.weights()
    assert_close(state.params["blocks"]["und"], old["blocks"]["und"], atol=0)
    assert np.abs(state.params["vit"]["patch"]["kernel"][...] - old["vit"]["patch"]["kernel"][...]).max() > 1e-3
    assert metrics["grad_norm"] < one_step()[1]["grad_norm"]
    later, _ = one_step(freeze=freeze, step=1)
    assert_close(later.params["vit"], old["vit"], atol=0)


def test_a_step_that_is_not_finite_can_be_skipped():
    step_fn, first_state, batch = compiled((), 1, (), "in_step", skip_nonfinite=1)
    batch = batch | {"und": batch["und"] | {"weight": batch["und"]["weight"].at[0].set(jnp.inf)}}
    before = jax.device_get(first_state(0))
    after, metrics = jax.device_get(step_fn(first_state(0), FROZEN, batch))
    assert not np.isfinite(metrics["loss"])
    assert after.step == 1
    assert_close((after.params, after.ema, after.opt), (before.params, before.ema, before.opt), atol=0)


def test_pairs_are_counted_beyond_int32():
    n = 70_000
    row = {"position": jnp.arange(n)[None], "start": jnp.zeros((1, n), jnp.int32), "end": jnp.full((1, n), n)}
    assert visible_pairs(row) == pytest.approx(n * n, rel=1e-4)
    assert visible_pairs(row | {"position": jnp.full((1, n), -1)}) == 0
