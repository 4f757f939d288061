"""The training step: one loss over the global batch, however it is cut up."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from irg_jax.training import optimizer as optimizers
from irg_jax.training import sharding
from irg_jax.training.state import Frozen, TrainState, shape_state
from irg_jax.training.step import make_step, visible_pairs
from tests import tiny

ROWS, MODES, EMA = 8, 5, 0.9
FROZEN = Frozen(tiny.AUTOENCODER, nnx.State({}))


def uneven_batch():
    """Rows of one to three samples, some without a picture: nothing that is counted is the same in any two parts."""
    budgets = tiny.Budgets(und=152, gen=112, vit=96, images=7, image_size=(32, 32), vit_patch=192)
    samples = [[tiny.conversation(7 * i + j, parts=2) for j in range(1 + i % 3)] for i in range(ROWS)]
    return tiny.batch(*(tiny.row(some, budgets) for some in samples))


@functools.cache
def compiled(axes, accumulate, freeze, encode="within"):
    """The step; what makes its first state, from ``tiny.weights()``; and the batch on the devices."""
    settings = tiny.optim(ema=EMA, accumulate=accumulate, freeze=freeze)
    mesh = sharding.make_mesh(dict(axes), jax.devices()[: math.prod(dict(axes).values())])
    schedule = optimizers.learning_rate(settings, 10)
    adamw = optimizers.make_optimizer(settings, schedule)
    shaped = shape_state(tiny.CONFIG, adamw, mesh, sharding.Rules())
    weights = tiny.weights()
    rows = sharding.batch_shardings(mesh)
    step_fn = make_step(
        shaped, tiny.config(encode=encode), optimizer=adamw, schedule=schedule, mesh=mesh,
        freeze=optimizers.freeze_steps(shaped.abstract.params, freeze), timestep_shift=4.0, ema_decay=EMA,
        ce_weight=1.0, mse_weight=1.0, accumulate=accumulate, modes=MODES, seed=0,
    )  # fmt: skip

    def first_state(step):
        copies = (jax.tree.map(jnp.copy, weights) for _ in range(2))  # a step gives up the buffers of its state
        return jax.device_put(TrainState(jnp.int32(step), *copies, adamw.init(weights)), shaped.shardings)

    return step_fn, first_state, sharding.to_devices(uneven_batch(), rows)


@functools.cache
def one_step(axes=(), accumulate=1, freeze=(), step=0, encode="within"):
    """The state after one step, and the step's metrics."""
    step_fn, first_state, batch = compiled(axes, accumulate, freeze, encode)
    return jax.device_get(step_fn(first_state(step), FROZEN, batch))


def assert_close(a, b, atol):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=atol), a, b)


MESHES = (
    dict(fsdp=8),
    dict(data=2, tensor=4),
    dict(fsdp=2, context=4),
    dict(data=2, fsdp=2, tensor=2),
)


@pytest.mark.parametrize(
    "cut",
    [
        dict(accumulate=2),
        dict(accumulate=4),
        dict(encode="ahead"),
        *(dict(axes=tuple(mesh.items())) for mesh in MESHES),
        dict(axes=tuple(MESHES[2].items()), encode="ahead", accumulate=2),
    ],
    ids=str,
)
def test_microbatches_devices_and_programs_change_neither_loss_nor_update(cut):
    whole_state, whole = one_step()
    state, metrics = one_step(**cut)
    assert set(metrics) == set(whole)
    for name, value in whole.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert metrics["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    # Adam's moments are the gradients; the weights would show only their signs.
    pairs = zip(jax.tree.leaves(state.opt[1].mu), jax.tree.leaves(whole_state.opt[1].mu), strict=True)
    for ours, wanted in pairs:
        assert np.abs(ours - wanted).max() <= 1e-4 * np.abs(wanted).max() + 1e-7
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, whole_state.params, tiny.weights()))
    apart = optax.tree.norm(jax.tree.map(jnp.subtract, whole_state.params, state.params))
    assert apart < 3e-3 * moved


def test_no_batch_compiles_a_second_program():
    step_fn, first_state, batch = compiled((), 1, ())
    places, state = jax.tree.map(lambda x: x.sharding, batch), first_state(0)
    for seed in range(4):
        samples = [[tiny.conversation(31 * seed + 7 * i + j, parts=2) for j in range(1 + i % 2)] for i in range(ROWS)]
        budgets = tiny.Budgets(und=152, gen=112, vit=96, images=7, image_size=(32, 32), vit_patch=192)
        other = tiny.batch(*(tiny.row(some, budgets) for some in samples))
        state, _ = step_fn(state, FROZEN, jax.tree.map(jax.device_put, other, places))
    assert step_fn.programs() == 1


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


def test_times_and_noise_are_others_at_every_step():
    assert one_step(step=0)[1]["mse"] != one_step(step=1)[1]["mse"]


def test_frozen_weights_stay_and_their_gradients_do_not_count():
    freeze = (("^vit", 1), ("und", 0))
    state, metrics = one_step(freeze=freeze)
    old = tiny.weights()
    assert_close(state.params["blocks"]["und"], old["blocks"]["und"], atol=0)
    assert np.abs(state.params["vit"]["patch"]["kernel"][...] - old["vit"]["patch"]["kernel"][...]).max() > 1e-3
    assert metrics["grad_norm"] < one_step()[1]["grad_norm"]
    later, _ = one_step(freeze=freeze, step=1)
    assert_close(later.params["vit"], old["vit"], atol=0)


def test_pairs_are_counted_beyond_int32():
    n = 70_000
    row = {"position": jnp.arange(n)[None], "start": jnp.zeros((1, n), jnp.int32), "end": jnp.full((1, n), n)}
    assert visible_pairs(row) == pytest.approx(n * n, rel=1e-4)
    assert visible_pairs(row | {"position": jnp.full((1, n), -1)}) == 0
