"""Loads a sampler from a run folder."""

from pathlib import Path

import jax

from irg_jax.checkpoints.bagel import assets
from irg_jax.checkpoints.weights import model_weights, open_stage
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.data.config import ImageSizeConfig, ProcessorConfig
from irg_jax.data.factory import make_processor
from irg_jax.models.config import ExecutionConfig
from irg_jax.models.transformer import abstract_model
from irg_jax.sampling.config import SamplingConfig, merge_nested, preset_values
from irg_jax.sampling.sampler import Origin, Sampler


def load_sampler(run: str | Path, preset: str = "", **changes: object) -> Sampler:
    """A sampler with the EMA weights of a run's latest checkpoint, sharded over all devices in the compute dtype.

    Args:
      run: the folder of a run, of one of its stages, or of ``irg_jax.convert``.
      preset: one of ``config.PRESETS``, which replaces the run's own timesteps and guidance.
      changes: values that replace those of the run's ``sampling`` section, such as ``temperature=0.3`` or
        ``turn1={"text_scale": 2.0}``.

    Raises:
      UserError: no checkpoint, a damaged one, a tokenizer that is not the run's, an unknown preset, or a key that
        ``sampling`` does not have.
    """
    stage = open_stage(Path(run))
    model = stage.model
    execution = stage.section("execution", ExecutionConfig).on(jax.default_backend())
    sizes = {name: stage.config.data[name] for name in ("vae_image", "vit_image")}
    images = {name: dataclass_from_mapping(ImageSizeConfig, values, f"data.{name}") for name, values in sizes.items()}
    values = merge_nested(merge_nested(stage.config.sampling, preset_values(preset)), changes)
    return Sampler(
        abstract_model(model, execution)[0],
        model_weights(stage),
        vae=assets.open_vae(model.vae, stage.folder),
        processor=make_processor(ProcessorConfig(str(stage.folder / "tokenizer"), **images), model.geometry),
        config=dataclass_from_mapping(SamplingConfig, values, "sampling"),
        origin=Origin(str(stage.folder), stage.step),
    )
