"""``--check``: describes a BAGEL folder, counts the weights of each part, and lists every problem."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from irg_jax.checkpoints.bagel import checks, folder, names, tensor_file, to_orbax
from irg_jax.checkpoints.bagel import config as bagel_config
from irg_jax.checkpoints.bagel import vae as bagel_vae
from irg_jax.checkpoints.bagel.contents import VAE_FILE
from irg_jax.core.errors import UserError
from irg_jax.models.config import ModelConfig

# A weight belongs to the first part whose pattern matches its name.
_PARTS = (
    ("understanding expert", r"blocks\.und|und_norm"),
    ("generation expert", r"blocks\.gen|gen_norm"),
    ("embedding and head", r"embedding|lm_head"),
    ("image encoder", r"vit\."),
    ("connector", r"connector\."),
    ("latents and time", r"vae2llm|llm2vae|time\."),
)


def validate_checkpoint(source: Path) -> tuple[list[str], list[str]]:
    """Validates a folder, including that every value is finite.

    Returns:
      lines that describe it, and its problems; a folder without problems converts.
    """
    problems: list[str] = []

    def attempt(step: Callable[[], Any]) -> Any:
        try:
            return step()
        except UserError as error:
            problems.append(str(error))
            return None

    lines: list[str] = []
    model = attempt(lambda: bagel_config.read(source))
    weights = attempt(lambda: folder.find_weights(source, to_orbax.WEIGHT_FILES))
    if model is not None:
        lines += _architecture(model)
    if weights is not None:
        types = sorted({tensor.dtype for tensor in weights.tensors.values()})
        total = sum(tensor.nbytes for tensor in weights.tensors.values()) / 1e9
        files = ", ".join(file.path.name for file in weights.files)
        lines.append(f"weights: {len(weights.tensors):,} tensors, {total:.2f} GB, {' and '.join(types)}, in {files}")
        found_files = attempt(lambda: to_orbax.look(source, weights))
        if found_files is not None:
            lines += [f"not converted: {left.name}: {left}" for left in found_files.left_out]
            problems += found_files.problems
    if model is not None and weights is not None:
        lines += _counts(model)
        found = checks.table_problems(weights.tensors, model)
        problems += found or checks.position_problems(weights.tensors, model)[0]
        problems += checks.grouped(
            (key, "contains NaN or infinity")
            for key, tensor in weights.tensors.items()
            # No weight is a scalar.
            if tensor.dtype in tensor_file.DTYPES and tensor.shape and not checks.is_finite(tensor)
        )
    if model is not None:
        llm = bagel_config.read_json(source / "llm_config.json")
        attempt(lambda: bagel_config.check_tokenizer(source, model, llm))
        attempt(lambda: checks.require_vae(source / VAE_FILE, bagel_vae.read_config(source)))
    return lines, problems


def parts(model: ModelConfig) -> dict[str, int]:
    """Number of weights in each part of a model, by the part's name."""
    counts = {part: 0 for part, _ in _PARTS}
    for name, shape in names.shapes(model).items():
        part = next(part for part, pattern in _PARTS if re.match(pattern, name))
        counts[part] += math.prod(shape)
    return counts


def _architecture(model: ModelConfig) -> list[str]:
    decoder, vit, vae = model.decoder, model.vit, model.vae
    return [
        f"decoder: {decoder.layers} layers, hidden {decoder.hidden}, {decoder.heads} query and {decoder.kv_heads} KV "
        f"heads of {decoder.head_dim}, MLP {decoder.mlp}, vocabulary {decoder.vocab}",
        f"image encoder: {vit.layers} layers used, hidden {vit.hidden}, {vit.heads} heads, MLP {vit.mlp}, "
        f"patches of {vit.patch} pixels, at most {vit.patches_per_side} per side",
        f"VAE: {vae.channels} channels, {vae.downsample} x {vae.downsample} pixels per latent, "
        f"{model.latent_patch} x {model.latent_patch} latents ({model.vae_stride} x {model.vae_stride} pixels) per "
        f"token, at most {model.max_latent_size} tokens per side",
    ]


def _counts(model: ModelConfig) -> list[str]:
    counts = parts(model)
    return [
        "parameters: " + ", ".join(f"{part} {n:,}" for part, n in counts.items()) + f"; total {sum(counts.values()):,}"
    ]
