"""The step that a shipped 7B config trains with, at the size of the tiny BAGEL, against the released first update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.sharding.batches import batch_shardings, local_rows, shard_batch
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.training import losses
from irg_jax.training.config import parse_stage
from irg_jax.training.objective import InterleavedLoss
from irg_jax.training.program import build_program
from irg_jax.training.state import FrozenParams
from tests import released

WANTED = released.arrays("train_forward")
# Only sizes, a first step without warm-up, and float32, in which the released numbers are.
CHANGES = {
    "data.batch_size": 1, "data.budgets.und": 861, "data.budgets.gen": 236, "data.budgets.vit": 299,
    "data.budgets.images": 7, "optim.warmup_steps": 0, "execution.dtype": "float32", "model": released.config(),
}  # fmt: skip

jax.tree_util.register_static(released.ReleasedPadding)  # a frozen VAE without arrays of its own


class ReleasedLoss(InterleavedLoss):
    """The loss with the released timesteps and noise."""

    def draw(self, key_of, batch):
        return jax.tree.map(jnp.asarray, released.flow_draws(released.packed_batch(), self._loss.timestep_shift))


@pytest.fixture(scope="module")
def step():
    """The state and the metrics after one step."""
    stage = replaced(parse_stage(load("irg_7b_stage1")), CHANGES)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    program = build_program(stage, mesh, "cpu", ReleasedLoss)
    batch = shard_batch(released.packed_batch(), batch_shardings(mesh), local_rows(mesh, 1, 0))
    noise = WANTED["vae_posterior_noise"].transpose(0, 2, 3, 1)[None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "draw_posterior", lambda key, batch, config: jnp.asarray(noise))
        state = program.spec.init_from_params(released.weights())
        state, metrics = program.step(state, FrozenParams(released.ReleasedPadding(), nnx.State({})), batch)
    return jax.device_get(state), jax.device_get(metrics)


def test_losses_and_gradient_norm_are_the_released_ones(step):
    _, metrics = step
    for name in ("ce", "mse", "grad_norm"):
        assert float(metrics[name]) == pytest.approx(float(WANTED[name]), rel=1e-6), name
    assert float(metrics["lr"]) == pytest.approx(2e-5)


def test_the_updated_weights_are_the_released_ones(step):
    found, before = released.by_released_name(step[0].params), released.by_released_name(released.weights())
    for name, wanted in released.arrays("train_adamw_step").items():
        np.testing.assert_allclose(found[name], wanted, rtol=2e-7, atol=1e-11, err_msg=name)
        assert np.abs(wanted - before[name]).max() > 1e-5, name


def test_the_ema_moves_by_one_minus_its_decay(step):
    state, _ = step
    before, after, ema = (released.by_released_name(x) for x in (released.weights(), state.params, state.ema))
    for name, x in ema.items():
        wanted = before[name] + np.float32(1 - 0.995) * (after[name] - before[name])
        np.testing.assert_allclose(x, wanted, rtol=0, atol=1e-7, err_msg=name)
