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
from irg_jax.checkpoints.space import require_space
from irg_jax.checkpoints.weights import Origin, check_origin, digest, find_origin, read_ema
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import UserError
from irg_jax.core.tree import count_weights
from irg_jax.data import factory, pipeline, tokenizer
from irg_jax.data.packing import layout
from irg_jax.models.vae import moments
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
    later_steps: int = 0,
    allow_changes: bool = False,
) -> TrainState:
    """Trains one stage to its last step, resuming from the latest checkpoint in ``workdir`` if there is one.

    Args:
      config: of the stage, with the placeholders filled in, see ``core.config.schema.resolve``.
      workdir: folder of the stage.
      label: name of the stage in log lines.
      make_loss: makes what is minimised.
      hooks: more that happens beside training, ahead of the checkpoints.
      about: texts that describe the run, for the metric writers.
      later_steps: of the stages after this one, for the time that is left.
      allow_changes: whether a run may resume on data that have changed.

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

    # --- data: every process plans the same rows
    processes.run_on_primary(lambda: _copy_assets(config, workdir), "assets")
    vae: Any = assets.open_vae(config.model.vae, workdir)
    digest_of_vae = moments.digest(vae) if config.data.latents else ""
    rows = factory.make_packed_rows(config.data, config.model.geometry, vae=digest_of_vae)
    processes.check_same("training data", rows.fingerprint)
    if not config.needs_vae:
        vae = moments.EncodedAhead(config.model.vae, digest_of_vae)

    with Checkpointer(
        workdir / "checkpoints",
        keep=config.checkpoint.keep,
        keep_every=config.checkpoint.keep_every,
        best=config.checkpoint.best,
    ) as checkpoints:
        # --- state: of the latest checkpoint, else from the EMA weights of init_from, else from scratch
        latest = checkpoints.latest_step()
        saved = checkpoints.restore_meta(latest) if latest is not None else {}
        base, origin = _open_base(config, spec, saved)
        first_row = 0
        if latest is not None:
            first_row = _resume_data(rows, saved, latest, allow_changes)
            state = _restore(checkpoints, latest, spec)
            logging.info("%s: resuming from step %d", label, latest)
        elif origin is not None and config.lora is None:
            params = read_ema(origin.folder, spec.abstract.params, step=origin.step)
            state = spec.init_from_params(params)
            logging.info("%s: starting from the EMA weights of step %d of %s", label, origin.step, origin.folder)
        else:
            state = spec.init(config.seed)
        require_space(workdir, state, len(checkpoints.steps()))
        frozen = FrozenParams(replicate(vae, mesh), base)

        step = _compile(program, config, frozen, mesh, label)

        # --- what happens beside: metrics, checks, validation, checkpoints
        first, batch_size = latest or 0, config.data.batch_size
        writer = None
        if processes.is_primary():
            writer = open_writers(workdir, resume_step=latest, wandb_project=config.log.wandb, run_name=workdir.name)
            for name, text in {**(about or {}), "config": f"```\n{to_json(config)}\n```"}.items():
                writer.write_text(name, text)
        validate = Validate(config, program, mesh, frozen, workdir, writer)
        meta = {
            "config": to_json(config),
            "oversize": rows.oversize,
            "fingerprint": rows.fingerprint,
            "origin": origin and origin._asdict(),
        }

        def rows_of(step: int) -> range:
            start = first_row + (step - first - 1) * batch_size
            return range(start, start + batch_size)

        def save(step: int, state: TrainState) -> None:
            checkpoints.save(
                step,
                params=state.params,
                ema=state.ema,
                opt=state.opt,
                data=rows.state(rows_of(step).stop),
                meta=meta,
                metrics=validate.latest,
            )

        def records(step: int) -> list[str]:
            return [key for row in rows_of(step) for key in rows.keys(row)]

        # --- loop: each process builds the rows that its devices hold
        local, shardings = local_rows(mesh, batch_size, jax.process_index()), batch_shardings(mesh)
        with pipeline.Batches(
            rows,
            config.steps - first,
            batch_size=batch_size,
            offsets=local.rows,
            first=first_row,
            workers=config.data.workers,
            threads=config.data.threads,
            buffer_gb=config.data.buffer_gb,
        ) as batches:
            return loop.run(
                step,
                state,
                frozen,
                lambda: shard_batch(next(batches), shardings, local),
                range(first + 1, config.steps + 1),
                hooks=[
                    StopOnNonFinite(config.optim.skip_nonfinite, records),
                    Log(
                        config,
                        rows.modes,
                        mesh.size,
                        Progress(config.steps, label=label, start_step=first, later_steps=later_steps),
                        writer,
                    ),
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


def _open_base(config: StageConfig, spec: StateSpec, saved: dict[str, Any]) -> tuple[Any, Origin | None]:
    """The frozen weights beside a LoRA, and where the run's weights come from; both as the run's checkpoint has it."""
    recorded = Origin(**saved["origin"]) if saved.get("origin") else None
    if config.lora is None:
        if recorded is not None or saved or not config.init_from:
            return spec.base, recorded
        folder, step = find_origin(config.init_from, None)
        return spec.base, Origin(str(folder), step, digest="")
    folder, step = find_origin(config.init_from, recorded)
    base = read_ema(folder, spec.base, step=step)
    found = Origin(str(folder), step, digest(base))
    if recorded is not None:
        check_origin(found, recorded)
    return base, found


def _resume_data(rows: pipeline.PackedRows, saved: dict[str, Any], step: int, allow_changes: bool) -> int:
    """The next row of a run; a UserError where the data are not those that it has seen so far."""
    before, found = saved["fingerprint"], rows.fingerprint
    changes = [
        f"{name}: {before.get(name, 'absent')} then, {found.get(name, 'absent')} now"
        for name in sorted(before.keys() | found.keys())
        if before.get(name) != found.get(name)
    ]
    if not changes:
        return rows.resume(saved["data"])
    listed = changes[0] + (f", and {len(changes) - 1} more" if len(changes) > 1 else "")
    if not allow_changes:
        raise UserError(
            f"the data have changed since step {step}: {listed}; some samples would be seen twice and others never: "
            "put them back, start another run with init_from, or go on with --allow_changes"
        )
    logging.warning("the data have changed since step %d: %s; a new plan begins, as --allow_changes says", step, listed)
    return rows.begin_anew(saved["data"])


def _restore(checkpoints: Checkpointer, step: int, spec: StateSpec) -> TrainState:
    abstract = {"params": spec.abstract.params, "ema": spec.abstract.ema, "opt": spec.abstract.opt}
    restored = checkpoints.restore(step, abstract=abstract)
    return TrainState(jax.device_put(np.int32(step), spec.shardings.step), **restored)
