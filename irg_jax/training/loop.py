"""The training loop of one stage, from the config to its last checkpoint."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from irg_jax.checkpoints.bagel import assets
from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.checkpoints.weights import read_ema
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import UserError
from irg_jax.core.tree import count_weights
from irg_jax.data import factory, pipeline
from irg_jax.sharding import processes
from irg_jax.sharding.batches import batch_shardings, replicate, shard_batch
from irg_jax.sharding.mesh import make_mesh
from irg_jax.training.config import StageConfig
from irg_jax.training.interrupt import Interrupt
from irg_jax.training.metrics import MetricWriter, Progress, step_metrics
from irg_jax.training.program import build_program
from irg_jax.training.state import FrozenParams, StateSpec, TrainState


def train(config: StageConfig, workdir: Path, label: str) -> None:
    """Trains one stage to its last step, resuming from the latest checkpoint in ``workdir`` if there is one.

    Args:
      config: of the stage, with ``{workdir}`` filled in.
      workdir: folder of the stage.
      label: name of the stage in log lines.

    Raises:
      UserError: whatever the user can put right, from the config to a non-finite loss.
      KeyboardInterrupt: Ctrl-C or SIGTERM, after the state is saved.
    """
    # --- mesh and step
    mesh = make_mesh(config.mesh)
    spec, train_step = build_program(config, mesh, jax.default_backend())
    logging.info("%s: %s weights on %d device(s)", label, f"{count_weights(spec.abstract.params):,}", mesh.size)

    # --- data
    batch_size = config.data.batch_size
    rows = factory.make_packed_rows(config.data, config.model.geometry, length=config.steps * batch_size)
    batches = pipeline.batches(
        rows,
        batch_size=batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=config.data.threads,
    )
    shardings = batch_shardings(mesh)
    processes.run_on_primary(lambda: _copy_assets(config, workdir), "assets")

    with Checkpointer(workdir / "checkpoints", keep=config.checkpoint.keep) as checkpoints:
        # --- state: of the latest checkpoint, else from the EMA weights of init_from, else from scratch
        latest = checkpoints.latest_step()
        if latest is not None:
            state = _restore(checkpoints, latest, spec, batches)
            logging.info("%s: resuming from step %d", label, latest)
        elif config.init_from and config.lora is None:
            state = spec.init_from_params(read_ema(Path(config.init_from), spec.abstract.params))
            logging.info("%s: starting from the EMA weights of %s", label, config.init_from)
        else:
            state = spec.init(config.seed)

        base = spec.base if config.lora is None else read_ema(Path(config.init_from), spec.base)
        frozen = FrozenParams(replicate(assets.open_vae(config.model.vae, workdir), mesh), base)

        # --- metrics and checkpoints
        first_step = latest or 0
        progress = Progress(config.steps, label=label, start_step=first_step)
        writer = MetricWriter(workdir, resume_step=latest) if processes.is_primary() else None
        meta = {"config": to_json(config), "oversize": {mode: len(keys) for mode, keys in rows.oversize.items()}}
        fetched_at = time.monotonic()  # when the metrics of the step before were fetched

        def log_metrics(step: int, metrics: dict, data_seconds: float) -> None:
            nonlocal fetched_at
            values = jax.device_get(metrics)
            since, fetched_at = fetched_at, time.monotonic()
            if not np.isfinite(values["loss"] + values["grad_norm"]):
                raise UserError(_non_finite(step, values, rows, batch_size))
            if step % config.log.every == 0 or step == config.steps:
                row = step_metrics(values, config, rows.modes, data_seconds, fetched_at - since, mesh.size)
                if writer is not None:
                    writer.write(step, row)
                logging.info(progress.line(step, row))

        def save(step: int) -> None:
            checkpoints.save(step, params=state.params, ema=state.ema, opt=state.opt, iterator=batches, meta=meta)

        # --- loop
        in_flight: tuple[int, dict, float] | None = None
        with Interrupt() as interrupt:
            for step in range(first_step + 1, config.steps + 1):
                start = time.monotonic()
                batch = shard_batch(next(batches), shardings)
                data_seconds = time.monotonic() - start
                state, metrics = train_step(state, frozen, batch)
                # The metrics of a step are fetched while the next step runs: the device never waits for the host, and
                # at most two steps are in flight.
                if in_flight is not None:
                    log_metrics(*in_flight)
                in_flight = (step, metrics, data_seconds)
                stop = processes.any_process(interrupt.requested)
                # The iterator advances only after the save that belongs to it: that makes resuming exact.
                if step % config.checkpoint.every == 0 or step == config.steps or stop:
                    log_metrics(*in_flight)
                    in_flight = None
                    save(step)
                    fetched_at = time.monotonic()
                if stop:
                    checkpoints.wait()
                    raise KeyboardInterrupt
        if writer is not None:
            writer.close()


def _copy_assets(config: StageConfig, workdir: Path) -> None:
    """Makes the run's folder complete without the folders that it started from."""
    shutil.copytree(config.data.tokenizer, workdir / "tokenizer", dirs_exist_ok=True)
    assets.copy(config.init_from, workdir)


def _restore(checkpoints: Checkpointer, step: int, spec: StateSpec, batches: Any) -> TrainState:
    abstract = {"params": spec.abstract.params, "ema": spec.abstract.ema, "opt": spec.abstract.opt}
    restored = checkpoints.restore(step, abstract=abstract, iterator=batches)
    return TrainState(jax.device_put(np.int32(step), spec.shardings.step), **restored)


def _non_finite(step: int, values: dict, rows: pipeline.PackedRows, batch_size: int) -> str:
    """The error text of a step whose loss or gradient is not finite."""
    keys = [key for row in range((step - 1) * batch_size, step * batch_size) for key in rows.keys(row)]
    found = ", ".join(f"{name} {float(values[name])}" for name in ("loss", "ce", "mse", "grad_norm"))
    return f"step {step}: {found}; nothing was saved after the last checkpoint; records in the batch: {', '.join(keys)}"
