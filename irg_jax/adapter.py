"""Brings out what LoRA has trained: ``python -m irg_jax.adapter --run RUN --merged DIR --apart DIR``.

``--merged`` makes a folder like that of a converted checkpoint, with the updates added to the weights they were trained
beside; sample from it, train on from it, or bring it to BAGEL's format with ``irg_jax.convert``. ``--apart`` writes the
updates alone, in the format of the PEFT library.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import safetensors.numpy
from absl import flags
from flax import nnx

from irg_jax import config as configs
from irg_jax.bagel import companions, names
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.models.lora import LoRAConfig
from irg_jax.sampling import load
from irg_jax.training import sharding
from irg_jax.training.checkpoint import Checkpointer, read_ema
from irg_jax.training.optimizer import weight_name
from irg_jax.training.state import shape_state

_RUN = flags.DEFINE_string("run", None, "folder of a run with a lora section", required=True)
_MERGED = flags.DEFINE_string("merged", None, "a new folder for the weights with the updates added")
_APART = flags.DEFINE_string("apart", None, "a new folder for the updates alone")


def main() -> None:
    """Writes what is asked for."""
    configs.log_plainly()
    if not (_MERGED.value or _APART.value):
        raise UserError("give --merged DIR, --apart DIR or both")
    run = load.stage_of(Path(_RUN.value))
    with Checkpointer(run / "checkpoints", read_only=True) as checkpoints:
        config = configs.from_json(checkpoints.restore_meta()["config"])
    if "lora" not in config:
        raise UserError(f"{run}: trained without lora; convert it as it is")
    for folder in filter(None, (_MERGED.value, _APART.value)):
        if Path(folder).exists():
            raise UserError(f"{folder}: exists already; choose a new folder")
    if _MERGED.value:
        merged(run, config, Path(_MERGED.value))
    if _APART.value:
        apart(run, config, Path(_APART.value))


def merged(run: Path, config: Any, target: Path) -> None:
    """Writes the merged weights, in the compute type, with all that goes with them.

    Args:
      run: folder of the stage.
      config: as saved with its checkpoint.
      target: a new folder.
    """
    weights = load.weights(run, config)
    alone = config.copy_and_resolve_references()
    with alone.unlocked():
        del alone["lora"]
    target.mkdir(parents=True)
    companions.copy(run, target)
    shutil.copytree(run / "tokenizer", target / "tokenizer")
    with Checkpointer(target / "checkpoints") as checkpoints:
        checkpoints.save_weights(weights, meta={"config": configs.to_json(alone)})
    logging.info("%s: merged weights", target)


def apart(run: Path, config: Any, target: Path) -> None:
    """Writes ``adapter_model.safetensors`` and ``adapter_config.json`` under the published names of the layers.

    Args:
      run: folder of the stage.
      config: as saved with its checkpoint.
      target: a new folder.
    """
    lora, model = LoRAConfig.from_mapping(config.lora), ModelConfig.from_mapping(config.model)
    mesh = sharding.make_mesh({"data": 1, "fsdp": -1, "tensor": 1})
    factors = read_ema(run, shape_state(model, optax.identity(), mesh, sharding.Rules(), lora).abstract.ema)
    tensors: dict[str, np.ndarray] = {}
    for path, value in jax.tree_util.tree_leaves_with_path(factors, is_leaf=lambda x: isinstance(x, nnx.Variable)):
        layer, _, factor = weight_name(path).rpartition(".")
        row, array = names.ROWS[f"{layer}.kernel"], np.asarray(value.get_value())
        for i, one in enumerate(array if row.stacked else [array]):
            module = row.published.format(layer=i).removesuffix(".weight")
            # PEFT's A is [rank, in] and its B [out, rank].
            key = f"base_model.model.{module}.{factor.replace('lora_a', 'lora_A').replace('lora_b', 'lora_B')}.weight"
            tensors[key] = np.ascontiguousarray(one.T)
    modules = sorted({key.removeprefix("base_model.model.").rsplit(".lora_", 1)[0] for key in tensors})
    settings = {
        "peft_type": "LORA",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": modules,
        "bias": "none",
    }
    target.mkdir(parents=True)
    safetensors.numpy.save_file(tensors, target / "adapter_model.safetensors", metadata={"format": "pt"})
    (target / "adapter_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    logging.info("%s: %d updates of rank %d", target, len(modules), lora.rank)


if __name__ == "__main__":
    configs.run(main, takes_config=False)
