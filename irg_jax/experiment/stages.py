"""Runs an experiment: VAE and ViT alone where it asks for that, its stages in order, then samples and the report."""

import contextlib
import logging
from pathlib import Path

from jax.sharding import AbstractMesh, AxisType

from irg_jax.checkpoints.manager import latest_step
from irg_jax.core.config.schema import resolve
from irg_jax.core.errors import check as check_config
from irg_jax.core.locks import locked
from irg_jax.experiment import controls, held_out, perception
from irg_jax.experiment.config import VAE, VIT, EvaluateConfig, ExperimentConfig
from irg_jax.experiment.measured import read_measured
from irg_jax.experiment.run_folder import RunRecord, claim
from irg_jax.models.config import FluxVAEConfig
from irg_jax.reporting.build import build_report
from irg_jax.reporting.controls import FILE as CONTROLS_FILE
from irg_jax.reporting.load import PERCEPTION_FILE
from irg_jax.sharding import processes
from irg_jax.sharding.mesh import AXES, axis_sizes, check_slices, make_mesh
from irg_jax.training import vae_alone, vit_alone
from irg_jax.training.config import StageConfig
from irg_jax.training.hooks.profile import Profile
from irg_jax.training.interrupt import noticing_ctrl_c
from irg_jax.training.program import check_mesh
from irg_jax.training.trainer import train
from irg_jax.worlds.shapes.prepare import prepare

REPORT = "report.html"  # of an experiment, written last
_VIT_FOLDER = f"{{workdir}}/{VIT}"  # as ``init_from`` of the first stage


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
      ConfigError: a mesh that does not make that number of devices, or that does not divide a batch or a model; a ViT
        that is trained alone and then not used, or a VAE without weights.
    """
    if isinstance(config, ExperimentConfig) and config.vit is not None:
        first, stage = _stages(config)[0]
        unused = f"{stage.init_from!r} leaves the ViT unused that config.{VIT} trains; set it to {_VIT_FOLDER!r}"
        check_config(stage.init_from == _VIT_FOLDER, f"stages.{first}.init_from", unused)
        kind = f"{stage.model.vae.kind!r} has no weights that config.{VAE} could train; set it to 'flux'"
        trained = config.vae is None or isinstance(stage.model.vae, FluxVAEConfig)
        check_config(trained, f"stages.{first}.model.vae.kind", kind)
    meshes: dict[str, dict[str, int]] = {}
    for name, stage in _stages(config):
        mesh = make_mesh(stage.mesh) if devices is None else _mesh_elsewhere(stage, devices, slices)
        check_mesh(stage, mesh)
        meshes[name] = dict(mesh.shape)
    return meshes


def run(
    config: StageConfig | ExperimentConfig,
    workdir: Path,
    profile: range | None = None,
    allow_changes: bool = False,
) -> None:
    """Runs one stage, or all of an experiment, after its VAE and ViT alone where it has them; then samples and reports.

    The same call again resumes where it stopped.

    Args:
      config: as parsed; ``{workdir}`` and ``{package}`` in its values are filled in here.
      workdir: folder of the run. A single stage trains in it, the stages of an experiment in folders of their names.
      profile: steps of each stage that are traced.
      allow_changes: whether the run may resume with another learning rate and the like, or on data that have changed.

    Raises:
      UserError: before the first stage starts, where one of them cannot be trained on these devices, the folder
        belongs to another run, or another process is writing to it; later, whatever the user can put right.
    """
    check(config)
    resolved = resolve(config, workdir)
    stages = _stages(resolved)
    folders = {name: workdir / name if isinstance(resolved, ExperimentConfig) else workdir for name, _ in stages}
    with noticing_ctrl_c(), locked(workdir, "--workdir") if processes.is_primary() else contextlib.nullcontext():
        processes.run_on_primary(lambda: claim(workdir, config, allow_changes), "the run's folder")
        left = [(name, stage) for name, stage in stages if not _is_finished(folders[name], stage, name)]
        if not left and (isinstance(resolved, StageConfig) or _is_evaluated(workdir, resolved)):
            logging.info("finished; nothing is left to do in %s", workdir)
            return
        record = RunRecord(workdir)

        if isinstance(resolved, ExperimentConfig) and resolved.vit is not None:
            processes.run_on_primary(lambda: _train_encoders(resolved, workdir, record), VIT)
        while left:
            name, stage = left.pop(0)
            with record.phase("data"):
                processes.run_on_primary(lambda data=stage.data: prepare(data), "data")  # type: ignore[misc]
            hooks = [Profile(profile, folders[name] / "profile")] if profile else []
            with record.phase(name):
                train(
                    stage,
                    folders[name],
                    name,
                    hooks=hooks,
                    about=record.describe(),
                    later_steps=sum(later.steps for _, later in left),
                    allow_changes=allow_changes,
                )

        if isinstance(resolved, ExperimentConfig):
            processes.run_on_primary(lambda: prepare(stages[-1][1].data), "data")
            _evaluate(resolved.evaluate, folders[stages[-1][0]], workdir, record)


def _is_finished(folder: Path, config: StageConfig, name: str) -> bool:
    step = latest_step(folder)
    if step is None or step < config.steps:
        return False
    logging.info("%s: finished at step %d", name, step)
    return True


def _train_encoders(config: ExperimentConfig, workdir: Path, record: RunRecord) -> None:
    """Trains the VAE and the first stage's ViT alone, those that the config asks for and that are not there yet."""
    _, first = _stages(config)[0]
    assert config.vit is not None
    if vit_alone.is_trained(workdir / VIT):
        return
    with record.phase("data"):
        prepare(first.data)
    if config.vae is not None and not vae_alone.is_trained(workdir / VAE):
        assert isinstance(first.model.vae, FluxVAEConfig)
        with record.phase(VAE):
            vae_alone.train(config.vae, first.model.vae, workdir / VAE)
    with record.phase(VIT):
        vit_alone.train(
            config.vit, first, workdir / VIT, assets_of=workdir / VAE if config.vae else config.vit.init_from
        )


def _is_evaluated(workdir: Path, config: ExperimentConfig) -> bool:
    samples = workdir / "samples"
    steps = [held_out.sampled_step(folder) for folder in samples.iterdir()] if samples.is_dir() else []
    _, last = _stages(config)[-1]
    done = sum(step is not None and step >= last.steps for step in steps)
    measured = (
        (config.evaluate.perception, read_measured(workdir / PERCEPTION_FILE)),
        (config.evaluate.controls, read_measured(workdir / CONTROLS_FILE)),
    )
    complete = all(
        not asked or (found and found.step >= last.steps and found.asked == asked) for asked, found in measured
    )
    return done >= config.evaluate.prompts and complete and (workdir / REPORT).exists()


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
    if config.perception:
        with record.phase("perception"):
            processes.run_on_primary(lambda: perception.measure(trained, config, workdir), "perception")
    if config.controls:
        with record.phase("controls"):
            processes.run_on_primary(lambda: controls.measure(trained, config, workdir), "controls")
    with record.phase("report"):
        processes.run_on_primary(lambda: build_report(workdir), "report")
    logging.info("report: %s", workdir / REPORT)
