"""Folders: finds the weight files, copies the other files, and reweight_map an old folder by a new one atomically."""

import contextlib
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from irg_jax.checkpoints.bagel.config import read_json
from irg_jax.checkpoints.bagel.tensor_file import Tensor, TensorFile, read_header
from irg_jax.core.errors import UserError
from irg_jax.core.storage import is_storage_error, storage_reason

INDEX = ".safetensors.index.json"
# Our own files in the ``bagel`` folder beside a checkpoint: headers of the converted files, and position tables that
# differ from the formula in their last bits.
LAYOUT, KEPT_TABLES = "irg_layout.json", "irg_position_tables.safetensors"
VAE_FILE = "ae.safetensors"
_TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


class Weights(NamedTuple):
    """The weight files of a folder.

    Attributes:
      files: a single file, or the shards in the order of their names.
      tensors: of all files, by key.
    """

    files: list[TensorFile]
    tensors: dict[str, Tensor]


def find_weights(folder: Path, names: Sequence[str]) -> Weights:
    """Finds the weights of a published folder: a single file, or the shards that an index lists.

    Args:
      folder: the folder.
      names: file names without the ending, the preferred one first, such as ``("ema", "model")``.

    Raises:
      UserError: no weights; a file that is cut off or damaged; or an index that does not match its shards, with every
        such key.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    for name in names:
        single, index = folder / f"{name}.safetensors", folder / f"{name}{INDEX}"
        if single.is_file():
            file = read_header(single)
            return Weights([file], file.tensors)
        if index.is_file():
            return _sharded(index)
    wanted = " or ".join(f"{name}.safetensors" for name in names)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    note = f"; pickle files are never read ({', '.join(pickles)})" if pickles else ""
    raise UserError(f"{folder}: no weights here; expected {wanted}, or shards with {names[-1]}{INDEX}{note}")


def _sharded(index: Path) -> Weights:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise UserError(f"{index}: has no weight_map from keys to files")
    names = sorted(set(weight_map.values()))
    absent = [name for name in names if Path(name).name != name or not (index.parent / name).is_file()]
    if absent:
        raise UserError(f"{index}: lists files that are not there: {', '.join(absent)}")
    files = [read_header(index.parent / name) for name in names]
    tensors: dict[str, Tensor] = {}
    problems = []
    for file in files:
        problems += [f"{key} is also in {file.path.name}" for key in file.tensors if key in tensors]
        tensors |= file.tensors
    problems += [f"{key} is not in {weight_map[key]}" for key in weight_map if key not in tensors]
    problems += [
        f"{key} is in {tensor.path.name} and not listed" for key, tensor in tensors.items() if key not in weight_map
    ]
    problems += [
        f"{key} is in {tensors[key].path.name}, not in {name}"
        for key, name in weight_map.items()
        if key in tensors and tensors[key].path.name != name
    ]
    if problems:
        raise UserError(f"{index}: does not describe its shards: {'; '.join(problems)}")
    return Weights(files, tensors)


def copy_assets(source: Path, target: Path, weights: Sequence[TensorFile]) -> None:
    """Copies a published folder except for its weights and ``.git``.

    Args:
      source: the folder.
      target: the new folder, created here.
      weights: its weight files; a file of weights under the other published name is logged and not copied either.
    """
    excluded = {file.path.name for file in weights}
    for name in ("ema.safetensors", "model.safetensors"):
        if (source / name).exists() and name not in excluded:
            logging.info("%s: not copied, the weights are those of %s", source / name, ", ".join(sorted(excluded)))
            excluded.add(name)
    copy_files(source, target, {*excluded, ".git"})


def copy_files(source: Path, target: Path, excluded: Collection[str]) -> None:
    """Copies a folder except for those names at its top level, without permissions: read-only files become writable."""
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.name not in excluded:
            if path.is_dir():
                copy_files(path, target / path.name, ())
            else:
                shutil.copyfile(path, target / path.name)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copies the tokenizer's files into a folder, which is created if it is missing."""
    target.mkdir(exist_ok=True)
    for name in _TOKENIZER:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool, sources: Sequence[Path]) -> Iterator[Path]:
    """Gives a new folder beside ``target`` that reweight_map it when the block succeeds, and is removed when it raises.

    Args:
      target: the folder to create.
      overwrite: whether an existing target may be replaced.
      sources: folders and files that are read in the block; none may be inside ``target`` or contain it.

    Raises:
      UserError: the target exists, overlaps with a source, or cannot be written.
    """
    target = target.absolute()
    for source in (source.resolve() for source in sources):
        if source == target.resolve() or source in target.resolve().parents or target.resolve() in source.parents:
            raise UserError(f"{target}: is the source {source}, or one of them is inside the other")
    if not overwrite and (target.is_file() or (target.is_dir() and any(target.iterdir()))):
        raise UserError(f"{target}: exists already; choose another folder, or give --overwrite to replace it")
    partial, old = (target.with_name(f".{target.name}.{what}.{os.getpid()}") for what in ("partial", "old"))
    try:
        partial.mkdir(parents=True)
        yield partial
        _replace(target, partial, old)
    except Exception as error:
        if isinstance(error, UserError) or not is_storage_error(error):
            raise
        raise UserError(f"{target}: cannot be written: {storage_reason(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_space(target: Path, size: int) -> None:
    """Raises a UserError unless ``size`` bytes are free on the disk of ``target``."""
    free = shutil.disk_usage(target).free
    if free < size:
        raise UserError(f"{target.parent}: needs {size / 1e9:.1f} GB of free space, has {free / 1e9:.1f} GB")


def _replace(target: Path, partial: Path, old: Path) -> None:
    if not target.exists():
        partial.rename(target)
        return
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        old.rename(target)
        raise
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink()
