"""Trains a model: ``python -m irg_jax.train --config configs/shapes_quickstart.py --workdir DIR``.

The same command again goes on where the run stopped. A config with ``stages`` runs them one after the other, then
generates for held-out prompts and writes the report.
"""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from irg_jax import config as configs
from irg_jax import report
from irg_jax.bagel import companions
from irg_jax.data import pipeline, setup
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.models.lora import LoRAConfig
from irg_jax.sampling import held_out
from irg_jax.sampling.settings import Sampling
from irg_jax.training import distributed, optimizer, program, sharding
from irg_jax.training.checkpoint import Checkpointer, read_ema
from irg_jax.training.flops import train_step_flops
from irg_jax.training.interrupt import Interrupt
from irg_jax.training.metrics import MetricWriter, Progress, mfu
from irg_jax.training.run import RunLog, claim
from irg_jax.training.state import Frozen, Shaped, TrainState, count_weights

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run: checkpoints, metrics, report", required=True)


def main(config: Any) -> None:
    """Runs ``config`` in the folder that the command names."""
    configs.log_plainly()
    if "://" in _WORKDIR.value:
        raise UserError(f"--workdir: {_WORKDIR.value} is no folder; mount the bucket (see launch/README.md)")
    distributed.start()
    run(config, Path(_WORKDIR.value).absolute())


def run(config: Any, workdir: Path) -> None:
    """Runs the stages of ``config``, generates and reports; or runs the one stage that it is.

    Args:
      config: as loaded; ``{workdir}`` in its values is filled in here.
      workdir: folder of the run.
    """
    resolved = configs.resolve(config, workdir)
    for stage in resolved.stages.values() if "stages" in resolved else [resolved]:
        check(stage)
    distributed.once(lambda: claim(workdir, config), "the run's folder")
    log = RunLog(workdir)
    if "stages" not in resolved:
        with log.phase("data"):
            distributed.once(lambda: setup.prepare(resolved.data), "data")
        with log.phase("train"):
            train(resolved, workdir, "train")
        return
    for name, stage in sorted(resolved.stages.items()):
        with log.phase("data"):
            distributed.once(lambda data=stage.data: setup.prepare(data), "data")  # type: ignore[misc]
        with log.phase(name):
            train(stage, workdir / name, name)
    if jax.process_count() > 1:
        logging.info("%s: trained; generate and report from one process", workdir)
        return
    with log.phase("generate"):
        held_out.generate(workdir / name, resolved.evaluate, workdir / "samples")
    with log.phase("report"):
        report.build_report(workdir)
    logging.info("report: %s", workdir / "report.html")


def check(config: Any) -> None:
    """Refuses a stage that cannot be run, before the first one starts.

    Raises:
      UserError: by the key that is to blame.
    """
    ModelConfig.from_mapping(config.model)
    if "lora" in config:
        LoRAConfig.from_mapping(config.lora)
        configs.require(bool(config.init.ema), "init.ema", "lora trains beside given weights; give the run they are in")
    Sampling.from_mapping(config.sampling)
    optimizer.learning_rate(config.optim, config.steps)
    mesh = sharding.make_mesh(config.mesh)
    program.check_rows(config, mesh)
    setup.check(config.data)


