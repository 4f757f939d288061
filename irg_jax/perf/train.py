"""The training step on rows of samples of the mode ``improving_full_learning``, of the average published length.

A sample is a prompt (66 tokens), the first thinking (194), the first image (clean latents and ViT), the second thinking
(258) and the noised latents of the second image; images are as large as the config's transforms allow. Every row has as
many samples as its budgets allow; where they allow none, texts are shorter.
"""

import dataclasses
import functools
import resource
import sys
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from irg_jax.core.chips import mfu
from irg_jax.core.tree import count_weights
from irg_jax.models.vae.factory import make_vae
from irg_jax.perf.synthetic import make_batch
from irg_jax.perf.timing import seconds
from irg_jax.sharding.batches import batch_shardings, local_rows, replicate, shard_batch
from irg_jax.sharding.mesh import make_mesh
from irg_jax.training import losses
from irg_jax.training.config import StageConfig
from irg_jax.training.flops import train_step_flops
from irg_jax.training.program import build_program
from irg_jax.training.random_streams import stream_key
from irg_jax.training.state import FrozenParams


def train(config: StageConfig, repeats: int) -> dict[str, Any]:
    """Seconds, tokens/s, FLOPs and memory of a step, and where its time goes.

    Raises:
      ConfigError: the budgets of a row are too small for a sample.
    """
    run = Run(config)
    first_step, step = seconds(run.step, repeats)
    forward, backward = run.measure_passes(repeats)
    counts = {name: float(run.metrics[f"tokens/{name}"]) for name in ("und", "gen", "vit")}
    flops = train_step_flops(config.model, **counts, pairs=float(run.metrics["pairs"]))
    utilisation = mfu(flops, step, jax.devices()[0].device_kind, run.mesh.size)
    return {
        "weights": count_weights(run.state.params),
        "devices": run.mesh.size,
        "attention": config.execution.on(jax.default_backend()).attention,
        "rows": config.data.batch_size,
        "tokens": run.tokens,
        "tokens, generation": int(counts["gen"]),
        "visible pairs": int(run.metrics["pairs"]),
        "first step, compiling, s": first_step,
        "step, s": step,
        "forward, s": forward,
        "backward, s": backward,
        "update, s": step - forward - backward,
        "tokens/s": run.tokens / step,
        "model GFLOP per step": flops / 1e9,
        "model GFLOP/s": flops / step / 1e9,
        **({} if utilisation is None else {"MFU": utilisation}),
        "peak memory, GiB": _peak_bytes() / 2**30,
    }


class Run:
    """A state with random weights, a batch on the devices, and the step that updates it.

    Attributes:
      mesh: of the config.
      state: after the latest step.
      metrics: of the latest step.
    """

    def __init__(self, config: StageConfig):
        self.mesh = make_mesh(config.mesh)
        self._model = config.model
        local = local_rows(self.mesh, config.data.batch_size, jax.process_index())
        self._batch = shard_batch(make_batch(config), batch_shardings(self.mesh), local)
        one_mode = dataclasses.replace(config.data, mixture=config.data.mixture[:1])
        program = build_program(dataclasses.replace(config, data=one_mode), self.mesh, jax.default_backend())
        self._spec, self._step = program.spec, program.step
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), self._spec.base)
        vae = make_vae(config.model.vae, rngs=nnx.Rngs(params=0))
        self._frozen = FrozenParams(replicate(vae, self.mesh), zeros)
        self.state, self.metrics = self._spec.init(0), dict[str, Any]()

    def step(self) -> dict:
        """Takes a step and returns its metrics."""
        self.state, self.metrics = self._step(self.state, self._frozen, self._batch)
        return self.metrics

    @property
    def tokens(self) -> int:
        """Tokens in the batch, padding not counted."""
        return int(self.metrics["tokens/und"] + self.metrics["tokens/gen"])

    def measure_passes(self, repeats: int) -> tuple[float, float]:
        """Seconds of the forward pass, and those that the backward pass adds."""
        draws = losses.draw_flow(functools.partial(stream_key, 0), self._batch, self._model, 1.0)
        posterior = losses.draw_posterior(stream_key(0, "posterior"), self._batch, self._model)

        def loss(params: nnx.State, frozen: FrozenParams, batch: dict) -> jax.Array:
            model = nnx.merge(self._spec.graphdef, params, frozen.base)
            x0 = losses.latent_tokens(frozen.vae, self._model.latent_patch, batch, posterior)
            token = losses.token_losses(model, batch, x0, draws)
            return jnp.sum(token.ce) + jnp.sum(token.mse)

        def gradient_norm(*arguments: Any) -> jax.Array:
            return optax.tree.norm(jax.grad(loss)(*arguments))

        arguments = (self.state.params, self._frozen, self._batch)
        with jax.set_mesh(self.mesh):
            forward, both = (
                seconds(functools.partial(jax.jit(f), *arguments), repeats)[1] for f in (loss, gradient_norm)
            )
        return forward, both - forward


def _peak_bytes() -> int:
    """Peak memory of the first device; on a CPU of this process, which includes the compiler."""
    stats = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if stats is not None:
        return stats["peak_bytes_in_use"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
