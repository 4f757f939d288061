"""The training step: one batch in, one state on."""

import functools
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
    """The compiled step on its mesh: one program, or two where pictures are encoded ahead."""

    def __init__(self, update: Any, encode: Any | None, mesh: Mesh):
        self._update, self._encode, self._mesh = update, encode, mesh

    def __call__(self, state: TrainState, frozen: Frozen, batch: dict) -> tuple[TrainState, dict]:
        """The next state, and the metrics; the given state is used up."""
        with jax.set_mesh(self._mesh):
            if self._encode is None:
                return self._update(state, frozen, batch)
            x0 = self._encode(state.step, frozen, batch)
            return self._update(state, frozen, _without_pixels(batch), x0)

    def lower(self, state: TrainState, frozen: Frozen, batch: dict) -> list[Any]:
        """The programs for these shapes in the order in which they run, not compiled; see ``jax.stages.Lowered``."""
        with jax.set_mesh(self._mesh):
            if self._encode is None:
                return [self._update.lower(state, frozen, batch)]
            encode = self._encode.lower(state.step, frozen, batch)
            x0 = jax.ShapeDtypeStruct(
                encode.out_info.shape, encode.out_info.dtype, sharding=batch_shardings(self._mesh)["gen"]
            )
            return [encode, self._update.lower(state, frozen, _without_pixels(batch), x0)]

    def programs(self) -> int:
        """How many were compiled so far."""
        return sum(program._cache_size() for program in (self._update, self._encode) if program is not None)


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
    """Makes the training step, which is compiled at its first call.

    The loss is ce_weight·ΣCE/N_CE + mse_weight·ΣMSE/N_MSE with both counts over the global batch, so neither packing,
    nor the number of devices, nor ``accumulate`` changes it.

    Args:
      shaped: the state's structure and shardings.
      config: the model's; its ``encode`` says how many programs a step is.
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

    def key_of(step: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.key(seed), step)

    def encode(step: jax.Array, frozen: Frozen, batch: dict) -> jax.Array:
        noise = losses.draw_posterior(key_of(step), batch, config)
        return losses.latent_tokens(frozen.autoencoder, config.latent_patch, batch, noise)

    def loss_fn(
        params: nnx.State, frozen: Frozen, batch: dict, x0: jax.Array, draws: FlowDraws, totals: tuple
    ) -> tuple[jax.Array, dict]:
        model = nnx.merge(shaped.graphdef, params, frozen.base)
        token = losses.token_losses(model, batch, x0, draws)
        ce, mse = jnp.sum(token.ce) / totals[0], jnp.sum(token.mse) / totals[1]
        loss = ce_weight * ce + mse_weight * mse
        return loss, {
            "loss": loss,
            "ce": ce,
            "mse": mse,
            "ce_by_mode": losses.by_mode(token.ce, batch["und"]["mode"], modes),
            "mse_by_mode": losses.by_mode(token.mse, batch["gen"]["mode"], modes),
        }

    def update(state: TrainState, frozen: Frozen, batch: dict, x0: jax.Array) -> tuple[TrainState, dict]:
        key = key_of(state.step)
        draws = losses.draw_flow(key, batch, config, timestep_shift)
        und, gen = batch["und"], batch["gen"]
        noised = gen["noised"].astype(jnp.float32)
        counts = (jnp.sum(und["weight"] > 0), jnp.sum(noised))
        totals = tuple(jnp.maximum(n, 1).astype(jnp.float32) for n in counts)

        def gradients(micro: tuple[dict, jax.Array, FlowDraws]) -> tuple[dict, nnx.State]:
            (_, values), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params, frozen, *micro, totals)
            return values, grads

        # Strided, so that every microbatch takes an equal part of every device's rows.
        micros = jax.tree.map(
            lambda x: jnp.moveaxis(x.reshape(x.shape[0] // accumulate, accumulate, *x.shape[1:]), 1, 0),
            (batch, x0, draws),
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

    def step(state: TrainState, frozen: Frozen, batch: dict) -> tuple[TrainState, dict]:
        return update(state, frozen, _without_pixels(batch), encode(state.step, frozen, batch))

    whole, rows = NamedSharding(mesh, PartitionSpec()), batch_shardings(mesh)
    compiled = functools.partial(jax.jit, donate_argnums=0, out_shardings=(shaped.shardings, whole))
    if config.encode == "within":
        return Step(compiled(step, in_shardings=(shaped.shardings, None, rows)), None, mesh)
    return Step(
        compiled(update, in_shardings=(shaped.shardings, None, _without_pixels(rows), rows["gen"])),
        jax.jit(encode, in_shardings=(whole, None, rows), out_shardings=rows["gen"]),
        mesh,
    )


def _without_pixels(batch: dict) -> dict:
    """What is left to read once the pictures are encoded."""
    return {name: part for name, part in batch.items() if name != "images"}


def visible_pairs(stream: dict) -> jax.Array:
    """(query, key) pairs of the keys in ``stream``, float32: a batch of long rows has more than int32 can count."""
    queries = jnp.where(stream["position"] >= 0, stream["end"] - stream["start"], 0)
    return jnp.sum(queries.astype(jnp.float32))
