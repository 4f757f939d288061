"""Converts a published checkpoint to a folder that training and sampling can start from, like a run's folder."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from ml_collections import ConfigDict

from irg_jax.checkpoints.bagel import assets, checks, contents, folder, names, orbax_item, tensor_file, vae
from irg_jax.checkpoints.bagel import config as bagel_config
from irg_jax.checkpoints.bagel.contents import KEPT_TABLES, LAYOUT, VAE_FILE
from irg_jax.checkpoints.bagel.names import WeightSlot
from irg_jax.checkpoints.bagel.orbax_item import Index, LazyArray
from irg_jax.checkpoints.bagel.tensor_file import CODES, DTYPES, Tensor
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_there, write_text
from irg_jax.core.tree import weight_name
from irg_jax.data import tokenizer
from irg_jax.models.config import ModelConfig
from irg_jax.models.transformer import abstract_model

WEIGHT_FILES = ("ema", "model")  # a BAGEL folder's, the preferred one first


class Source(Protocol):
    """Reads published weights."""

    def dtype(self, slot: WeightSlot) -> np.dtype:
        """The dtype of a published weight."""

    def rows(self, slot: WeightSlot, first: int, last: int) -> np.ndarray:
        """Rows of a published weight, in its published shape."""


class FileSource:
    """Reads weights from files with their published keys.

    Args:
      tensors: by key, without ``table_problems``.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._tensors = tensors
        self.not_finite: dict[str, None] = {}

    def dtype(self, slot: WeightSlot) -> np.dtype:
        """The dtype in the file."""
        return DTYPES[self._tensors[slot.key].dtype]

    def rows(self, slot: WeightSlot, first: int, last: int) -> np.ndarray:
        """Reads rows; adds the key to ``not_finite`` if they contain NaN or infinity."""
        values = tensor_file.read_rows(self._tensors[slot.key], first, last)
        if not tensor_file.all_finite(values):
            self.not_finite[slot.key] = None
        return values


def convert(source: Path, target: Path, *, overwrite: bool) -> None:
    """Converts a BAGEL folder.

    Args:
      source: the published folder.
      target: the folder for ``checkpoints/00000000`` with the weights as item ``ema``, in the dtype of the source;
        ``bagel`` with all other files of the source and the headers of its weight files; and ``tokenizer``.
      overwrite: whether an existing target may be replaced.

    Raises:
      UserError: all problems of the source, or a target that cannot be written.
    """
    folder.check_target(target, overwrite=overwrite, sources=[source])
    weights = folder.find_weights(source, WEIGHT_FILES)
    found = look(source, weights)
    if found.problems:
        raise UserError("; ".join(found.problems))
    model = bagel_config.read(source)
    problems = checks.table_problems(weights.tensors, model)
    if problems:
        raise UserError(f"{source}: its weights are not those that its config describes: {'; '.join(problems)}")
    bagel_config.check_tokenizer(source, model, bagel_config.read_json(source / "llm_config.json"))
    if is_there(source / VAE_FILE):
        checks.require_vae(source / VAE_FILE, vae.read_config(source))
    else:
        logging.info("%s: has no %s; copy it there before training or sampling", source, VAE_FILE)
    problems, kept = checks.position_problems(weights.tensors, model)
    dtype = compute_dtype(weights.tensors[names.EMBEDDING])
    reader = FileSource(weights.tensors)
    with folder.replacing(target, overwrite=overwrite, sources=[source]) as partial:
        folder.require_space(partial, found.size + sum(file.nbytes for file in weights.files))
        beside = partial / assets.NAME
        contents.copy(source, found, beside)
        headers = {file.path.name: file.header for file in weights.files}
        write_text(beside / LAYOUT, json.dumps(headers))
        if kept:
            save_tables(beside / KEPT_TABLES, kept)
        write(partial, target, model, dtype, reader)
        problems += [f"{key} contains NaN or infinity" for key in reader.not_finite]
        if problems:
            raise UserError(f"{source}: {'; '.join(problems)}")


