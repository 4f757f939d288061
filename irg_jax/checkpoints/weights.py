"""The weights of a run: finds its latest checkpoint and restores the weights directly into their shards."""

from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
from flax import nnx
from ml_collections import ConfigDict

from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core.config.files import from_json
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import UserError
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

    folder: Path
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


def open_stage(run: Path) -> SavedStage:
    """Opens ``run`` itself if it has a checkpoint, else its last stage that has one.

    Args:
      run: a run of ``irg_jax.train``, one of its stages, or a folder written by ``irg_jax.convert``.

    Raises:
      UserError: no checkpoint in ``run``, a damaged one, or one written by another version of irg_jax.
    """
    for folder in (run, *sorted(run.glob("*"), reverse=True)):
        if (folder / "checkpoints").is_dir():
            with Checkpointer(folder / "checkpoints", read_only=True) as checkpoints:
                step = checkpoints.latest_step()
                if step is not None:
                    return SavedStage(folder, step, from_json(checkpoints.restore_meta(step)["config"]))
    raise UserError(f"{run}: no checkpoint here; give a run of irg_jax.train that has saved one, or a converted folder")


def read_ema(run: Path, abstract: Any) -> Any:
    """Restores the EMA weights of the latest checkpoint in a folder, directly into their shards.

    Args:
      run: a folder with ``checkpoints``.
      abstract: shapes with shardings; weights saved in another dtype are cast to its dtypes.

    Raises:
      UserError: no checkpoint, one of another config, or a damaged one.
    """
    with Checkpointer(run / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.restore(abstract={"ema": abstract})["ema"]


def model_weights(stage: SavedStage) -> nnx.State:
    """The EMA weights of a stage for a model without LoRA layers, in the compute dtype, sharded over all devices.

    LoRA updates are merged into the base weights.

    Raises:
      UserError: a damaged checkpoint, or a missing checkpoint of the LoRA base weights.
    """
    model, dtype = stage.model, stage.section("execution", ExecutionConfig).dtype
    abstract = _sharded_over_all_devices(abstract_model(model)[1])
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding), abstract)
    lora = stage.lora
    if lora is None:
        return read_ema(stage.folder, abstract)
    base = read_ema(open_stage(Path(stage.config.init_from)).folder, abstract)
    factors = lora_factors(stage, lora)
    return jax.jit(lambda base, factors: merge(base, factors, lora), donate_argnums=0)(base, factors)


def lora_factors(stage: SavedStage, lora: LoRAConfig) -> nnx.State:
    """The EMA of the LoRA factors of a stage, float32, sharded over all devices."""
    return read_ema(stage.folder, _sharded_over_all_devices(abstract_factors(stage.model, lora)))


def _sharded_over_all_devices(abstract: Any) -> Any:
    return with_shardings(abstract, state_shardings(abstract, make_mesh(MeshConfig()), ShardingRules()))
