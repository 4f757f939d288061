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
from irg_jax.core.tree import weight_name
from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.models.lora import LoRAConfig, abstract_factors, merge_weight, updates_by_weight
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


def model_weights(stage: SavedStage, mesh: Mesh | None = None, dtype: str | None = None) -> nnx.State:
    """The EMA weights of a stage for a model without LoRA layers.

    LoRA updates are merged into the base weights in float32.

    Args:
      stage: the stage.
      mesh: of devices of this process, over which the weights are sharded; by default all of them.
      dtype: of the result; by default the compute dtype.

    Raises:
      UserError: a damaged checkpoint, or a missing checkpoint of the LoRA base weights.
    """
    result_dtype = dtype or stage.section("execution", ExecutionConfig).dtype
    lora = stage.lora
    updates = {} if lora is None else updates_by_weight(lora_factors(stage, lora, mesh), lora)

    def restored(path: tuple, x: Any) -> jax.ShapeDtypeStruct:
        restored_dtype = "float32" if weight_name(path) in updates else result_dtype
        return jax.ShapeDtypeStruct(x.shape, restored_dtype, sharding=x.sharding)

    abstract = jax.tree_util.tree_map_with_path(restored, _sharded(abstract_model(stage.model)[1], mesh))
    if lora is None:
        return read_ema(stage.folder, abstract, alone=True)
    base = read_ema(open_stage(stage.config.init_from).folder, abstract, alone=True)
    paths, weights = zip(*jax.tree_util.tree_leaves_with_path(base), strict=True)
    tree, weights = jax.tree.structure(base), list(weights)
    del base  # one weight at a time, so that the float32 ones are never held beside all results
    for i, name in enumerate(map(weight_name, paths)):
        if name in updates:
            weights[i] = merge_weight(weights[i], updates[name], result_dtype)
    return jax.tree.unflatten(tree, weights)


def lora_factors(stage: SavedStage, lora: LoRAConfig, mesh: Mesh | None = None) -> nnx.State:
    """The EMA of the LoRA factors of a stage, float32, sharded as in ``model_weights``."""
    return read_ema(stage.folder, _sharded(abstract_factors(stage.model, lora), mesh), alone=True)


def _sharded(abstract: Any, mesh: Mesh | None) -> Any:
    mesh = mesh or make_mesh(MeshConfig(), jax.local_devices())
    return with_shardings(abstract, state_shardings(abstract, mesh, ShardingRules()))
