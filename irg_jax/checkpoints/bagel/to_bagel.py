"""Converts a checkpoint, trained or converted, to a folder that the published loader reads."""

import itertools
import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import tensorstore as ts

from irg_jax.checkpoints.bagel import assets, checks, contents, folder, names, orbax_item, tensor_file
from irg_jax.checkpoints.bagel import config as bagel_config
from irg_jax.checkpoints.bagel.contents import INDEX, KEPT_TABLES, LAYOUT, VAE_FILE
from irg_jax.checkpoints.bagel.names import ROWS, WeightSlot
from irg_jax.checkpoints.bagel.tensor_file import CODES, DTYPES, Tensor, TensorFile
from irg_jax.checkpoints.weights import open_stage
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_there, write_json, write_text
from irg_jax.data import tokenizer
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.models.config import ModelConfig

WEIGHTS = ("ema", "params")
DTYPE_CODES = {"bfloat16": "BF16", "float32": "F32"}


class Checkpoint(NamedTuple):
    """The checkpoint to export.

    Attributes:
      stage: folder with ``checkpoints``, and ``bagel`` if it has one.
      step: step of the checkpoint.
      model: the architecture.
      arrays: its weights by our names, opened but not read.
    """

    stage: Path
    step: int
    model: ModelConfig
    arrays: dict[str, ts.TensorStore]


def convert(source: Path, target: Path, *, weights: str, dtype: str | None, overwrite: bool) -> None:
    """Converts a checkpoint to a BAGEL folder.

    Args:
      source: a converted folder, a run of ``irg_jax.train`` or one of its stages; its latest checkpoint is converted.
      target: the folder for the weights, the config files and the tokenizer.
      weights: one of ``WEIGHTS``.
      dtype: one of ``DTYPE_CODES``; None keeps the dtype in which each weight is saved.
      overwrite: whether an existing target may be replaced.

    Raises:
      UserError: no checkpoint, not a BAGEL model, weights that are not finite, or a target that cannot be written.
    """
    checkpoint = open_checkpoint(source, weights)
    published = checkpoint.stage / assets.NAME
    layout = contents.read_layout(published)
    # The target may be inside the run, but not inside the folders that are read.
    read = [checkpoint.stage / name for name in ("checkpoints", assets.NAME, "tokenizer")]
    folder.check_target(target, overwrite=overwrite, sources=read)
    with folder.replacing(target, overwrite=overwrite, sources=read) as partial:
        files = _plan(checkpoint, layout, None if dtype is None else DTYPE_CODES[dtype], partial)
        _write_assets(checkpoint, published, partial, sum(file.nbytes for file in files))
        with tensor_file.Writer(files) as writer:
            tensors = {key: tensor for file in files for key, tensor in file.tensors.items()}
            not_finite = _write_weights(checkpoint, tensors, writer)
            _write_tables(checkpoint.model, published / KEPT_TABLES, tensors, writer)
        if any(file.header != layout.get(file.path.name) for file in files):
            _update_index(partial, files)
        if not_finite:
            problems = checks.grouped((key, "contains NaN or infinity") for key in not_finite)
            raise UserError(f"{checkpoint.stage}: step {checkpoint.step}: {'; '.join(problems)}")


def open_checkpoint(run: Path, weights: str) -> Checkpoint:
    """Opens the latest checkpoint of a converted folder, a run, or one of its stages.

    Args:
      run: the folder.
      weights: one of ``WEIGHTS``.

    Raises:
      UserError: none there, or one without these weights, or of a model that has others.
    """
    stage = open_stage(run)
    step = stage.step
    item = stage.folder / "checkpoints" / f"{step:08d}" / weights
    if not item.is_dir():
        there = [name for name in WEIGHTS if (item.parent / name).is_dir()]
        raise UserError(f"{stage.folder}: step {step} has no {weights}; give --weights {' or '.join(there)}")
    model = stage.model
    try:
        arrays = orbax_item.open_arrays(item)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise UserError(f"{item}: cannot be read, its files may be damaged: {reason}") from error
    shapes = names.shapes(model)
    all_names = sorted(shapes.keys() | arrays.keys())
    differing = [name for name in all_names if name not in arrays or shapes.get(name) != arrays[name].shape]
    if differing:
        raise UserError(f"{item}: its weights are not those of its config: {', '.join(differing)}")
    return Checkpoint(stage.folder, step, model, arrays)


def _write_assets(checkpoint: Checkpoint, published: Path, target: Path, weights: int) -> None:
    """Writes the files beside the weights: the published ones if the run has them, else new ones for its config.

    Args:
      checkpoint: the checkpoint.
      published: the run's folder of published files.
      target: the folder to write to.
      weights: size of the weights that will be written there too.
    """
    if is_there(published):
        if bagel_config.read(published) != checkpoint.model:
            raise UserError(f"{published}: describes another model than the checkpoint beside it")
        in_use = contents.published_weights(published)
        found = contents.look(published, in_use, without=(LAYOUT, KEPT_TABLES))
        folder.require_space(target, weights + found.size)
        contents.copy(published, found, target)
        return
    folder.require_space(target, weights)
    files = checkpoint.stage / "tokenizer"
    for name, values in bagel_config.config_files(checkpoint.model, Tokenizer(files)).items():
        write_json(target / name, values)
    tokenizer.copy(files, target)
    logging.info("%s: not found; copy %s into the new folder", published, VAE_FILE)


