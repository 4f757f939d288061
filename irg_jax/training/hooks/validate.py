"""Validation while training: losses on held-out rows, and images for fixed prompts, with the EMA weights."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from irg_jax.data import factory, pipeline
from irg_jax.data.config import DropoutConfig
from irg_jax.models.vae.moments import digest
from irg_jax.sharding.batches import batch_shardings, local_rows, shard_batch
from irg_jax.training import losses
from irg_jax.training.config import StageConfig
from irg_jax.training.hooks.images import PromptImages
from irg_jax.training.loop import Hook
from irg_jax.training.program import Program
from irg_jax.training.random_streams import stream_key
from irg_jax.training.state import FrozenParams, TrainState
from irg_jax.training.writers import Writer


class Validate(Hook):
    """Writes ``validation/…`` metrics, and an image for each of the prompts, every so many steps.

    Rows, timesteps and noise are the same every time, and no condition is dropped, so two values of a run differ only
    by what it has learned. All processes compute together, on the mesh of training.

    Args:
      config: of the stage.
      program: of the stage.
      mesh: of the stage.
      frozen: what the loss reads and never updates.
      workdir: folder of the stage, for the images.
      writer: where metrics and images go; None on all processes but the primary one.

    Attributes:
      latest: the metrics of the latest validation, by name.
    """

    def __init__(
        self,
        config: StageConfig,
        program: Program,
        mesh: Mesh,
        frozen: FrozenParams,
        workdir: Path,
        writer: Writer | None,
    ) -> None:
        self._every, self._last_step = config.validation.every, config.steps
        self._writer = writer
        self.latest: dict[str, float] = {}
        if self._every:
            self._losses = HeldOutLosses(config, program, mesh, frozen)
            self._images = PromptImages(config, mesh, frozen, workdir, writer) if config.validation.prompts else None

    def is_due(self, step: int) -> bool:
        """Whether this step is validated."""
        return bool(self._every) and (step % self._every == 0 or step == self._last_step)

    def at_state(self, step: int, state: TrainState) -> None:
        """Validates the EMA weights of the state."""
        self.latest = self._losses(state.ema)
        logging.info("validation at step %d: loss %.4g", step, self.latest["validation/loss"])
        if self._writer is not None:
            self._writer.write(step, self.latest)
        if self._images is not None:
            self._images.write(step, state.ema)


class HeldOutLosses:
    """The losses of given weights on a fixed set of held-out batches.

    Args:
      config: of the stage; ``validation`` says how many batches of which data.
      program: of the stage, whose loss is taken.
      mesh: of the stage.
      frozen: what the loss reads and never updates.

    Raises:
      UserError: no held-out data.
    """

    def __init__(self, config: StageConfig, program: Program, mesh: Mesh, frozen: FrozenParams) -> None:
        data, size = config.data, config.data.batch_size
        sources = config.validation.sources or data.sources
        mixture = tuple(entry for entry in data.mixture if entry.source in sources)
        data = dataclasses.replace(data, sources=sources, mixture=mixture, dropout=DropoutConfig())
        rows = factory.make_packed_rows(
            data, config.model.geometry, split="held_out", vae=digest(frozen.vae) if data.latents else ""
        )
        local, shardings = local_rows(mesh, size, jax.process_index()), batch_shardings(mesh)
        batches = pipeline.Batches(rows, config.validation.batches, batch_size=size, offsets=local.rows)
        self._batches = [shard_batch(batch, shardings, local) for batch in batches]
        # Modes whose data set has no held-out part have no loss here.
        absent = [entry.mode for entry in config.data.mixture if entry not in mixture]
        self._modes, self._frozen, self._mesh = [*rows.modes, *absent], frozen, mesh
        loss, graphdef, seed = program.loss, program.spec.graphdef, config.seed

        def metrics(params: nnx.State, frozen: FrozenParams, batch: dict, index: jax.Array, counts: Any) -> dict:
            model = nnx.merge(graphdef, params, frozen.base)
            x0 = losses.latent_tokens(frozen.vae, config.model.latent_patch, batch)
            draws = loss.draw(lambda stream: stream_key(seed, f"validation_{stream}", index), batch)
            return loss(model, frozen, batch, x0, draws, counts)[1]

        self._metrics = jax.jit(metrics)
        with jax.set_mesh(mesh):
            counts = [jax.jit(loss.count)(batch) for batch in self._batches]
            self._counts = jax.tree.map(lambda *parts: sum(parts), *counts)

    def __call__(self, params: nnx.State) -> dict[str, float]:
        """``validation/loss`` and every other metric of the loss; per mode as ``validation/ce/MODE``."""
        with jax.set_mesh(self._mesh):
            parts = [
                self._metrics(params, self._frozen, batch, np.int32(i), self._counts)
                for i, batch in enumerate(self._batches)
            ]
        values = jax.tree.map(lambda *x: np.sum(np.stack(x), axis=0), *jax.device_get(parts))
        return {f"validation/{name}": value for name, value in named(values, self._modes).items()}


def named(values: dict[str, np.ndarray], modes: Sequence[str]) -> dict[str, float]:
    """Scalars by name; those of ``X_by_mode`` as ``X/MODE``, without the modes that are not in the data."""
    scalars = {name: float(value) for name, value in values.items() if np.ndim(value) == 0}
    for name, value in values.items():
        if name.endswith("_by_mode"):
            kind = name.removesuffix("_by_mode")
            scalars |= {f"{kind}/{mode}": float(x) for mode, x in zip(modes, value, strict=True) if np.isfinite(x)}
    return scalars
