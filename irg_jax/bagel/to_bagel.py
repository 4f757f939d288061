"""From a checkpoint, converted or trained, to a folder that the published loader reads."""

import itertools
import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import tensorstore as ts

from irg_jax import config as configs
from irg_jax.bagel import check, companions, folder, names, orbax_item, tensor_file
from irg_jax.bagel import config as bagel_config
from irg_jax.bagel.folder import KEPT_TABLES, LAYOUT
from irg_jax.bagel.names import ROWS, Slot
from irg_jax.bagel.tensor_file import CODES, DTYPES, Tensor, TensorFile
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.training.checkpoint import Checkpointer

WEIGHTS = ("ema", "params")
TYPES = {"bfloat16": "BF16", "float32": "F32"}


class Checkpoint(NamedTuple):
    """What is exported.

    Attributes:
      stage: folder with ``checkpoints``, and ``bagel`` where it has one.
      step: number of the checkpoint.
      model: its shape.
      arrays: its weights by our names, not yet read.
    """

    stage: Path
    step: int
    model: ModelConfig
    arrays: dict[str, ts.TensorStore]


def convert(source: Path, target: Path, *, weights: str, dtype: str | None, overwrite: bool) -> None:
    """Converts a checkpoint back.

    Args:
      source: a converted folder, a run of ``irg_jax.train`` or one of its stages; its latest checkpoint is taken.
      target: gets the weights and the files that go with them.
      weights: one of ``WEIGHTS``.
      dtype: one of ``TYPES``; None writes every weight in the type that it is stored in.
      overwrite: whether a target that is there may be replaced.

    Raises:
      UserError: no checkpoint, none of a BAGEL model, weights that are not finite, or a target that cannot be made.
    """
    checkpoint = open_checkpoint(source, weights)
    published = checkpoint.stage / companions.NAME
    layout = bagel_config.read_json(published / LAYOUT) if (published / LAYOUT).exists() else {}
    # A run may hold what is exported from it, but not in the folders that are read.
    read = [checkpoint.stage / name for name in ("checkpoints", companions.NAME, "tokenizer")]
    with folder.replacing(target, overwrite=overwrite, sources=read) as partial:
        _write_companions(checkpoint, published, partial)
        files = _plan(checkpoint, layout, None if dtype is None else TYPES[dtype], partial)
        folder.require_space(partial, sum(file.nbytes for file in files))
        with tensor_file.Writer(files) as writer:
            tensors = {key: tensor for file in files for key, tensor in file.tensors.items()}
            not_finite = _write_weights(checkpoint, tensors, writer)
            _write_tables(checkpoint.model, published / KEPT_TABLES, tensors, writer)
        if any(file.header != layout.get(file.path.name) for file in files):
            _update_index(partial, files)
        if not_finite:
            problems = check.grouped((key, "holds NaN or infinity") for key in not_finite)
            raise UserError(f"{checkpoint.stage}: step {checkpoint.step}: {'; '.join(problems)}")


def open_checkpoint(run: Path, weights: str) -> Checkpoint:
    """Opens the latest checkpoint of a converted folder, a run, or one of its stages.

    Args:
      run: the folder.
      weights: one of ``WEIGHTS``.

    Raises:
      UserError: none there, or one without these weights, or of a model that has others.
    """
    for stage in (run, *sorted(run.glob("*"), reverse=True)):
        if (stage / "checkpoints").is_dir():
            with Checkpointer(stage / "checkpoints", read_only=True) as checkpoints:
                step = checkpoints.latest_step()
                if step is None:
                    continue
                config = configs.from_json(checkpoints.restore_meta(step)["config"])
            break
    else:
        raise UserError(f"{run}: no checkpoint here; give a converted folder or a run of irg_jax.train")
    item = stage / "checkpoints" / f"{step:08d}" / weights
    if not item.is_dir():
        there = [name for name in WEIGHTS if (item.parent / name).is_dir()]
        raise UserError(f"{stage}: step {step} has no {weights}; give --weights {' or '.join(there)}")
    model = ModelConfig.from_mapping(config.model)
    try:
        arrays = orbax_item.open_arrays(item)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise UserError(f"{item}: cannot be read, its files may be damaged: {reason}") from error
    shapes = names.shapes(model)
    every = sorted(shapes.keys() | arrays.keys())
    differing = [name for name in every if name not in arrays or shapes.get(name) != arrays[name].shape]
    if differing:
        raise UserError(f"{item}: its weights are not those of its config: {', '.join(differing)}")
    return Checkpoint(stage, step, model, arrays)


def _write_companions(checkpoint: Checkpoint, published: Path, target: Path) -> None:
    """The files beside the weights: those that came with them, else what their model says."""
    if published.is_dir():
        described = ModelConfig.from_mapping(bagel_config.read(published))
        if described != checkpoint.model.run_as(described):
            raise UserError(f"{published}: describes another model than the checkpoint beside it")
        folder.copy_files(published, target, {LAYOUT, KEPT_TABLES})
        return
    tokenizer = checkpoint.stage / "tokenizer"
    for name, values in bagel_config.documents(checkpoint.model, Tokenizer(tokenizer)).items():
        (target / name).write_text(json.dumps(values, indent=1), encoding="utf-8")
    folder.copy_tokenizer(tokenizer, target)
    logging.info("%s: not there; copy %s into the new folder", published, folder.AUTOENCODER)