def look(source: Path, weights: folder.Weights) -> contents.Contents:
    """The files of a published folder that a conversion copies, and those that it leaves out."""
    # Our own files are written anew: a folder that has them was put together from a converted one.
    return contents.look(source, [file.path.name for file in weights.files], without=(LAYOUT, KEPT_TABLES))


def compute_dtype(embedding: Tensor) -> str:
    """The compute dtype for weights in the dtype of ``embedding``: float32 for float32, else bfloat16."""
    return "float32" if embedding.dtype == "F32" else "bfloat16"


def write(partial: Path, target: Path, model: ModelConfig, dtype: str, source: Source) -> None:
    """Writes the checkpoint and the tokenizer of a converted folder that already has its ``bagel`` folder.

    Args:
      partial: the folder to write to.
      target: its final path.
      model: the architecture.
      dtype: compute dtype, for the config.
      source: reads the weights, each once and in blocks.
    """
    tokenizer.copy(partial / assets.NAME, partial / "tokenizer")
    by_weight: dict[str, list[WeightSlot]] = {}
    for slot in names.slots(model).values():
        by_weight.setdefault(slot.row.ours, []).append(slot)
    progress = _Progress(
        sum(source.dtype(slot).itemsize * int(np.prod(slot.shape)) for slot in names.slots(model).values())
    )

    def make_lazy(path: tuple, leaf: Any) -> LazyArray:
        slots = by_weight[weight_name(path)]
        dtype = source.dtype(slots[0])
        chunk = orbax_item.chunk_shape(leaf.shape, dtype.itemsize, slots[0].row.stacked)
        return LazyArray(leaf.shape, dtype, chunk, lambda: progress.report(_blocks(slots, chunk, source)))

    tree = jax.tree_util.tree_map_with_path(make_lazy, abstract_model(model)[1])
    config = bagel_config.run_config(model, str(target.absolute() / "tokenizer"), dtype)
    orbax_item.save(partial / "checkpoints", tree, {"config": to_json(ConfigDict(config))})


def save_tables(path: Path, tables: Mapping[str, np.ndarray]) -> None:
    """Writes small arrays as a safetensors file."""
    header = tensor_file.make_header({key: (CODES[x.dtype], x.shape) for key, x in tables.items()}, None)
    file = tensor_file.parse_header(path, header)
    with tensor_file.Writer([file]) as writer:
        for key, values in tables.items():
            writer.put(file.tensors[key], values, 0)


def _blocks(slots: Sequence[WeightSlot], chunk: tuple[int, ...], source: Source) -> Iterable[tuple[Index, np.ndarray]]:
    for slot in slots:
        # Rows of the file are along our last axis if the weight is transposed, else along the first after the layers.
        axis = -1 if slot.row.transposed else len(chunk) - len(slot.shape)
        row_bytes = int(np.prod(slot.shape[1:])) * source.dtype(slot).itemsize
        for first, last in tensor_file.row_blocks(slot.shape[0], row_bytes, multiple=chunk[axis]):
            rows = source.rows(slot, first, last)
            inner = (slice(None), slice(first, last)) if slot.row.transposed else (slice(first, last),)
            layer = () if slot.layer is None else (slot.layer,)
            yield (*layer, *inner), rows.T if slot.row.transposed else rows


class _Progress:
    """Logs the progress of a long conversion, at every tenth of it."""

    def __init__(self, total: int):
        self._total, self._done = total, 0

    def report(self, blocks: Iterable[tuple[Index, np.ndarray]]) -> Iterable[tuple[Index, np.ndarray]]:
        for index, block in blocks:
            yield index, block
            before, self._done = self._done, self._done + block.nbytes
            if self._total >= 10**9 and before * 10 // self._total < self._done * 10 // self._total:
                logging.info("%.1f of %.1f GB", self._done / 1e9, self._total / 1e9)