def _plan(checkpoint: Checkpoint, layout: Mapping[str, str], dtype: str | None, target: Path) -> list[TensorFile]:
    """Plans the files to write: with the published headers if they are known, else one file with sorted keys."""
    shapes = {key: slot.shape for key, slot in names.slots(checkpoint.model).items()}
    saved = {key: _saved_dtype(checkpoint, slot) for key, slot in names.slots(checkpoint.model).items()}
    try:
        published = [tensor_file.parse_header(target / name, header) for name, header in layout.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        path = checkpoint.stage / assets.NAME / LAYOUT
        raise UserError(f"{path}: is damaged ({error}); remove it, or convert the model again") from error
    original = {key: tensor.dtype for file in published for key, tensor in file.tensors.items()}
    for key, (side, size) in names.fixed_tables(checkpoint.model).items():
        shapes[key] = (side * side, size)
        same_dtype = saved[names.EMBEDDING] == original.get(names.EMBEDDING)
        saved[key] = original[key] if same_dtype else saved[names.EMBEDDING]
    dtypes = saved if dtype is None else dict.fromkeys(saved, dtype)
    if not published:
        header = tensor_file.make_header({key: (dtypes[key], shapes[key]) for key in sorted(shapes)}, {"format": "pt"})
        return [tensor_file.parse_header(target / "ema.safetensors", header)]
    planned = []
    for file in published:
        if any(tensor.dtype != dtypes[key] for key, tensor in file.tensors.items()):
            in_order = sorted(file.tensors, key=lambda key: file.tensors[key].start)
            metadata = tensor_file.metadata_of(file.header)
            header = tensor_file.make_header({key: (dtypes[key], shapes[key]) for key in in_order}, metadata)
            file = tensor_file.parse_header(file.path, header)
        planned.append(file)
    return planned


def _saved_dtype(checkpoint: Checkpoint, slot: WeightSlot) -> str:
    return CODES[checkpoint.arrays[slot.row.ours].dtype.numpy_dtype]


def _write_weights(checkpoint: Checkpoint, tensors: Mapping[str, Tensor], writer: tensor_file.Writer) -> list[str]:
    """Writes every weight; returns the keys of those that contain NaN or infinity."""
    not_finite: dict[str, None] = {}
    slots: dict[str, list[WeightSlot]] = {}
    for slot in names.slots(checkpoint.model).values():
        slots.setdefault(slot.row.ours, []).append(slot)
    for name, array in checkpoint.arrays.items():
        row, target_dtype = ROWS[name], DTYPES[tensors[slots[name][0].key].dtype]
        for index in _blocks(array, row):
            try:
                values = array[index].read().result()
            except (OSError, ValueError) as error:
                raise UserError(f"{checkpoint.stage}: {name} cannot be read, its files may be damaged") from error
            values = values.astype(target_dtype, copy=False)
            layers, *inner = index if row.stacked else (slice(0, 1), *index)
            for i, layer in enumerate(range(layers.start, layers.stop)):
                block = values[i] if row.stacked else values
                slot = slots[name][layer]
                if not tensor_file.all_finite(block):
                    not_finite[slot.key] = None
                starts = [part.start for part in inner]
                if row.transposed:
                    block, starts = block.T, starts[::-1]
                writer.put(tensors[slot.key], block, *starts)
    return list(not_finite)


def _blocks(array: ts.TensorStore, row: names.Row) -> Iterator[tuple[slice, ...]]:
    """Yields blocks that cover an array, each made of whole chunks, and of whole rows of the file if possible."""
    shape, itemsize = array.shape, array.dtype.numpy_dtype.itemsize
    # An axis that is not chunked has chunk length 0.
    chunk = [size or length for size, length in zip(array.chunk_layout.read_chunk.shape or shape, shape, strict=True)]
    step = list(chunk)
    # Grows the last axis of the file first (our second last if the weight is transposed), then its rows.
    inner = list(range(int(row.stacked), len(shape)))
    for axis in inner if row.transposed else inner[::-1]:
        chunk_bytes = math.prod(step) // step[axis] * chunk[axis] * itemsize
        step[axis] = min(max(tensor_file.BLOCK_BYTES // chunk_bytes, 1) * chunk[axis], shape[axis])
    ranges = [range(0, length, width) for length, width in zip(shape, step, strict=True)]
    for starts in itertools.product(*ranges):
        yield tuple(
            slice(first, min(first + width, length)) for first, width, length in zip(starts, step, shape, strict=True)
        )


def _write_tables(model: ModelConfig, kept: Path, tensors: Mapping[str, Tensor], writer: tensor_file.Writer) -> None:
    saved = tensor_file.read_header(kept).tensors if is_there(kept) else {}
    for key, (side, size) in names.fixed_tables(model).items():
        table = tensor_file.read_rows(saved[key], 0, side**2) if key in saved else names.fixed_table(side, size)
        writer.put(tensors[key], table.astype(DTYPES[tensors[key].dtype]), 0)


def _update_index(target: Path, files: list[TensorFile]) -> None:
    """Updates the total size in the index of shards that now have another dtype."""
    for path in target.glob(f"*{INDEX}"):
        index = bagel_config.read_json(path)
        index["metadata"] = {
            **index.get("metadata", {}),
            "total_size": sum(tensor.nbytes for file in files for tensor in file.tensors.values()),
        }
        write_text(path, json.dumps(index, indent=2) + "\n")