def train(config: Any, workdir: Path, label: str) -> None:
    """Trains one stage to its last step, from the latest checkpoint in ``workdir`` where there is one.

    Args:
      config: resolved and flat.
      workdir: folder of the stage.
      label: its name in progress lines.

    Raises:
      UserError: whatever the user can put right, from the config to a non-finite loss.
      KeyboardInterrupt: Ctrl-C or SIGTERM, after the state is saved.
    """
    # --- mesh and model
    mesh = sharding.make_mesh(config.mesh)
    model = ModelConfig.from_mapping(config.model).on(jax.default_backend())
    shaped, step_fn = program.build(config, model, mesh, modes=len(config.data.mixture))
    logging.info("%s: %s weights on %d device(s)", label, f"{count_weights(shaped.abstract.params):,}", mesh.size)

    # --- data
    batch_size = config.data.batch_size
    rows = setup.packed_rows(config.data, model, length=config.steps * batch_size)
    batches = pipeline.batches(
        rows,
        batch_size=batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=config.data.threads,
    )

    distributed.once(lambda: _copy_companions(config, workdir), "companions")

    # --- state: resume > EMA of an earlier run or of a converted checkpoint > scratch
    with Checkpointer(workdir / "checkpoints", keep=config.checkpoint.keep) as checkpoints:
        latest = checkpoints.latest_step()
        if latest is not None:
            state = _resume(checkpoints, latest, shaped, batches)
            logging.info("%s: goes on from step %d", label, latest)
        elif config.init.ema and "lora" not in config:
            state = shaped.start(read_ema(Path(config.init.ema), shaped.abstract.params))
            logging.info("%s: starts from the EMA weights of %s", label, config.init.ema)
        else:
            state = shaped.init(config.seed)

        base = read_ema(Path(config.init.ema), shaped.base) if "lora" in config else shaped.base
        autoencoder = sharding.everywhere(companions.open_autoencoder(model.autoencoder, workdir), mesh)
        frozen = Frozen(autoencoder, base)

        # --- loop
        batch_shardings = sharding.batch_shardings(mesh)
        first = latest or 0
        progress = Progress(config.steps, label=label, start_step=first)
        writer = MetricWriter(workdir, resume_step=latest) if distributed.is_first() else None
        meta = {"config": configs.to_json(config), "oversize": {k: len(v) for k, v in rows.oversize.items()}}

        def save(step: int) -> None:
            checkpoints.save(step, params=state.params, ema=state.ema, opt=state.opt, iterator=batches, meta=meta)

        unread, clock = None, time.monotonic()

        def read(step: int, measured: dict, data_seconds: float) -> None:
            nonlocal clock
            values = jax.device_get(measured)
            since, clock = clock, time.monotonic()
            if not np.isfinite(values["loss"] + values["grad_norm"]):
                raise UserError(_non_finite(step, values, rows, batch_size))
            if step % config.log.every == 0 or step == config.steps:
                report_row = _metrics(values, rows.modes, data_seconds, clock - since, config, model, mesh)
                if writer is not None:
                    writer.write(step, report_row)
                logging.info(progress.line(step, report_row))

        with Interrupt() as interrupt:
            for step in range(first + 1, config.steps + 1):
                start = time.monotonic()
                batch = sharding.to_devices(next(batches), batch_shardings)
                data_seconds = time.monotonic() - start
                state, measured = step_fn(state, frozen, batch)
                # A step's figures are read while the next one runs: the device never waits for the host, and no more
                # than two steps are ever under way.
                if unread is not None:
                    read(*unread)
                unread = (step, measured, data_seconds)
                stop = distributed.anyone(interrupt.asked)
                # The iterator moves on only after the save that belongs to it: that is what makes resume exact.
                if step % config.checkpoint.every == 0 or step == config.steps or stop:
                    read(*unread)
                    unread = None
                    save(step)
                    clock = time.monotonic()
                if stop:
                    checkpoints.wait()
                    raise KeyboardInterrupt
        if writer is not None:
            writer.close()


def _copy_companions(config: Any, workdir: Path) -> None:
    """A run's folder stands alone."""
    shutil.copytree(config.data.tokenizer, workdir / "tokenizer", dirs_exist_ok=True)
    companions.copy(config.init.ema, workdir)


def _resume(checkpoints: Checkpointer, step: int, shaped: Shaped, batches: Any) -> TrainState:
    abstract = {"params": shaped.abstract.params, "ema": shaped.abstract.ema, "opt": shaped.abstract.opt}
    restored = checkpoints.restore(step, abstract=abstract, iterator=batches)
    return TrainState(jax.device_put(np.int32(step), shaped.shardings.step), **restored)


def _metrics(
    values: dict, modes: list[str], data_seconds: float, seconds: float, config: Any, model: ModelConfig, mesh: Any
) -> dict[str, float]:
    rows, budgets = config.data.batch_size, config.data.budgets
    scalars = {name: float(value) for name, value in values.items() if np.ndim(value) == 0}
    tokens = {kind: scalars[f"tokens/{kind}"] for kind in ("und", "gen", "vit")}
    by_mode = {}
    for i, mode in enumerate(modes):
        # A mode that this batch does not hold has no loss, not a loss of zero.
        parts = [values[name][i] for name in ("ce_by_mode", "mse_by_mode") if np.isfinite(values[name][i])]
        if parts:
            by_mode[f"loss/{mode}"] = float(sum(parts))
    scalars |= by_mode | {
        "fill/und": tokens["und"] / (rows * budgets.und),
        "fill/gen": tokens["gen"] / (rows * budgets.gen),
        "tokens_per_s": (tokens["und"] + tokens["gen"]) / seconds,
        "time/data": data_seconds,
        "time/compute": max(seconds - data_seconds, 0.0),
    }
    flops = train_step_flops(model, **tokens, pairs=scalars["pairs"])
    share = mfu(flops, seconds, jax.devices()[0].device_kind, mesh.size)
    return scalars if share is None else scalars | {"mfu": share}


def _non_finite(step: int, values: dict, rows: pipeline.PackedRows, batch_size: int) -> str:
    keys = [key for row in range((step - 1) * batch_size, step * batch_size) for key in rows.keys(row)]
    found = ", ".join(f"{name} {float(values[name])}" for name in ("loss", "ce", "mse", "grad_norm"))
    return f"step {step}: {found}; nothing was saved after the last checkpoint; records in the batch: {', '.join(keys)}"


if __name__ == "__main__":
    configs.run(main)
