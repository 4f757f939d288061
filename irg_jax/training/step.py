"""The training step: from one state and one batch to the next state."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.sharding.batches import batch_shardings
from irg_jax.training import losses, stochastic_rounding
from irg_jax.training.config import OptimConfig
from irg_jax.training.objective import Loss
from irg_jax.training.optimizer import freeze_steps, mask_frozen
from irg_jax.training.random_streams import stream_key
from irg_jax.training.state import FrozenParams, StateSpec, TrainState


class Step:
    """The compiled step on its mesh: one program, or two where a separate one encodes the images."""

    def __init__(self, update: Any, encode: Any | None, mesh: Mesh):
        self._update, self._encode, self._mesh = update, encode, mesh

    def __call__(self, state: TrainState, frozen: FrozenParams, batch: dict) -> tuple[TrainState, dict]:
        """The next state, and the metrics; the buffers of the given state are donated."""
        with jax.set_mesh(self._mesh):
            if self._encode is None:
                return self._update(state, frozen, batch)
            x0 = self._encode(state.step, frozen, batch)
            return self._update(state, frozen, _without_images(batch), x0)

    def compile(self, state: TrainState, frozen: FrozenParams, batch: dict) -> "Step":
        """The same step, compiled for these shapes and shardings only; nothing runs."""
        *encode, update = [lowered.compile() for lowered in self.lower(state, frozen, batch)]
        return Step(update, encode[0] if encode else None, self._mesh)

    def lower(self, state: TrainState, frozen: FrozenParams, batch: dict) -> list[Any]:
        """The programs for these shapes in the order in which they run, as ``jax.stages.Lowered``."""
        with jax.set_mesh(self._mesh):
            if self._encode is None:
                return [self._update.lower(state, frozen, batch)]
            encode = self._encode.lower(state.step, frozen, batch)
            x0 = jax.ShapeDtypeStruct(
                encode.out_info.shape, encode.out_info.dtype, sharding=batch_shardings(self._mesh)["gen"]
            )
            return [encode, self._update.lower(state, frozen, _without_images(batch), x0)]


def make_step(
    spec: StateSpec,
    config: ModelConfig,
    execution: ExecutionConfig,
    *,
    loss: Loss,
    optim: OptimConfig,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    seed: int,
    mesh: Mesh,
) -> Step:
    """Makes the training step, which is compiled at its first call.

    Args:
      spec: the state's structure and shardings.
      config: the architecture.
      execution: its ``vae_encode`` decides whether a step is one program or two.
      loss: what is minimised; neither packing, nor the number of devices, nor microbatches change it.
      optim: EMA decay, number of microbatches (which divides the rows of a batch), freezing, steps that may be skipped.
      optimizer: of ``optimizer.make_optimizer``.
      schedule: learning rate by step, for the metrics.
      seed: of all that is random.
      mesh: the state's.

    Returns:
      the step, for batches of ``shard_batch``; its metrics are those of the loss and, as scalars, ``grad_norm``,
      ``lr``, the counts of tokens ``tokens/…``, and the visible ``pairs`` of attention.
    """
    freeze = freeze_steps(spec.abstract.params, optim.freeze)

    def encode(step: jax.Array, frozen: FrozenParams, batch: dict) -> jax.Array:
        noise = losses.draw_posterior(stream_key(seed, "posterior", step), batch, config)
        return losses.latent_tokens(frozen.vae, config.latent_patch, batch, noise)

    def loss_fn(
        params: nnx.State, frozen: FrozenParams, batch: dict, x0: jax.Array, draws: Any, counts: Any
    ) -> tuple[jax.Array, dict]:
        return loss(nnx.merge(spec.graphdef, params, frozen.base), frozen, batch, x0, draws, counts)

    def update(state: TrainState, frozen: FrozenParams, batch: dict, x0: jax.Array) -> tuple[TrainState, dict]:
        draws = loss.draw(lambda stream: stream_key(seed, stream, state.step), batch)
        counts = loss.count(batch)

        def metrics_and_gradients(microbatch: tuple[dict, jax.Array, Any]) -> tuple[dict, nnx.State]:
            (_, values), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params, frozen, *microbatch, counts)
            return values, grads

        def accumulate(sums: Any, microbatch: tuple[dict, jax.Array, Any]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, sums, metrics_and_gradients(microbatch)), None

        # Strided, so that every microbatch takes an equal part of every device's rows.
        microbatches = jax.tree.map(
            lambda x: jnp.moveaxis(x.reshape(x.shape[0] // optim.accumulate, optim.accumulate, *x.shape[1:]), 1, 0),
            (batch, x0, draws),
        )
        shapes = jax.eval_shape(metrics_and_gradients, jax.tree.map(lambda x: x[0], microbatches))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        (metrics, grads), _ = jax.lax.scan(accumulate, zeros, microbatches)

        grads = mask_frozen(grads, freeze, state.step)
        updates, opt = optimizer.update(grads, state.opt, state.params)
        params = optax.apply_updates(state.params, mask_frozen(updates, freeze, state.step))
        ema = jax.tree.map(
            lambda e, p: e + (1 - optim.ema_decay) * (p - e), stochastic_rounding.to_float32(state.ema), params
        )
        ema_dtype = jax.tree.leaves(state.ema)[0].dtype.name
        ema = stochastic_rounding.stochastic_round(ema, ema_dtype, stream_key(seed, "round_ema", state.step))
        new = TrainState(state.step + 1, params, ema, opt)

        grad_norm = optax.tree.norm(grads)
        if optim.skip_nonfinite:
            finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(grad_norm)
            kept = jax.tree.map(lambda after, before: jnp.where(finite, after, before), new, state)
            new = kept._replace(step=new.step)
        und, gen = batch["und"], batch["gen"]
        metrics |= {
            "grad_norm": grad_norm,
            "lr": schedule(state.step),
            "tokens/und": jnp.sum(und["position"] >= 0),
            "tokens/gen": jnp.sum(gen["position"] >= 0),
            "tokens/ce": jnp.sum(und["weight"] > 0),
            "tokens/mse": jnp.sum(gen["noised"]),
            "tokens/vit": jnp.sum(batch["vit"]["position"] >= 0),
            "pairs": visible_pairs(und) + visible_pairs(gen),
        }
        return new, metrics

    def step(state: TrainState, frozen: FrozenParams, batch: dict) -> tuple[TrainState, dict]:
        return update(state, frozen, _without_images(batch), encode(state.step, frozen, batch))

    replicated, latents = NamedSharding(mesh, PartitionSpec()), batch_shardings(mesh)["gen"]
    # A batch keeps the shardings that it comes with: what is in it depends on where its images are encoded.
    jit = functools.partial(jax.jit, donate_argnums=0, out_shardings=(spec.shardings, replicated))
    if execution.vae_encode == "in_step":
        return Step(jit(step, in_shardings=(spec.shardings, None, None)), None, mesh)
    return Step(
        jit(update, in_shardings=(spec.shardings, None, None, latents)),
        jax.jit(encode, in_shardings=(replicated, None, None), out_shardings=latents),
        mesh,
    )


def _without_images(batch: dict) -> dict:
    """The parts of a batch that are needed once its images are encoded."""
    return {name: part for name, part in batch.items() if name not in ("images", "moments")}


def visible_pairs(stream: dict) -> jax.Array:
    """Visible (query, key) pairs of the keys in ``stream``, float32: long rows have more than int32 can count."""
    queries = jnp.where(stream["position"] >= 0, stream["end"] - stream["start"], 0)
    return jnp.sum(queries.astype(jnp.float32))