def _plan(checkpoint: Checkpoint, layout: Mapping[str, str], dtype: str | None, target: Path) -> list[TensorFile]:
    """The files to write: as they were published where that is known, else one file in the order of the keys."""
    shapes = {key: slot.shape for key, slot in names.slots(checkpoint.model).items()}
    stored = {key: _stored(checkpoint, slot) for key, slot in names.slots(checkpoint.model).items()}
    published = [tensor_file.parse_table(target / name, header) for name, header in layout.items()]
    before = {key: tensor.dtype for file in published for key, tensor in file.tensors.items()}
    for key, (side, size) in names.fixed_tables(checkpoint.model).items():
        shapes[key] = (side * side, size)
        as_before = stored[names.EMBEDDING] == before.get(names.EMBEDDING)
        stored[key] = before[key] if as_before else stored[names.EMBEDDING]
    types = stored if dtype is None else dict.fromkeys(stored, dtype)
    if not published:
        header = tensor_file.make_header({key: (types[key], shapes[key]) for key in sorted(shapes)}, {"format": "pt"})
        return [tensor_file.parse_table(target / "ema.safetensors", header)]
    planned = []
    for file in published:
        if any(tensor.dtype != types[key] for key, tensor in file.tensors.items()):
            inside = sorted(file.tensors, key=lambda key: file.tensors[key].start)
            metadata = tensor_file.metadata_of(file.header)
            header = tensor_file.make_header({key: (types[key], shapes[key]) for key in inside}, metadata)
            file = tensor_file.parse_table(file.path, header)
        planned.append(file)
    return planned


def _stored(checkpoint: Checkpoint, slot: Slot) -> str:
    return CODES[checkpoint.arrays[slot.row.ours].dtype.numpy_dtype]


def _write_weights(checkpoint: Checkpoint, tensors: Mapping[str, Tensor], writer: tensor_file.Writer) -> list[str]:
    """Writes every weight; gives the keys of those that hold NaN or infinity."""
    not_finite: dict[str, None] = {}
    slots: dict[str, list[Slot]] = {}
    for slot in names.slots(checkpoint.model).values():
        slots.setdefault(slot.row.ours, []).append(slot)
    for name, array in checkpoint.arrays.items():
        row, target_dtype = ROWS[name], DTYPES[tensors[slots[name][0].key].dtype]
        for region in _regions(array, row):
            try:
                values = array[region].read().result()
            except (OSError, ValueError) as error:
                raise UserError(f"{checkpoint.stage}: {name} cannot be read, its files may be damaged") from error
            values = values.astype(target_dtype, copy=False)
            layers, *inner = region if row.stacked else (slice(0, 1), *region)
            for i, layer in enumerate(range(layers.start, layers.stop)):
                block = values[i] if row.stacked else values
                slot = slots[name][layer]
                if not tensor_file.finite(block):
                    not_finite[slot.key] = None
                starts = [part.start for part in inner]
                if row.transposed:
                    block, starts = block.T, starts[::-1]
                writer.put(tensors[slot.key], block, *starts)
    return list(not_finite)


def _regions(array: ts.TensorStore, row: names.Row) -> Iterator[tuple[slice, ...]]:
    """Regions that cover an array, made of whole chunks, so that each is read once: rows of the file if possible."""
    shape, itemsize = array.shape, array.dtype.numpy_dtype.itemsize
    # An axis that is not cut has no chunk length.
    chunk = [cut or length for cut, length in zip(array.chunk_layout.read_chunk.shape or shape, shape, strict=True)]
    step = list(chunk)
    # The file's last axis is our last but one where the weight is transposed. It grows first, then the rows.
    inner = list(range(int(row.stacked), len(shape)))
    for axis in inner if row.transposed else inner[::-1]:
        chunk_bytes = math.prod(step) // step[axis] * chunk[axis] * itemsize
        step[axis] = min(max(tensor_file.PIECE // chunk_bytes, 1) * chunk[axis], shape[axis])
    ranges = [range(0, length, width) for length, width in zip(shape, step, strict=True)]
    for starts in itertools.product(*ranges):
        yield tuple(
            slice(first, min(first + width, length)) for first, width, length in zip(starts, step, shape, strict=True)
        )


def _write_tables(model: ModelConfig, kept: Path, tensors: Mapping[str, Tensor], writer: tensor_file.Writer) -> None:
    stored = tensor_file.read_table(kept).tensors if kept.exists() else {}
    for key, (side, size) in names.fixed_tables(model).items():
        table = tensor_file.read_rows(stored[key], 0, side**2) if key in stored else names.fixed_table(side, size)
        writer.put(tensors[key], table.astype(DTYPES[tensors[key].dtype]), 0)


def _update_index(target: Path, files: list[TensorFile]) -> None:
    """Brings the total size up to date in an index whose shards now hold another type."""
    for path in target.glob(f"*{folder.INDEX}"):
        index = bagel_config.read_json(path)
        index["metadata"] = {
            **index.get("metadata", {}),
            "total_size": sum(tensor.nbytes for file in files for tensor in file.tensors.values()),
        }
        path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
