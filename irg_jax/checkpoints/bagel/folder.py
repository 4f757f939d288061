"""Folders: finds the weight files, and replaces an old folder by a new one atomically."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from irg_jax.checkpoints.bagel.config import read_json
from irg_jax.checkpoints.bagel.contents import INDEX, PICKLES
from irg_jax.checkpoints.bagel.tensor_file import Tensor, TensorFile, read_header
from irg_jax.core.errors import UserError
from irg_jax.core.outputs import check_output_folder
from irg_jax.core.small_files import is_there
from irg_jax.core.storage import is_storage_error, storage_reason


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
        if is_there(single):
            file = read_header(single)
            return Weights([file], file.tensors)
        if is_there(index):
            return _sharded(index)
    wanted = " or ".join(f"{name}.safetensors" for name in names)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
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


def check_target(target: Path, *, overwrite: bool, sources: Sequence[Path]) -> Path:
    """Checks that a folder can be written, before the work; leaves nothing behind.

    Args:
      target: the folder to create.
      overwrite: whether an existing target may be replaced.
      sources: folders and files that are read; none may be inside ``target`` or contain it.

    Returns:
      the absolute path of the folder, that of its end if it is a link.

    Raises:
      UserError: the target exists, overlaps with a source, or cannot be written.
    """
    target = target.absolute()
    real = Path(os.path.realpath(target))
    for source in (Path(os.path.realpath(source)) for source in sources):
        if source == real or source in real.parents or real in source.parents:
            raise UserError(f"{target}: is the source {source}, or one of them is inside the other")
    above = next(path for path in target.parents if os.path.lexists(path))
    if not above.is_dir():
        raise UserError(f"{target}: cannot be written: Not a directory: {above}")
    try:
        if not overwrite and (target.is_file() or (target.is_dir() and any(target.iterdir()))):
            raise _exists(target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {storage_reason(error)}") from error
    if target.is_symlink() and target.is_dir():
        target = real  # the new folder is on the same disk
    check_output_folder(target.parent, "--to")
    return target


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool, sources: Sequence[Path]) -> Iterator[Path]:
    """Gives a new folder beside ``target`` that takes its place when the block succeeds, and is removed when it raises.

    Args:
      target: the folder to create.
      overwrite: whether an existing target may be replaced.
      sources: folders and files that are read in the block; none may be inside ``target`` or contain it.

    Raises:
      UserError: the target exists, overlaps with a source, or cannot be written.
    """
    target = check_target(target, overwrite=overwrite, sources=sources)
    partial, old = (target.with_name(f".{target.name}.{what}.{os.getpid()}") for what in ("partial", "old"))
    try:
        partial.mkdir(parents=True)
        yield partial
        _replace(target, partial, old, overwrite)
    except Exception as error:
        if isinstance(error, UserError) or not is_storage_error(error):
            raise
        culprit = _read_file(error, sources)
        if culprit is not None:
            raise UserError(f"{culprit}: cannot be read: {storage_reason(error)}") from error
        raise UserError(f"{target}: cannot be written: {storage_reason(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_space(target: Path, size: int) -> None:
    """Raises a UserError unless ``size`` bytes are free on the disk of ``target``."""
    free = shutil.disk_usage(target).free
    if free < size:
        raise UserError(f"{target.parent}: needs {size / 1e9:.1f} GB of free space, has {free / 1e9:.1f} GB")


def _read_file(error: BaseException, sources: Sequence[Path]) -> str | None:
    """The file of a source that an error is about, if it is."""
    path = getattr(error, "filename", None)
    if not isinstance(path, str):
        return None
    return path if any(Path(path).absolute().is_relative_to(source.absolute()) for source in sources) else None


def _exists(target: Path) -> UserError:
    return UserError(f"{target}: exists already; choose another folder, or give --overwrite to replace it")


def _replace(target: Path, partial: Path, old: Path, overwrite: bool) -> None:
    """Renames ``partial``; another process may write the same target meanwhile, and neither sees half of a folder."""
    while True:
        try:
            partial.rename(target)  # an empty folder is replaced
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) or not os.path.lexists(target):
                raise
            if not overwrite:
                raise _exists(target) from error
        try:
            target.rename(old)
        except FileNotFoundError:
            continue  # the other process has just taken it away
        try:
            done = _move_in(partial, target)
        except BaseException:
            _move_in(old, target)
            raise
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()
        if done:
            return


def _move_in(folder: Path, target: Path) -> bool:
    """Whether the folder could be renamed: not if another process was faster."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True
