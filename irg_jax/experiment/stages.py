"""Runs an experiment: its stages in order, then samples for held-out prompts and the report."""

import logging
from pathlib import Path

import jax

from irg_jax.core.config.schema import resolve
from irg_jax.experiment import held_out
from irg_jax.experiment.config import EvaluateConfig, ExperimentConfig
from irg_jax.experiment.run_folder import RunRecord, claim
from irg_jax.reporting.build import build_report
from irg_jax.sharding import processes
from irg_jax.sharding.mesh import make_mesh
from irg_jax.training.config import StageConfig
from irg_jax.training.loop import train
from irg_jax.training.program import check_rows
from irg_jax.worlds.shapes.prepare import prepare


def run(config: StageConfig | ExperimentConfig, workdir: Path) -> None:
    """Runs one stage, or all stages of an experiment, then samples and reports.

    The same call again resumes where it stopped.

    Args:
      config: as parsed; ``{workdir}`` in its values is filled in here.
      workdir: folder of the run. A single stage trains in it, the stages of an experiment in folders of their names.

    Raises:
      UserError: before the first stage starts, where one of them cannot be trained on these devices or the folder
        belongs to another run; later, whatever the user can put right.
    """
    resolved = resolve(config, workdir)
    if isinstance(resolved, ExperimentConfig):
        stages = [(name, workdir / name, stage) for name, stage in sorted(resolved.stages.items())]
    else:
        stages = [("train", workdir, resolved)]

    for _, _, stage in stages:
        mesh = make_mesh(stage.mesh)
        check_rows(stage, mesh)
        processes.check_rows_are_local(mesh)
    processes.run_on_primary(lambda: claim(workdir, config), "the run's folder")
    record = RunRecord(workdir)

    for name, folder, stage in stages:
        with record.phase("data"):
            processes.run_on_primary(lambda data=stage.data: prepare(data), "data")  # type: ignore[misc]
        with record.phase(name):
            train(stage, folder, name)

    if isinstance(resolved, ExperimentConfig):
        _, last_folder, _ = stages[-1]
        _evaluate(resolved.evaluate, last_folder, workdir, record)


def _evaluate(config: EvaluateConfig, trained: Path, workdir: Path, record: RunRecord) -> None:
    if jax.process_count() > 1:
        logging.info("%s: trained; generate and report from one process", workdir)
        return
    with record.phase("generate"):
        held_out.generate(trained, config, workdir / "samples")
    with record.phase("report"):
        build_report(workdir)
    logging.info("report: %s", workdir / "report.html")
