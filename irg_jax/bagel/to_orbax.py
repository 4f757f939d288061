"""From a published checkpoint to a folder that trains and samples like a run's."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from irg_jax import config as configs
from irg_jax.bagel import autoencoder, check, companions, folder, names, orbax_item, tensor_file
from irg_jax.bagel import config as bagel_config
from irg_jax.bagel.names import Slot
from irg_jax.bagel.orbax_item import Recipe, Region
from irg_jax.bagel.tensor_file import CODES, DTYPES, Tensor
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.training.optimizer import weight_name
from irg_jax.training.state import graph_of

WEIGHT_FILES = ("ema", "model")  # a BAGEL folder's, the preferred one first


class Source(Protocol):
    """Where weights come from."""

    def dtype(self, slot: Slot) -> np.dtype:
        """The type of a published weight."""

    def rows(self, slot: Slot, first: int, last: int) -> np.ndarray:
        """Rows of a published weight, in its published shape."""


class FileSource:
    """Weights as they stand in files under their published keys.

    Args:
      tensors: by key, checked against the table.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._tensors = tensors
        self.not_finite: dict[str, None] = {}

    def dtype(self, slot: Slot) -> np.dtype:
        """The type in the file."""
        return DTYPES[self._tensors[slot.key].dtype]

    def rows(self, slot: Slot, first: int, last: int) -> np.ndarray:
        """Reads rows; remembers the key in ``not_finite`` where they hold NaN or infinity."""
        values = tensor_file.read_rows(self._tensors[slot.key], first, last)
        if not tensor_file.finite(values):
            self.not_finite[slot.key] = None
        return values


def convert(source: Path, target: Path, *, overwrite: bool) -> None:
    """Converts a BAGEL folder.

    Args:
      source: the folder as published.
      target: gets ``checkpoints/00000000`` with the weights as stored under ``ema``; ``bagel`` with all other files of
        the source and the headers of its weight files; ``tokenizer``.
      overwrite: whether a target that is there may be replaced.

    Raises:
      UserError: all that is wrong with the source, or a target that cannot be made.
    """
    weights = folder.find_weights(source, WEIGHT_FILES)
    model_section = bagel_config.read(source)
    model = ModelConfig.from_mapping(model_section)
    problems = check.table_problems(weights.tensors, model)
    if problems:
        raise UserError(f"{source}: its weights are not those that its config describes: {'; '.join(problems)}")
    bagel_config.check_tokenizer(source, model, bagel_config.read_json(source / "llm_config.json"))
    if (source / folder.AUTOENCODER).exists():
        check.require_autoencoder(source / folder.AUTOENCODER, autoencoder.config_of(source))
    else:
        logging.info("%s: has no %s; copy it there before training or sampling", source, folder.AUTOENCODER)
    problems, kept = check.position_problems(weights.tensors, model)
    if weights.tensors[names.EMBEDDING].dtype == "F32":
        model_section["dtype"] = "float32"
    reader = FileSource(weights.tensors)
    with folder.replacing(target, overwrite=overwrite, sources=[source]) as partial:
        folder.require_space(partial, size_of(source))
        beside = partial / companions.NAME
        folder.copy_companions(source, beside, weights.files)
        headers = {file.path.name: file.header for file in weights.files}
        (beside / folder.LAYOUT).write_text(json.dumps(headers), encoding="utf-8")
        if kept:
            save_tables(beside / folder.KEPT_TABLES, kept)
        write(partial, target, model_section, reader)
        problems += [f"{key} holds NaN or infinity" for key in reader.not_finite]
        if problems:
            raise UserError(f"{source}: {'; '.join(problems)}")


def write(partial: Path, target: Path, model_section: Mapping[str, Any], source: Source) -> None:
    """Writes the checkpoint and the tokenizer of a converted folder, whose ``bagel`` folder is already there.

    Args:
      partial: where.
      target: where it will be.
      model_section: of the config.
      source: of the weights, read once and in pieces.
    """
    folder.copy_tokenizer(partial / companions.NAME, partial / "tokenizer")
    model = ModelConfig.from_mapping(model_section)
    by_weight: dict[str, list[Slot]] = {}
    for slot in names.slots(model).values():
        by_weight.setdefault(slot.row.ours, []).append(slot)
    progress = _Progress(
        sum(source.dtype(slot).itemsize * int(np.prod(slot.shape)) for slot in names.slots(model).values())
    )

    def recipe(path: tuple, leaf: Any) -> Recipe:
        slots = by_weight[weight_name(path)]
        dtype = source.dtype(slots[0])
        chunk = orbax_item.chunk_shape(leaf.shape, dtype.itemsize, slots[0].row.stacked)
        return Recipe(leaf.shape, dtype, chunk, lambda: progress.watch(_pieces(slots, chunk, source)))

    tree = jax.tree_util.tree_map_with_path(recipe, graph_of(model)[1])
    config = bagel_config.run_config(model_section, str(target.absolute() / "tokenizer"))
    orbax_item.save(partial / "checkpoints", tree, {"config": configs.to_json(config)})


def save_tables(path: Path, tables: Mapping[str, np.ndarray]) -> None:
    """Writes small arrays as a safetensors file."""
    header = tensor_file.make_header({key: (CODES[x.dtype], x.shape) for key, x in tables.items()}, None)
    file = tensor_file.parse_table(path, header)
    with tensor_file.Writer([file]) as writer:
        for key, values in tables.items():
            writer.put(file.tensors[key], values, 0)


def size_of(source: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in source.rglob("*") if path.is_file())


def _pieces(slots: Sequence[Slot], chunk: tuple[int, ...], source: Source) -> Iterable[tuple[Region, np.ndarray]]:
    for slot in slots:
        # Rows of the file lie along our last axis where the weight is transposed, else along our first but the layers.
        axis = -1 if slot.row.transposed else len(chunk) - len(slot.shape)
        row_bytes = int(np.prod(slot.shape[1:])) * source.dtype(slot).itemsize
        for first, last in tensor_file.steps(slot.shape[0], row_bytes, multiple=chunk[axis]):
            rows = source.rows(slot, first, last)
            inner = (slice(None), slice(first, last)) if slot.row.transposed else (slice(first, last),)
            layer = () if slot.layer is None else (slot.layer,)
            yield (*layer, *inner), rows.T if slot.row.transposed else rows


class _Progress:
    """Says how far a long conversion is, at every tenth of it."""

    def __init__(self, total: int):
        self._total, self._done = total, 0

    def watch(self, pieces: Iterable[tuple[Region, np.ndarray]]) -> Iterable[tuple[Region, np.ndarray]]:
        for region, block in pieces:
            yield region, block
            before, self._done = self._done, self._done + block.nbytes
            if self._total >= 10**9 and before * 10 // self._total < self._done * 10 // self._total:
                logging.info("%.1f of %.1f GB", self._done / 1e9, self._total / 1e9)
