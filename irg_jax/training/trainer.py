"""Trains one stage, from its config to its last checkpoint."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from irg_jax.checkpoints.bagel import assets
from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.checkpoints.weights import read_ema
from irg_jax.core.config.files import to_json
from irg_jax.core.storage import as_path
from irg_jax.core.tree import count_weights
from irg_jax.data import factory, pipeline, tokenizer
from irg_jax.data.packing import layout
from irg_jax.sharding import processes
from irg_jax.sharding.batches import abstract_batch, batch_shardings, local_rows, replicate, shard_batch
from irg_jax.sharding.mesh import make_mesh
from irg_jax.sharding.signals import Signals
from irg_jax.training import loop
from irg_jax.training.config import StageConfig
from irg_jax.training.hooks.log import Log, StopOnNonFinite
from irg_jax.training.hooks.save import Save
from irg_jax.training.hooks.validate import Validate
from irg_jax.training.hooks.watch import Watch
from irg_jax.training.objective import InterleavedLoss, MakeLoss
from irg_jax.training.program import Program, build_program
from irg_jax.training.progress import Progress
from irg_jax.training.state import FrozenParams, StateSpec, TrainState
from irg_jax.training.step import Step
from irg_jax.training.writers import open_writers


def train(
    config: StageConfig,
    workdir: Path,
    label: str,
    *,
    make_loss: MakeLoss = InterleavedLoss,
    hooks: Sequence[loop.Hook] = (),
    about: dict[str, str] | None = None,
) -> TrainState:
    """Trains one stage to its last step, resuming from the latest checkpoint in ``workdir`` if there is one.

    Args:
      config: of the stage, with ``{workdir}`` filled in.
      workdir: folder of the stage.
      label: name of the stage in log lines.
      make_loss: makes what is minimised.
      hooks: more that happens beside training, ahead of the checkpoints.
      about: texts that describe the run, for the metric writers.

    Returns:
      the last state.

    Raises:
      UserError: whatever the user can put right, from the config to a loss that is not finite.
      StorageError: the storage failed more often than it was tried again.
      KeyboardInterrupt: Ctrl-C or SIGTERM, after the state is saved.
    """
    # --- mesh and step
    mesh = make_mesh(config.mesh)
    program = build_program(config, mesh, jax.default_backend(), make_loss)
    spec = program.spec
    logging.info("%s: %s weights on %d device(s)", label, f"{count_weights(spec.abstract.params):,}", mesh.size)

    # --- data: each process builds the rows that its devices hold
    batch_size = config.data.batch_size
    rows = factory.make_packed_rows(config.data, config.model.geometry, length=config.steps * batch_size)
    local = local_rows(mesh, batch_size, jax.process_index())
    batches = pipeline.batches(rows, batch_size=batch_size, offsets=local.rows, threads=config.data.threads)
    shardings = batch_shardings(mesh)
    processes.run_on_primary(lambda: _copy_assets(config, workdir), "assets")

    with Checkpointer(
        workdir / "checkpoints",
        keep=config.checkpoint.keep,
        keep_every=config.checkpoint.keep_every,
        best=config.checkpoint.best,
    ) as checkpoints:
        # --- state: of the latest checkpoint, else from the EMA weights of init_from, else from scratch
        latest = checkpoints.latest_step()
        if latest is not None:
            state = _restore(checkpoints, latest, spec, batches)
            logging.info("%s: resuming from step %d", label, latest)
        elif config.init_from and config.lora is None:
            state = spec.init_from_params(read_ema(as_path(config.init_from), spec.abstract.params))
            logging.info("%s: starting from the EMA weights of %s", label, config.init_from)
        else:
            state = spec.init(config.seed)
        base = spec.base if config.lora is None else read_ema(as_path(config.init_from), spec.base)
        frozen = FrozenParams(replicate(assets.open_vae(config.model.vae, workdir), mesh), base)

        step = _compile(program, config, frozen, mesh, label)

        # --- what happens beside: metrics, checks, validation, checkpoints
        first = latest or 0
        writer = None
        if processes.is_primary():
            writer = open_writers(workdir, resume_step=latest, wandb_project=config.log.wandb, run_name=workdir.name)
            for name, text in {**(about or {}), "config": f"```\n{to_json(config)}\n```"}.items():
                writer.write_text(name, text)
        validate = Validate(config, program, mesh, frozen, workdir, writer)
        meta = {"config": to_json(config), "oversize": {mode: len(keys) for mode, keys in rows.oversize.items()}}

        def save(step: int, state: TrainState) -> None:
            checkpoints.save(
                step,
                params=state.params,
                ema=state.ema,
                opt=state.opt,
                iterator=batches,
                meta=meta,
                metrics=validate.latest,
            )

        def records(step: int) -> list[str]:
            return [key for row in range((step - 1) * batch_size, step * batch_size) for key in rows.keys(row)]

        # --- loop
        return loop.run(
            step,
            state,
            frozen,
            lambda: shard_batch(next(batches), shardings, local),
            range(first + 1, config.steps + 1),
            hooks=[
                StopOnNonFinite(config.optim.skip_nonfinite, records),
                Log(config, rows.modes, mesh.size, Progress(config.steps, label=label, start_step=first), writer),
                Watch(config.log.stall_factor),
                *hooks,
                validate,
                Save(config.checkpoint, config.steps, save),
            ],
            signals=Signals(mesh),
        )


def _compile(program: Program, config: StageConfig, frozen: FrozenParams, mesh: Mesh, label: str) -> Step:
    """Compiles the step on all processes before any of them runs it: collectives wait half a minute for a late one."""
    spec = layout.batch_spec(config.data.batch_size, factory.make_budgets(config.data, config.model.geometry))
    start = time.monotonic()
    logging.info("%s: compiling the step …", label)
    step = program.step.compile(program.spec.abstract, frozen, abstract_batch(spec, mesh))
    processes.wait_for_all("the compiled step")
    logging.info("%s: compiled in %.1f s", label, time.monotonic() - start)
    return step


def _copy_assets(config: StageConfig, workdir: Path) -> None:
    """Makes the run's folder complete without the folders that it started from."""
    tokenizer.copy(config.data.tokenizer, workdir / "tokenizer")
    assets.copy(config.init_from, workdir)


def _restore(checkpoints: Checkpointer, step: int, spec: StateSpec, batches: Any) -> TrainState:
    abstract = {"params": spec.abstract.params, "ema": spec.abstract.ema, "opt": spec.abstract.opt}
    restored = checkpoints.restore(step, abstract=abstract, iterator=batches)
    return TrainState(jax.device_put(np.int32(step), spec.shardings.step), **restored)
