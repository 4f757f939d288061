"""``--check``: what a BAGEL folder is, how many weights each part has, and everything that is wrong with it."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from irg_jax.bagel import autoencoder, check, folder, names, tensor_file, to_orbax
from irg_jax.bagel import config as bagel_config
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig

# The first pattern that a weight's name matches is its part.
_PARTS = (
    ("understanding expert", r"blocks\.und|und_norm"),
    ("generation expert", r"blocks\.gen|gen_norm"),
    ("embedding and head", r"embedding|lm_head"),
    ("image encoder", r"vit\."),
    ("connector", r"connector\."),
    ("latents and time", r"vae2llm|llm2vae|time\."),
)


def look(source: Path) -> tuple[list[str], list[str]]:
    """Looks a folder over, down to every number in it.

    Returns:
      lines that describe it, and its problems, none where it converts.
    """
    problems: list[str] = []

    def attempt(step: Callable[[], Any]) -> Any:
        try:
            return step()
        except UserError as error:
            problems.append(str(error))
            return None

    lines: list[str] = []
    section = attempt(lambda: bagel_config.read(source))
    weights = attempt(lambda: folder.find_weights(source, to_orbax.WEIGHT_FILES))
    model = attempt(lambda: ModelConfig.from_mapping(section)) if section else None
    if model is not None:
        lines += _architecture(model)
    if weights is not None:
        types = sorted({tensor.dtype for tensor in weights.tensors.values()})
        total = sum(tensor.nbytes for tensor in weights.tensors.values()) / 1e9
        files = ", ".join(file.path.name for file in weights.files)
        lines.append(f"weights: {len(weights.tensors):,} tensors, {total:.2f} GB, {' and '.join(types)}, in {files}")
    if model is not None and weights is not None:
        lines += _counts(model)
        found = check.table_problems(weights.tensors, model)
        problems += found or check.position_problems(weights.tensors, model)[0]
        finite = (key for key, tensor in weights.tensors.items() if tensor.dtype in tensor_file.DTYPES)
        problems += check.grouped(
            (key, "holds NaN or infinity") for key in finite if not check.is_finite(weights.tensors[key])
        )
    if model is not None:
        llm = bagel_config.read_json(source / "llm_config.json")
        attempt(lambda: bagel_config.check_tokenizer(source, model, llm))
        attempt(lambda: check.require_autoencoder(source / folder.AUTOENCODER, autoencoder.config_of(source)))
    return lines, problems


def parts(model: ModelConfig) -> dict[str, int]:
    """Weights of each part of a model, by the part's name."""
    counts = {part: 0 for part, _ in _PARTS}
    for name, shape in names.shapes(model).items():
        part = next(part for part, pattern in _PARTS if re.match(pattern, name))
        counts[part] += math.prod(shape)
    return counts


def _architecture(model: ModelConfig) -> list[str]:
    decoder, vit, vae = model.decoder, model.vit, model.autoencoder
    return [
        f"decoder: {decoder.layers} layers, hidden {decoder.hidden}, {decoder.heads} query and {decoder.kv_heads} KV "
        f"heads of {decoder.head_dim}, MLP {decoder.mlp}, vocabulary {decoder.vocab}",
        f"image encoder: {vit.layers} layers are run, hidden {vit.hidden}, {vit.heads} heads, MLP {vit.mlp}, "
        f"patches of {vit.patch} pixels, at most {vit.patches_per_side} a side",
        f"autoencoder: {vae.channels} channels, {vae.downsample} pixels a latent; {model.latent_patch} latents and "
        f"{model.vae_stride} pixels a token's side, at most {model.max_latent_size} tokens a side",
    ]


def _counts(model: ModelConfig) -> list[str]:
    counts = parts(model)
    return [
        "parameters: " + ", ".join(f"{part} {n:,}" for part, n in counts.items()) + f"; in all {sum(counts.values()):,}"
    ]
