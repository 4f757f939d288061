"""From a run's folder to a sampler."""

from pathlib import Path
from typing import Any

import jax
import optax
from flax import nnx

from irg_jax import config as configs
from irg_jax.bagel import companions
from irg_jax.data import setup
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.models.lora import LoRAConfig, merge
from irg_jax.sampling import settings
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sampling.settings import Sampling
from irg_jax.training import sharding
from irg_jax.training.checkpoint import Checkpointer, read_ema
from irg_jax.training.state import graph_of, shape_state, with_shardings

_ALL_DEVICES = {"data": 1, "fsdp": -1, "tensor": 1}


def stage_of(run: Path) -> Path:
    """The folder with the checkpoints to use: ``run`` itself, or its last stage that has saved one.

    Raises:
      UserError: no checkpoint below ``run``.
    """
    for folder in (run, *sorted(run.glob("*"), reverse=True)):
        if (folder / "checkpoints").is_dir():
            with Checkpointer(folder / "checkpoints", read_only=True) as checkpoints:
                if checkpoints.latest_step() is not None:
                    return folder
    raise UserError(f"{run}: no checkpoint here; give the folder of a run of irg_jax.train that has saved one")


def sampler(run: str | Path, preset: str = "", **changes: object) -> Sampler:
    """A sampler with the EMA weights of a run's latest checkpoint, spread over all devices in the compute type.

    Args:
      run: the folder of a run, of one of its stages, or of ``irg_jax.convert``.
      preset: one of ``settings.PRESETS``, in place of the run's own times and guidance.
      changes: values that replace those of the run's ``sampling`` section, such as ``temperature=0.3`` or
        ``turn1={"text_scale": 2.0}``.

    Raises:
      UserError: no checkpoint, a damaged one, or a tokenizer that is not the run's.
    """
    folder = stage_of(Path(run))
    with Checkpointer(folder / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest_step() or 0
        config = configs.from_json(checkpoints.restore_meta(step)["config"])
    model = ModelConfig.from_mapping(config.model).on(jax.default_backend())
    with config.unlocked():
        config.data.tokenizer = str(folder / "tokenizer")
    return Sampler(
        graph_of(model)[0],
        weights(folder, config),
        autoencoder=companions.open_autoencoder(model.autoencoder, folder),
        vocabulary=setup.vocabulary(config.data, model),
        settings=Sampling.from_mapping(
            settings.merged(settings.merged(config.sampling, settings.preset(preset)), changes)
        ),
        origin=Origin(str(folder), step),
    )


def weights(folder: Path, config: Any) -> nnx.State:
    """The EMA weights of a stage for an unwrapped model, with the updates of LoRA added where it trained with them.

    Args:
      folder: of the stage.
      config: as saved with its checkpoint.
    """
    model, mesh, rules = ModelConfig.from_mapping(config.model), sharding.make_mesh(_ALL_DEVICES), sharding.Rules()
    _, abstract = graph_of(model)
    abstract = with_shardings(abstract, sharding.state_shardings(abstract, mesh, rules))
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, model.dtype, sharding=x.sharding), abstract)
    if "lora" not in config:
        return read_ema(folder, abstract)
    wrapper = LoRAConfig.from_mapping(config.lora)
    base = read_ema(stage_of(Path(config.init.ema)), abstract)
    factors = read_ema(folder, shape_state(model, optax.identity(), mesh, rules, wrapper).abstract.ema)
    return jax.jit(lambda base, factors: merge(base, factors, wrapper), donate_argnums=0)(base, factors)
