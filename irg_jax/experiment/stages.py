"""Runs an experiment: its stages in order, then samples for held-out prompts and the report."""

import logging
from pathlib import Path

from jax.sharding import AbstractMesh, AxisType

from irg_jax.core.config.schema import resolve
from irg_jax.experiment import held_out
from irg_jax.experiment.config import EvaluateConfig, ExperimentConfig
from irg_jax.experiment.run_folder import RunRecord, claim
from irg_jax.reporting.build import build_report
from irg_jax.sharding import processes
from irg_jax.sharding.mesh import AXES, axis_sizes, check_slices, make_mesh
from irg_jax.training.config import StageConfig
from irg_jax.training.hooks.profile import Profile
from irg_jax.training.program import check_mesh
from irg_jax.training.trainer import train
from irg_jax.worlds.shapes.prepare import prepare


def check(
    config: StageConfig | ExperimentConfig, devices: int | None = None, slices: int = 1
) -> dict[str, dict[str, int]]:
    """Checks that every stage can be laid out on the devices, without data and before anything is allocated.

    Args:
      config: as parsed.
      devices: number of devices of another machine; those of this one if not given.
      slices: of a pod, that these devices are in.

    Returns:
      devices along each axis of the mesh, by stage.

    Raises:
      ConfigError: a mesh that does not make that number of devices, or that does not divide a batch or a model.
    """
    meshes: dict[str, dict[str, int]] = {}
    for name, stage in _stages(config):
        mesh = make_mesh(stage.mesh) if devices is None else _mesh_elsewhere(stage, devices, slices)
        check_mesh(stage, mesh)
        meshes[name] = dict(mesh.shape)
    return meshes


def run(config: StageConfig | ExperimentConfig, workdir: Path, profile: range | None = None) -> None:
    """Runs one stage, or all stages of an experiment, then samples and reports.

    The same call again resumes where it stopped.

    Args:
      config: as parsed; ``{workdir}`` in its values is filled in here.
      workdir: folder of the run. A single stage trains in it, the stages of an experiment in folders of their names.
      profile: steps of each stage that are traced.

    Raises:
      UserError: before the first stage starts, where one of them cannot be trained on these devices or the folder
        belongs to another run; later, whatever the user can put right.
    """
    check(config)
    resolved = resolve(config, workdir)
    processes.run_on_primary(lambda: claim(workdir, config), "the run's folder")
    record = RunRecord(workdir)

    for name, stage in _stages(resolved):
        folder = workdir / name if isinstance(resolved, ExperimentConfig) else workdir
        with record.phase("data"):
            processes.run_on_primary(lambda data=stage.data: prepare(data), "data")  # type: ignore[misc]
        hooks = [Profile(profile, folder / "profile")] if profile else []
        with record.phase(name):
            train(stage, folder, name, hooks=hooks, about=record.describe())

    if isinstance(resolved, ExperimentConfig):
        _evaluate(resolved.evaluate, folder, workdir, record)


def _mesh_elsewhere(config: StageConfig, devices: int, slices: int) -> AbstractMesh:
    sizes = axis_sizes(config.mesh, devices)
    check_slices(sizes, slices)
    return AbstractMesh(tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _stages(config: StageConfig | ExperimentConfig) -> list[tuple[str, StageConfig]]:
    return sorted(config.stages.items()) if isinstance(config, ExperimentConfig) else [("train", config)]


def _evaluate(config: EvaluateConfig, trained: Path, workdir: Path, record: RunRecord) -> None:
    with record.phase("generate"):
        held_out.generate(trained, config, workdir / "samples")
        processes.wait_for_all("samples")
    with record.phase("report"):
        processes.run_on_primary(lambda: build_report(workdir), "report")
    logging.info("report: %s", workdir / "report.html")
