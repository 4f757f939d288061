"""Exports LoRA weights: merged into the base weights, or as an adapter in the format of the PEFT library."""

import json
import logging
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy
from flax import nnx

from irg_jax.checkpoints.bagel import names
from irg_jax.checkpoints.weights import SavedStage, lora_factors, model_weights
from irg_jax.checkpoints.weights_folder import write_weights
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import UserError
from irg_jax.core.tree import weight_name
from irg_jax.models.lora import LoRAConfig


def require_lora(stage: SavedStage) -> LoRAConfig:
    """The LoRA config of a stage. Raises UserError if it was trained without LoRA."""
    if stage.lora is None:
        raise UserError(f"{stage.folder}: was trained without LoRA; use irg_jax.convert instead")
    return stage.lora


def write_merged(stage: SavedStage, target: Path, dtype: str = "float32") -> None:
    """Writes the merged weights as a folder like that of a converted checkpoint.

    Args:
      stage: a stage trained with LoRA.
      target: a new folder.
      dtype: of the weights; in bfloat16, updates below half a step between two numbers are lost.
    """
    weights = model_weights(stage, dtype=dtype)
    config = stage.config.copy_and_resolve_references()
    with config.unlocked():
        config.lora = None
    write_weights(target, weights, to_json(config), tokenizer_folder=stage.folder / "tokenizer", assets_of=stage.folder)
    logging.info("%s: merged weights", target)


def write_adapter(stage: SavedStage, target: Path) -> None:
    """Writes ``adapter_model.safetensors`` and ``adapter_config.json`` with the published names of the layers.

    Args:
      stage: a stage trained with LoRA.
      target: a new folder.
    """
    lora = require_lora(stage)
    factors = lora_factors(stage, lora)
    tensors: dict[str, np.ndarray] = {}
    for path, value in jax.tree_util.tree_leaves_with_path(factors, is_leaf=lambda x: isinstance(x, nnx.Variable)):
        layer, _, factor = weight_name(path).rpartition(".")
        row, array = names.ROWS[f"{layer}.kernel"], np.asarray(value.get_value())
        for i, matrix in enumerate(array if row.stacked else [array]):
            module = row.published.format(layer=i).removesuffix(".weight")
            # PEFT's A is [rank, in] and its B [out, rank].
            key = f"base_model.model.{module}.{factor.replace('lora_a', 'lora_A').replace('lora_b', 'lora_B')}.weight"
            tensors[key] = np.ascontiguousarray(matrix.T)
    modules = sorted({key.removeprefix("base_model.model.").rsplit(".lora_", 1)[0] for key in tensors})
    adapter_config = {
        "peft_type": "LORA",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": modules,
        "bias": "none",
    }
    target.mkdir(parents=True)
    safetensors.numpy.save_file(tensors, target / "adapter_model.safetensors", metadata={"format": "pt"})
    (target / "adapter_config.json").write_text(json.dumps(adapter_config, indent=1), encoding="utf-8")
    logging.info("%s: adapter of %d layers, rank %d", target, len(modules), lora.rank)
