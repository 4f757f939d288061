"""Folders: which files hold the weights, what lies beside them, and how a new folder takes the place of an old one."""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from irg_jax.bagel.config import read_json
from irg_jax.bagel.tensor_file import Tensor, TensorFile, read_table
from irg_jax.errors import UserError

INDEX = ".safetensors.index.json"
# Ours, in the ``bagel`` folder beside a checkpoint: headers of the files that were converted, and position tables whose
# last bits are not the formula's.
LAYOUT, KEPT_TABLES = "irg_layout.json", "irg_position_tables.safetensors"
AUTOENCODER = "ae.safetensors"
_TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_NO_SPACE = "No space left on device|Disk quota exceeded|Permission denied|Read-only file system|File too large"


class Weights(NamedTuple):
    """The weight files of a folder.

    Attributes:
      files: one, or the shards in the order of their names.
      tensors: by key, of all files.
    """

    files: list[TensorFile]
    tensors: dict[str, Tensor]


def find_weights(folder: Path, names: Sequence[str]) -> Weights:
    """The weights of a published folder: a single file, or the shards that an index lists.

    Args:
      folder: the folder.
      names: of the file without its ending, the preferred one first, such as ``("ema", "model")``.

    Raises:
      UserError: none there; a file cut off or damaged; or an index and its shards that disagree, every key by name.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    for name in names:
        single, index = folder / f"{name}.safetensors", folder / f"{name}{INDEX}"
        if single.is_file():
            file = read_table(single)
            return Weights([file], file.tensors)
        if index.is_file():
            return _sharded(index)
    wanted = " or ".join(f"{name}.safetensors" for name in names)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    only = f"; {', '.join(pickles)} is a pickle, and those are never read" if pickles else ""
    raise UserError(f"{folder}: no weights here; needed is {wanted}, or shards with {names[-1]}{INDEX}{only}")


def _sharded(index: Path) -> Weights:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UserError(f"{index}: has no weight_map from keys to files")
    names = sorted(set(places.values()))
    absent = [name for name in names if Path(name).name != name or not (index.parent / name).is_file()]
    if absent:
        raise UserError(f"{index}: lists files that are not there: {', '.join(absent)}")
    files = [read_table(index.parent / name) for name in names]
    tensors: dict[str, Tensor] = {}
    problems = []
    for file in files:
        problems += [f"{key} is in {file.path.name} too" for key in file.tensors if key in tensors]
        tensors |= file.tensors
    problems += [f"{key} is not in {places[key]}" for key in places if key not in tensors]
    problems += [
        f"{key} is in {tensor.path.name} and not listed" for key, tensor in tensors.items() if key not in places
    ]
    problems += [
        f"{key} is in {tensors[key].path.name}, not in {name}"
        for key, name in places.items()
        if key in tensors and tensors[key].path.name != name
    ]
    if problems:
        raise UserError(f"{index}: does not describe its shards: {'; '.join(problems)}")
    return Weights(files, tensors)


def copy_companions(source: Path, target: Path, weights: Sequence[TensorFile]) -> None:
    """Copies everything of a published folder but its weights (and version control) into a new folder.

    Args:
      source: the folder.
      target: made here.
      weights: its weight files; further files of weights under the other published name are named and left out.
    """
    left_out = {file.path.name for file in weights}
    for name in ("ema.safetensors", "model.safetensors"):
        if (source / name).exists() and name not in left_out:
            logging.info("%s: left out, the weights are those of %s", source / name, ", ".join(sorted(left_out)))
            left_out.add(name)
    copy_files(source, target, {*left_out, ".git"})


def copy_files(source: Path, target: Path, left_out: Collection[str]) -> None:
    """Copies a folder's files, but for those names at its top, and no permissions: what was read-only would stay so."""
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.name not in left_out:
            if path.is_dir():
                copy_files(path, target / path.name, ())
            else:
                shutil.copyfile(path, target / path.name)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copies the files that make a tokenizer into a folder, made here if it is missing."""
    target.mkdir(exist_ok=True)
    for name in _TOKENIZER:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool, sources: Sequence[Path]) -> Iterator[Path]:
    """A fresh folder beside ``target`` that takes its place when the block ends well, and is removed when it does not.

    Args:
      target: the folder to make.
      overwrite: whether one that is there may be replaced.
      sources: what is read meanwhile, and so must not lie in ``target`` nor around it.

    Raises:
      UserError: the target exists, lies in a source, or cannot be written.
    """
    target = target.absolute()
    for source in (source.resolve() for source in sources):
        if source == target.resolve() or source in target.resolve().parents or target.resolve() in source.parents:
            raise UserError(f"{target}: and the source {source} are the same, or one lies inside the other")
    if not overwrite and (target.is_file() or (target.is_dir() and any(target.iterdir()))):
        raise UserError(f"{target}: exists; choose another folder, or give --overwrite to replace it")
    partial, old = (target.with_name(f".{target.name}.{what}.{os.getpid()}") for what in ("partial", "old"))
    try:
        partial.mkdir(parents=True)
        yield partial
        _replace(target, partial, old)
    except Exception as error:
        refused = re.search(_NO_SPACE, str(error))
        if isinstance(error, UserError) or not (isinstance(error, OSError) or refused):
            raise
        reason = getattr(error, "strerror", None) or (refused[0] if refused else str(error))
        raise UserError(f"{target}: cannot be written: {reason}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_space(target: Path, size: int) -> None:
    """Raises a UserError unless ``size`` bytes are free where ``target`` lies."""
    free = shutil.disk_usage(target).free
    if free < size:
        raise UserError(f"{target.parent}: {size / 1e9:.1f} GB are needed there, {free / 1e9:.1f} GB are free")


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
