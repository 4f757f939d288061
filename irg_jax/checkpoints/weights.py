"""The weights of a run: finds its latest checkpoint and restores the weights directly into their shards."""

import os
from typing import Any, NamedTuple, TypeVar

import jax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core.config.files import from_json
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, as_path, retry
from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.models.lora import LoRAConfig, abstract_factors, merge
from irg_jax.models.transformer import abstract_model
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules, state_shardings, with_shardings

T = TypeVar("T")


class SavedStage(NamedTuple):
    """A stage, or a converted folder, with a saved checkpoint.

    Attributes:
      folder: holds ``checkpoints``, ``tokenizer`` and, for models from BAGEL, ``bagel``.
      step: its latest checkpoint.
      config: as saved with it; a converted folder has only the sections that sampling needs.
    """

    folder: AnyPath
    step: int
    config: ConfigDict

    def section(self, name: str, kind: type[T]) -> T:
        """A section of the config, typed. Raises ConfigError where it is missing or wrong."""
        return dataclass_from_mapping(kind, self.config.get(name, {}), name)

    @property
    def model(self) -> ModelConfig:
        """The architecture."""
        return self.section("model", ModelConfig)

    @property
    def lora(self) -> LoRAConfig | None:
        """The LoRA config it was trained with, if any."""
        return self.section("lora", LoRAConfig) if self.config.get("lora") else None


def open_stage(run: str | os.PathLike[str]) -> SavedStage:
    """Opens ``run`` itself if it has a checkpoint, else its last stage that has one.

    Args:
      run: a run of ``irg_jax.train``, one of its stages, or a folder written by ``irg_jax.convert``; or the URL of one.

    Raises:
      UserError: no checkpoint in ``run``, a damaged one, or one written by another version of irg_jax.
      StorageError: the storage went on answering with errors.
    """
    run = as_path(run)
    folders = retry(lambda: _folders_with_checkpoints(run), f"{run}: cannot be read")
    for folder in folders:
        with Checkpointer(folder / "checkpoints", read_only=True, alone=True) as checkpoints:
            step = checkpoints.latest_step()
            if step is not None:
                return SavedStage(folder, step, from_json(checkpoints.restore_meta(step)["config"]))
    raise UserError(f"{run}: no checkpoint here; give a run of irg_jax.train that has saved one, or a converted folder")


def _folders_with_checkpoints(run: AnyPath) -> list[AnyPath]:
    inside = sorted(run.iterdir(), reverse=True) if run.is_dir() else []
    return [folder for folder in (run, *inside) if (folder / "checkpoints").is_dir()]


def read_ema(run: str | os.PathLike[str], abstract: Any, *, alone: bool = False) -> Any:
    """Restores the EMA weights of the latest checkpoint in a folder, directly into their shards.

    Args:
      run: a folder with ``checkpoints``, or its URL.
      abstract: shapes with shardings; weights saved in another dtype are cast to its dtypes.
      alone: this process restores for itself, on its own devices, rather than all processes together.

    Raises:
      UserError: no checkpoint, one of another config, or a damaged one.
      StorageError: the storage went on answering with errors.
    """
    with Checkpointer(as_path(run) / "checkpoints", read_only=True, alone=alone) as checkpoints:
        return checkpoints.restore(abstract={"ema": abstract})["ema"]


def model_weights(stage: SavedStage, mesh: Mesh | None = None) -> nnx.State:
    """The EMA weights of a stage for a model without LoRA layers, in the compute dtype.

    LoRA updates are merged into the base weights.

    Args:
      stage: the stage.
      mesh: of devices of this process, over which the weights are sharded; by default all of them.

    Raises:
      UserError: a damaged checkpoint, or a missing checkpoint of the LoRA base weights.
    """
    model, dtype = stage.model, stage.section("execution", ExecutionConfig).dtype
    abstract = _sharded(abstract_model(model)[1], mesh)
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding), abstract)
    lora = stage.lora
    if lora is None:
        return read_ema(stage.folder, abstract, alone=True)
    base = read_ema(open_stage(stage.config.init_from).folder, abstract, alone=True)
    factors = lora_factors(stage, lora, mesh)
    return jax.jit(lambda base, factors: merge(base, factors, lora), donate_argnums=0)(base, factors)


def lora_factors(stage: SavedStage, lora: LoRAConfig, mesh: Mesh | None = None) -> nnx.State:
    """The EMA of the LoRA factors of a stage, float32, sharded as in ``model_weights``."""
    return read_ema(stage.folder, _sharded(abstract_factors(stage.model, lora), mesh), alone=True)


def _sharded(abstract: Any, mesh: Mesh | None) -> Any:
    mesh = mesh or make_mesh(MeshConfig(), jax.local_devices())
    return with_shardings(abstract, state_shardings(abstract, mesh, ShardingRules()))
