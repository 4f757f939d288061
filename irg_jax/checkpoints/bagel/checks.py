"""Checks the files of a BAGEL folder: every key exactly once, every shape as configured, every value finite."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from irg_jax.checkpoints.bagel import names, tensor_file, vae
from irg_jax.checkpoints.bagel.tensor_file import DTYPES, Tensor
from irg_jax.core.errors import UserError
from irg_jax.models.config import FluxVAEConfig, ModelConfig

_MAX_LISTED = 4  # layers with the same problem that are still listed one by one


def table_problems(tensors: Mapping[str, Tensor], model: ModelConfig) -> list[str]:
    """Differences between these tensors and the weights of a model, by names, shapes and dtypes alone.

    Args:
      tensors: by published key.
      model: the architecture that the folder's config describes.
    """
    slots = names.slots(model)
    shapes = {key: slot.shape for key, slot in slots.items()}
    shapes |= {key: (side * side, size) for key, (side, size) in names.fixed_tables(model).items()}
    found = differences(tensors, shapes)
    for row in names.TABLE:
        layers = [key for key, slot in slots.items() if slot.row is row and key in tensors]
        dtypes = sorted({tensors[key].dtype for key in layers})
        if len(dtypes) > 1:
            problem = f"is {' and '.join(dtypes)}, must be the same dtype in all layers"
            found.append((row.published.format(layer="*"), problem))
    return grouped(found)


def differences(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, str]]:
    """(key, problem) for every tensor that is missing, unexpected, or of another shape or an unsupported dtype.

    Args:
      tensors: by key.
      shapes: expected shapes, by key.
    """
    found = [(key, "is missing") for key in shapes if key not in tensors]
    found += [(key, "is not a weight of this model") for key in tensors if key not in shapes]
    for key in (key for key in shapes if key in tensors):
        tensor = tensors[key]
        if tensor.shape != shapes[key]:
            found.append((key, f"has shape {_text(tensor.shape)}, the config says {_text(shapes[key])}"))
        elif tensor.dtype not in DTYPES:
            found.append((key, f"has dtype {tensor.dtype}, supported are {', '.join(DTYPES)}"))
    return found


def require_vae(path: Path, config: FluxVAEConfig) -> None:
    """Raises a UserError unless a file has exactly the weights of a VAE, by names, shapes and dtypes alone."""
    problems = differences(tensor_file.read_header(path).tensors, vae.published_shapes(config))
    if problems:
        raise UserError(f"{path}: is not the VAE that its config describes: {'; '.join(map(' '.join, problems))}")


def position_problems(tensors: Mapping[str, Tensor], model: ModelConfig) -> tuple[list[str], dict[str, np.ndarray]]:
    """Compares the fixed sin-cos position tables with their formula.

    Returns:
      the problems; and the tables that differ from the formula only by rounding of the last bits, as stored.
    """
    problems, kept = [], {}
    for key, (side, size) in names.fixed_tables(model).items():
        stored = tensor_file.read_rows(tensors[key], 0, side * side)
        exact = names.fixed_table(side, size).astype(stored.dtype)
        if stored.tobytes() == exact.tobytes():
            continue
        # A table that was computed in single precision, or averaged, differs in its last few bits.
        tolerance = {2: 2.0**-7, 4: 1e-4}[stored.dtype.itemsize]
        difference = np.abs(stored.astype(np.float32) - exact.astype(np.float32)).max()
        if difference <= tolerance:
            kept[key] = stored
        else:
            problems.append(f"{key} is not the fixed sin-cos table: off by up to {difference:.2g}")
    return problems, kept


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor contains neither NaN nor infinity; reads it in blocks."""
    blocks = tensor_file.row_blocks(tensor.shape[0], tensor.row_size * DTYPES[tensor.dtype].itemsize)
    return all(tensor_file.all_finite(tensor_file.read_rows(tensor, first, last)) for first, last in blocks)


def grouped(found: Iterable[tuple[str, str]]) -> list[str]:
    """One line per problem; a problem that many layers share is one line for all of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for key, problem in found:
        groups.setdefault((_pattern(key), problem), []).append(key)
    lines = []
    for (pattern, problem), keys in groups.items():
        if len(keys) > _MAX_LISTED:
            lines.append(f"{pattern} {problem} (in {len(keys)} layers)")
        else:
            lines += [f"{key} {problem}" for key in keys]
    return lines


def patterns(keys: Iterable[str]) -> list[str]:
    """The keys with ``*`` for the layer index, without duplicates."""
    return list(dict.fromkeys(map(_pattern, keys)))


def _pattern(key: str) -> str:
    return re.sub(r"\.layers\.\d+\.", ".layers.*.", key)


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"
