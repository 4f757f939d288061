"""Holds the files of a BAGEL folder against the table: every key once, every shape right, every number finite."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from irg_jax.bagel import autoencoder, names, tensor_file
from irg_jax.bagel.tensor_file import DTYPES, Tensor
from irg_jax.errors import UserError
from irg_jax.models.config import FluxConfig, ModelConfig

_LISTED = 4  # layers with the same problem that are still named one by one


def table_problems(tensors: Mapping[str, Tensor], model: ModelConfig) -> list[str]:
    """What keeps these tensors from being exactly this model's, from their names, shapes and types alone.

    Args:
      tensors: by published key.
      model: that the folder's config describes.
    """
    slots = names.slots(model)
    shapes = {key: slot.shape for key, slot in slots.items()}
    shapes |= {key: (side * side, size) for key, (side, size) in names.fixed_tables(model).items()}
    found = differences(tensors, shapes)
    for row in names.TABLE:
        stacked = [key for key, slot in slots.items() if slot.row is row and key in tensors]
        types = sorted({tensors[key].dtype for key in stacked})
        if len(types) > 1:
            found.append((row.published.format(layer="*"), f"is {' and '.join(types)}, must be one type in all layers"))
    return grouped(found)


def differences(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, str]]:
    """(key, problem) wherever tensors are not exactly those that are expected.

    Args:
      tensors: by key.
      shapes: that are expected, by key.
    """
    found = [(key, "is missing") for key in shapes if key not in tensors]
    found += [(key, "is no weight of this model") for key in tensors if key not in shapes]
    for key in (key for key in shapes if key in tensors):
        tensor = tensors[key]
        if tensor.shape != shapes[key]:
            found.append((key, f"has shape {_text(tensor.shape)}, the config makes it {_text(shapes[key])}"))
        elif tensor.dtype not in DTYPES:
            found.append((key, f"is of type {tensor.dtype}, supported are {', '.join(DTYPES)}"))
    return found


def require_autoencoder(path: Path, config: FluxConfig) -> None:
    """Raises a UserError unless a file holds exactly the weights of an autoencoder; their numbers are not read."""
    problems = differences(tensor_file.read_table(path).tensors, autoencoder.expected(config))
    if problems:
        raise UserError(
            f"{path}: is not the autoencoder that its config describes: {'; '.join(map(' '.join, problems))}"
        )


def position_problems(tensors: Mapping[str, Tensor], model: ModelConfig) -> tuple[list[str], dict[str, np.ndarray]]:
    """Compares the fixed tables with their formula.

    Returns:
      what is wrong; and the tables that are right but for the rounding of their last bits, as stored.
    """
    problems, kept = [], {}
    for key, (side, size) in names.fixed_tables(model).items():
        stored = tensor_file.read_rows(tensors[key], 0, side * side)
        exact = names.fixed_table(side, size).astype(stored.dtype)
        if stored.tobytes() == exact.tobytes():
            continue
        # A table that was made in single precision, or averaged, differs by a few last bits.
        step = {2: 2.0**-7, 4: 1e-4}[stored.dtype.itemsize]
        difference = np.abs(stored.astype(np.float32) - exact.astype(np.float32)).max()
        if difference <= step:
            kept[key] = stored
        else:
            problems.append(f"{key} is not the fixed sin-cos table: off by up to {difference:.2g}")
    return problems, kept


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds no NaN and no infinity; read in pieces."""
    steps = tensor_file.steps(tensor.shape[0], tensor.row_size * DTYPES[tensor.dtype].itemsize)
    return all(tensor_file.finite(tensor_file.read_rows(tensor, first, last)) for first, last in steps)


def grouped(found: Iterable[tuple[str, str]]) -> list[str]:
    """One text for each problem; where many layers have the same one, one text for all of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for key, problem in found:
        groups.setdefault((_pattern(key), problem), []).append(key)
    texts = []
    for (pattern, problem), keys in groups.items():
        if len(keys) > _LISTED:
            texts.append(f"{pattern} {problem} (in {len(keys)} layers)")
        else:
            texts += [f"{key} {problem}" for key in keys]
    return texts


def patterns(keys: Iterable[str]) -> list[str]:
    """The keys with ``*`` for the number of their layer, each once."""
    return list(dict.fromkeys(map(_pattern, keys)))


def _pattern(key: str) -> str:
    return re.sub(r"\.layers\.\d+\.", ".layers.*.", key)


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "none"
