"""The weights of a run: finds its latest checkpoint and restores the weights directly into their shards."""

import hashlib
import os
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core.config.files import from_json
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_hidden
from irg_jax.core.storage import AnyPath, as_path, retry
from irg_jax.core.tree import weight_name
from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.models.lora import LoRAConfig, abstract_factors, merge_weight, updates_by_weight
from irg_jax.models.transformer import abstract_model
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules, state_shardings, with_shardings

T = TypeVar("T")


class Origin(NamedTuple):
    """The weights that a run starts from, or trains beside: kept in its checkpoints.

    Attributes:
      folder: absolute, of the stage or the converted folder.
      step: of its checkpoint.
      digest: of the weights, see ``digest``.
    """

    folder: str
    step: int
    digest: str


class SavedStage(NamedTuple):
    """A stage, or a converted folder, with a saved checkpoint.

    Attributes:
      folder: holds ``checkpoints``, ``tokenizer`` and, for models from BAGEL, ``bagel``.
      step: of the checkpoint.
      config: as saved with it; a converted folder has only the sections that sampling needs.
      base: the weights that a LoRA run was trained beside; None for any other.
    """

    folder: AnyPath
    step: int
    config: ConfigDict
    base: Origin | None

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


def open_stage(run: str | os.PathLike[str], step: int | None = None) -> SavedStage:
    """Opens ``run`` itself if it has a checkpoint, else its last stage that has one.

    Args:
      run: a run of ``irg_jax.train``, one of its stages, the folder of one of their checkpoints, or a folder written by
        ``irg_jax.convert``; or the URL of one.
      step: of the checkpoint; the latest if not given.

    Raises:
      UserError: no checkpoint in ``run``, or none of that step; a damaged one, or one written by another version of
        irg_jax.
      StorageError: the storage went on answering with errors.
    """
    run = as_path(run)
    if run.name.isdigit() and run.parent.name == "checkpoints":
        if step not in (None, int(run.name)):
            raise UserError(f"{run}: is the checkpoint of step {int(run.name)}, not of {step}; give its run's folder")
        run, step = run.parent.parent, int(run.name)
    elif run.name == "checkpoints":
        run = run.parent
    folders = retry(lambda: _folders_with_checkpoints(run), f"{run}: cannot be read")
    there = []
    for folder in folders:
        with Checkpointer(folder / "checkpoints", read_only=True, alone=True) as checkpoints:
            steps = checkpoints.steps()
            there += [f"{saved} in {folder}" for saved in steps]
            if steps and step in (None, *steps):
                chosen = steps[-1] if step is None else step
                meta = checkpoints.restore_meta(chosen)
                config = from_json(meta["config"])
                base = Origin(**meta["origin"]) if meta.get("origin") and config.get("lora") else None
                return SavedStage(folder, chosen, config, base)
    if there:
        raise UserError(f"{run}: no checkpoint of step {step}; there are {', '.join(there)}")
    raise UserError(f"{run}: no checkpoint here; give a run of irg_jax.train that has saved one, or a converted folder")


def _folders_with_checkpoints(run: AnyPath) -> list[AnyPath]:
    inside = sorted(run.iterdir(), reverse=True) if run.is_dir() else []
    visible = (path for path in inside if not is_hidden(path))
    return [folder for folder in (run, *visible) if (folder / "checkpoints").is_dir()]


def digest(weights: Any) -> str:
    """A checksum of weights, the same for any sharding, and for float32 and bfloat16 copies of the same weights."""

    def checksum(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        bits = jax.lax.bitcast_convert_type(x.astype(jnp.bfloat16), jnp.uint16).astype(jnp.uint32)
        # Weighted by their position along every axis, so that rows cannot be exchanged.
        positions = sum((jax.lax.broadcasted_iota(jnp.uint32, x.shape, i) * (2 * i + 1) for i in range(x.ndim)), 1)
        return jnp.sum(bits, dtype=jnp.uint32), jnp.sum(bits * positions, dtype=jnp.uint32)

    sums = jax.device_get(jax.jit(lambda leaves: [checksum(x) for x in leaves])(jax.tree.leaves(weights)))
    return hashlib.blake2b(np.asarray(sums, np.uint32).tobytes(), digest_size=8).hexdigest()


def find_origin(init_from: str, recorded: Origin | None) -> tuple[AnyPath, int]:
    """Folder and step of the weights that a run starts from.

    Args:
      init_from: of the config.
      recorded: of the run's checkpoint, if it has one: its step is taken, and its folder, or ``init_from`` where the
        folder has been moved.

    Raises:
      UserError: no weights there; they have been moved or removed.
    """
    if recorded is None:
        stage = open_stage(init_from)
        return stage.folder, stage.step
    for folder in (as_path(recorded.folder), as_path(init_from)):
        for inner in retry(lambda folder=folder: _folders_with_checkpoints(folder), f"{folder}: cannot be read"):  # type: ignore[misc]
            with Checkpointer(inner / "checkpoints", read_only=True, alone=True) as checkpoints:
                if recorded.step in checkpoints.steps():
                    return inner, recorded.step
    raise UserError(
        f"init_from: the base weights that the run was trained beside, step {recorded.step} of {recorded.folder}, are "
        "not there any more; put them back, or name the folder that has them now"
    )


def check_origin(found: Origin, recorded: Origin) -> None:
    """Raises a UserError unless the weights that were found are those that the run was trained beside."""
    if found.digest != recorded.digest:
        raise UserError(
            f"{found.folder}: its weights of step {found.step} are not those that the run was trained beside, which "
            f"were in {recorded.folder} (checksum {found.digest}, was {recorded.digest}); put those back"
        )


def read_ema(run: str | os.PathLike[str], abstract: Any, *, step: int | None = None, alone: bool = False) -> Any:
    """Restores the EMA weights of a checkpoint in a folder, directly into their shards.

    Args:
      run: a folder with ``checkpoints``, or its URL.
      abstract: shapes with shardings; weights saved in another dtype are cast to its dtypes.
      step: of the checkpoint; the latest if not given.
      alone: this process restores for itself, on its own devices, rather than all processes together.

    Raises:
      UserError: no checkpoint, one of another config, or a damaged one.
      StorageError: the storage went on answering with errors.
    """
    with Checkpointer(as_path(run) / "checkpoints", read_only=True, alone=alone) as checkpoints:
        return checkpoints.restore(step, abstract={"ema": abstract})["ema"]


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
        return read_ema(stage.folder, abstract, step=stage.step, alone=True)
    folder, step = find_origin(stage.config.init_from, stage.base)
    base = read_ema(folder, abstract, step=step, alone=True)
    if stage.base is not None:
        check_origin(Origin(str(folder), step, digest(base)), stage.base)
    names = [weight_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(base)]
    weights, tree = jax.tree.flatten(base)
    del base  # one weight at a time, so that the float32 ones are never held beside all results
    for i, name in enumerate(names):
        if name in updates:
            weights[i] = merge_weight(weights[i], updates[name], result_dtype)
    return jax.tree.unflatten(tree, weights)


def lora_factors(stage: SavedStage, lora: LoRAConfig, mesh: Mesh | None = None) -> nnx.State:
    """The EMA of the LoRA factors of a stage, float32, sharded as in ``model_weights``."""
    return read_ema(stage.folder, _sharded(abstract_factors(stage.model, lora), mesh), step=stage.step, alone=True)


def _sharded(abstract: Any, mesh: Mesh | None) -> Any:
    mesh = mesh or make_mesh(MeshConfig(), jax.local_devices())
    return with_shardings(abstract, state_shardings(abstract, mesh, ShardingRules()))
