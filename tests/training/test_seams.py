"""The seams for other kinds of training: another loss with a reference model, in the same step and the same loop."""

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax.sharding.batches import batch_shardings, local_rows, shard_batch
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules
from irg_jax.sharding.signals import Signals
from irg_jax.training import loop, losses
from irg_jax.training.optimizer import learning_rate, make_optimizer
from irg_jax.training.state import FrozenParams, make_state_spec
from irg_jax.training.step import make_step
from tests import tiny

ROWS = 1


class StayNear:
    """Keeps the flow error of every token near that of a reference model: what a KL penalty is made of."""

    def draw(self, key_of, batch):
        return losses.draw_flow(key_of, batch, tiny.CONFIG, shift=1.0)

    def count(self, batch):
        return jnp.sum(batch["gen"]["noised"]).astype(jnp.float32)

    def __call__(self, model, frozen, batch, x0, draws, count):
        reference = nnx.merge(nnx.graphdef(model), frozen.reference)
        ours, theirs = (losses.token_losses(m, batch, x0, draws).mse for m in (model, reference))
        loss = jnp.sum((ours - jax.lax.stop_gradient(theirs)) ** 2) / count
        return loss, {"loss": loss, "distance": jnp.sqrt(loss)}


class Losses(loop.Hook):
    def __init__(self):
        self.values = []

    def after_metrics(self, report):
        self.values.append(float(report.metrics["loss"]))


def test_another_loss_trains_towards_a_reference_model():
    optim, mesh = tiny.optim(lr=1e-3), make_mesh(MeshConfig(), jax.devices()[:1])
    schedule = learning_rate(optim, steps=4)
    adamw = make_optimizer(optim, schedule)
    spec = make_state_spec(tiny.CONFIG, tiny.EXECUTION, adamw, mesh, ShardingRules())
    step = make_step(
        spec, tiny.CONFIG, tiny.EXECUTION, loss=StayNear(), optim=optim, optimizer=adamw, schedule=schedule, seed=0,
        mesh=mesh,
    )  # fmt: skip
    # One batch, always with the same noise: a counter that does not move draws the same.
    rows = tiny.batch(*(tiny.row([tiny.conversation(i)]) for i in range(ROWS)))
    batch = shard_batch(rows, batch_shardings(mesh), local_rows(mesh, ROWS, 0))
    near = jax.tree.map(lambda x: 1.02 * x, tiny.weights())
    frozen = FrozenParams(tiny.VAE, nnx.State({}), reference=tiny.weights(0))
    seen = Losses()
    state = loop.run(
        lambda state, frozen, batch: step(state._replace(step=jnp.int32(0)), frozen, batch),
        spec.init_from_params(jax.device_put(near, spec.shardings.params)), frozen, lambda: batch, range(1, 5),
        hooks=[seen], signals=Signals(mesh),
    )  # fmt: skip
    assert len(seen.values) == 4 and seen.values[-1] < 0.7 * seen.values[0]
    assert jax.tree.structure(state.params) == jax.tree.structure(tiny.weights())
