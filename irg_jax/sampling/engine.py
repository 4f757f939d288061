"""Loads a sampler from a run folder."""

import os
from collections.abc import Mapping

import jax

from irg_jax.checkpoints.bagel import assets
from irg_jax.checkpoints.weights import SavedStage, model_weights, open_stage
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.data.config import ImageSizeConfig, ProcessorConfig
from irg_jax.data.factory import make_processor
from irg_jax.models.config import ExecutionConfig
from irg_jax.models.transformer import abstract_model
from irg_jax.sampling.config import SamplingConfig, merge_nested, preset_values
from irg_jax.sampling.flow_step import FlowStep, euler_step
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sharding.mesh import MeshConfig, make_mesh


def load_sampler(
    run: str | os.PathLike[str],
    preset: str = "",
    *,
    step: int | None = None,
    mesh: MeshConfig | None = None,
    flow_step: FlowStep = euler_step,
    **changes: object,
) -> Sampler:
    """A sampler with the EMA weights of a run's checkpoint, in the compute dtype, on this process's devices.

    With several processes, each loads a sampler of its own; none of them waits for another one.

    Args:
      run: the folder of a run, of one of its stages, of one of their checkpoints, or of ``irg_jax.convert``.
      preset: one of ``config.PRESETS``, which replaces the run's own timesteps and guidance.
      step: of the checkpoint; the latest if not given.
      mesh: of the devices of this process. By default it has the run's axis tensor if that divides them, and all
        others on fsdp: the meshes of training are made for longer rows and other machines.
      flow_step: from one time point of an image to the next.
      changes: values that replace those of the run's ``sampling`` section, such as ``temperature=0.3`` or
        ``turn1={"text_scale": 2.0}``.

    Raises:
      UserError: no checkpoint, a damaged one, a tokenizer that is not the run's, an unknown preset, a key that
        ``sampling`` does not have, or a mesh that these devices or the weights cannot have.
    """
    stage = open_stage(run, step)
    model = stage.model
    execution = stage.section("execution", ExecutionConfig).on(jax.default_backend())
    sizes = {name: stage.config.data[name] for name in ("vae_image", "vit_image")}
    images = {name: dataclass_from_mapping(ImageSizeConfig, values, f"data.{name}") for name, values in sizes.items()}
    config = sampling_config(stage, preset, changes)  # before the weights, which take minutes
    processor = make_processor(ProcessorConfig(str(stage.folder / "tokenizer"), **images), model.geometry)
    devices = make_mesh(mesh or _default_mesh(stage), jax.local_devices())
    return Sampler(
        abstract_model(model, execution)[0],
        model_weights(stage, devices),
        vae=assets.open_vae(model.vae, stage.folder),
        processor=processor,
        config=config,
        origin=Origin(str(stage.folder), stage.step),
        mesh=devices,
        flow_step=flow_step,
    )


def sampling_config(stage: SavedStage, preset: str, changes: Mapping[str, object]) -> SamplingConfig:
    """The section sampling of a run with a preset and changes, see ``load_sampler``. Raises UserError likewise."""
    values = merge_nested(merge_nested(stage.config.sampling, preset_values(preset)), changes)
    return dataclass_from_mapping(SamplingConfig, values, "sampling")


def _default_mesh(stage: SavedStage) -> MeshConfig:
    tensor = stage.section("mesh", MeshConfig).tensor if stage.config.get("mesh") else 1
    return MeshConfig(tensor=tensor if tensor > 0 and jax.local_device_count() % tensor == 0 else 1)
