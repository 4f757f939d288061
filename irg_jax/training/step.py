"""The training step: one batch in, one state on."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from irg_jax.models.config import ModelConfig
from irg_jax.training import losses, rounding
from irg_jax.training.losses import FlowDraws
from irg_jax.training.optimizer import mask_frozen
from irg_jax.training.sharding import batch_shardings
from irg_jax.training.state import Frozen, Shaped, TrainState


class Step:
    """The compiled step on its mesh."""

    def __init__(self, compiled: Any, mesh: Mesh):
        self._compiled, self._mesh = compiled, mesh

    def __call__(self, state: TrainState, frozen: Frozen, batch: dict) -> tuple[TrainState, dict]:
        """The next state, and the metrics; the given state is used up."""
        with jax.set_mesh(self._mesh):
            return self._compiled(state, frozen, batch)

    def lower(self, state: TrainState, frozen: Frozen, batch: dict) -> Any:
        """The program for these shapes, not compiled; see ``jax.stages.Lowered``."""
        with jax.set_mesh(self._mesh):
            return self._compiled.lower(state, frozen, batch)

    def programs(self) -> int:
        """How many were compiled so far."""
        return self._compiled._cache_size()


def make_step(
    shaped: Shaped,
    config: ModelConfig,
    *,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    freeze: Any,
    timestep_shift: float,
    ema_decay: float,
    ce_weight: float,
    mse_weight: float,
    accumulate: int,
    modes: int,
    seed: int,
    mesh: Mesh,
) -> Step:
    """Compiles the training step.

    The loss is ce_weight·ΣCE/N_CE + mse_weight·ΣMSE/N_MSE with both counts over the global batch, so neither packing,
    nor the number of devices, nor ``accumulate`` changes it.

    Args:
      shaped: the state's structure and shardings.
      config: the model's.
      optimizer: of ``training.optimizer``.
      schedule: learning rate by step, for the metrics.
      freeze: step from which each weight is frozen, see ``freeze_steps``.
      timestep_shift: of the training times.
      ema_decay: of the moving average.
      ce_weight: weight of the text loss.
      mse_weight: weight of the image loss.
      accumulate: microbatches a step; they divide the rows of a batch.
      modes: number of learning modes, for the losses by mode.
      seed: of times and noise.
      mesh: on which the state lies.

    Returns:
      the step; its metrics are float32 scalars, but for ``ce_by_mode``, ``mse_by_mode`` [modes].
    """

    def loss_fn(
        params: nnx.State, frozen: Frozen, batch: dict, draws: FlowDraws, totals: tuple
    ) -> tuple[jax.Array, dict]:
        model = nnx.merge(shaped.graphdef, params, frozen.base)
        token = losses.token_losses(model, frozen.autoencoder, batch, draws)
        ce, mse = jnp.sum(token.ce) / totals[0], jnp.sum(token.mse) / totals[1]
        loss = ce_weight * ce + mse_weight * mse
        return loss, {
            "loss": loss,
            "ce": ce,
            "mse": mse,
            "ce_by_mode": losses.by_mode(token.ce, batch["und"]["mode"], modes),
            "mse_by_mode": losses.by_mode(token.mse, batch["gen"]["mode"], modes),
        }

    def step(state: TrainState, frozen: Frozen, batch: dict) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        draws = losses.draw_flow(key, batch, config, timestep_shift)
        und, gen = batch["und"], batch["gen"]
        noised = gen["noised"].astype(jnp.float32)
        counts = (jnp.sum(und["weight"] > 0), jnp.sum(noised))
        totals = tuple(jnp.maximum(n, 1).astype(jnp.float32) for n in counts)

        def gradients(micro: tuple[dict, FlowDraws]) -> tuple[dict, nnx.State]:
            (_, values), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params, frozen, *micro, totals)
            return values, grads

        # Strided, so that every microbatch takes an equal part of every device's rows.
        micros = jax.tree.map(
            lambda x: jnp.moveaxis(x.reshape(x.shape[0] // accumulate, accumulate, *x.shape[1:]), 1, 0), (batch, draws)
        )
        shapes = jax.eval_shape(gradients, jax.tree.map(lambda x: x[0], micros))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        add = lambda sums, micro: (jax.tree.map(jnp.add, sums, gradients(micro)), None)  # noqa: E731
        (metrics, grads), _ = jax.lax.scan(add, zeros, micros)

        grads = mask_frozen(grads, freeze, state.step)
        updates, opt = optimizer.update(grads, state.opt, state.params)
        params = optax.apply_updates(state.params, mask_frozen(updates, freeze, state.step))
        ema = jax.tree.map(lambda e, p: e + (1 - ema_decay) * (p - e), rounding.loaded(state.ema), params)
        ema_dtype = jax.tree.leaves(state.ema)[0].dtype.name
        ema = rounding.stored(ema, ema_dtype, jax.random.fold_in(key, 1))

        by_mode = {
            "ce_by_mode": metrics.pop("ce_by_mode") / losses.by_mode(und["weight"], und["mode"], modes),
            "mse_by_mode": metrics.pop("mse_by_mode") / losses.by_mode(noised, gen["mode"], modes),
        }
        metrics |= by_mode | {
            "grad_norm": optax.tree.norm(grads),
            "lr": schedule(state.step),
            "tokens/und": jnp.sum(und["position"] >= 0),
            "tokens/gen": jnp.sum(gen["position"] >= 0),
            "tokens/ce": counts[0],
            "tokens/mse": counts[1],
            "tokens/vit": jnp.sum(batch["vit"]["position"] >= 0),
            "pairs": visible_pairs(und) + visible_pairs(gen),
        }
        return TrainState(state.step + 1, params, ema, opt), metrics

    whole = NamedSharding(mesh, PartitionSpec())
    compiled = jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(shaped.shardings, None, batch_shardings(mesh)),
        out_shardings=(shaped.shardings, whole),
    )
    return Step(compiled, mesh)


def visible_pairs(stream: dict) -> jax.Array:
    """(query, key) pairs of the keys in ``stream``, float32: a batch of long rows has more than int32 can count."""
    queries = jnp.where(stream["position"] >= 0, stream["end"] - stream["start"], 0)
    return jnp.sum(queries.astype(jnp.float32))
