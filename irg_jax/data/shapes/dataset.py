"""Data sets of trajectories on disk: building the shapes one, and opening any that has the same features."""

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_module

from irg_jax.data.shapes.tfds_shapes import Shapes, ShapesConfig
from irg_jax.data.trajectory import Trajectory
from irg_jax.errors import UserError

_IMAGES = ("image1", "image2")
_REQUIRED = {field.name for field in dataclasses.fields(Trajectory) if field.default is dataclasses.MISSING}
# TFDS writes the first of these last, so a folder that has both is whole.
_METADATA = ("dataset_info.json", "features.json")


def build(directory: str | os.PathLike[str], *, seed: int, train: int, held_out: int) -> None:
    """Writes a shapes data set (TFDS, ArrayRecord) into ``directory``; does nothing where it already stands there.

    The folder appears under its name only once it is whole, also if the process is killed. Of two processes that build
    the same folder, one waits for the other; a ``.name.lock`` file stays beside the folder.

    Args:
      directory: the data set's own folder; missing or empty, or built before with the same settings.
      seed: see ``make_trajectory``.
      train: number of training records, 1 or more.
      held_out: number of held-out records, 1 or more.

    Raises:
      UserError: the folder holds something else, a setting is out of range, or the disk refuses.
    """
    if seed < 0 or train < 1 or held_out < 1:
        raise UserError(
            f"shapes: seed {seed}, train {train}, held_out {held_out}: seed is 0 or more, the counts 1 or more"
        )
    directory = pathlib.Path(directory).absolute()
    config = ShapesConfig(seed=seed, train=train, held_out=held_out)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with open(directory.parent / f".{directory.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it when the process dies
            if not _stands(directory, config):
                _write(directory, config)
    except OSError as error:
        raise UserError(f"{directory}: cannot write the data set ({error}); free the disk or choose another") from error


def _stands(directory: pathlib.Path, config: ShapesConfig) -> bool:
    """Whether ``directory`` already holds the data set; UserError where it holds anything else."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return False
    info = _read_only_builder(directory).info
    wanted = f"{Shapes.name} {Shapes.VERSION} {config.name}"
    found = f"{info.name} {info.version} {info.config_name}"
    if found != wanted:
        raise UserError(f"{directory}: holds {found}, not {wanted}; delete it or choose another folder")
    return True


def _write(directory: pathlib.Path, config: ShapesConfig) -> None:
    partial = directory.parent / f".{directory.name}.partial"
    if partial.exists():  # left by a process that was killed
        shutil.rmtree(partial)
    tfds.disable_progress_bar()
    builder = Shapes(data_dir=partial, config=config, file_format="array_record")
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints the partial folder, which is about to move
        builder.download_and_prepare()
    os.rename(builder.data_path, directory)
    shutil.rmtree(partial)


class TrajectorySource:
    """Random access to the trajectories of one split; picklable, and a source for ``grain.MapDataset.source``."""

    def __init__(self, records: Sequence[dict[str, bytes]], files: list[tuple[str, int]]):
        """Wraps a TFDS source whose records lie in ``files``, pairs of path and number of records, in this order."""
        self._records = records
        self._files = files

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Trajectory:
        """Record ``index``, 0 to len - 1; UserError where its part of the file is damaged."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        try:
            record = self._records[index]
        except RuntimeError as error:
            where = f"{self._file_of(index)}: record {index} is damaged"
            raise UserError(f"{where} ({_line(error)}); delete the data set and build it anew") from error
        names = (field.name for field in dataclasses.fields(Trajectory) if field.name in record)
        values: dict[str, Any] = {name: record[name] if name in _IMAGES else record[name].decode() for name in names}
        return Trajectory(**values)

    def __repr__(self) -> str:
        return f"TrajectorySource({', '.join(path for path, _ in self._files)})"

    def _file_of(self, index: int) -> str:
        for path, length in self._files:
            if index < length:
                return path
            index -= length
        raise AssertionError("the files hold fewer records than the source")


def open_source(directory: str | os.PathLike[str], split: str) -> TrajectorySource:
    """Opens a split of any TFDS data set in ArrayRecord form that has the features of a Trajectory.

    Pictures stay encoded bytes, as they were written. The feature ``scene`` may be lacking.

    Args:
      directory: the data set's own folder, the one with ``dataset_info.json``.
      split: a split's name, such as ``train``.

    Raises:
      UserError: no such data set or split, a feature is missing, or a file is missing or cut short.
    """
    directory = pathlib.Path(directory)
    builder = _read_only_builder(directory)
    missing = _REQUIRED - set(builder.info.features)
    if missing:
        raise UserError(
            f"{directory}: the features {', '.join(sorted(missing))} are missing; give a trajectory data set"
        )
    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise UserError(f"{directory}: written as {builder.info.file_format}; write it with file_format='array_record'")
    splits = builder.info.splits
    if split not in splits:
        raise UserError(f"{directory}: there is no split {split!r}; use one of {', '.join(sorted(splits))}")
    files = list(zip(map(str, splits[split].filepaths), splits[split].shard_lengths, strict=True))
    for path, length in files:
        _check_file(path, length)
    decoders = {name: tfds.decode.SkipDecoding() for name in _IMAGES}
    return TrajectorySource(builder.as_data_source(split=split, decoders=decoders), files)


def _read_only_builder(directory: pathlib.Path) -> tfds.core.DatasetBuilder:
    for name in _METADATA:
        path = directory / name
        if not path.is_file():
            raise UserError(
                f"{directory}: no data set here ({name} is missing); build it, or give the folder that has it"
            )
        try:
            json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error}); delete the data set and build it anew") from None
    return tfds.builder_from_directory(directory)


def _check_file(path: str, length: int) -> None:
    """Raises UserError unless the ArrayRecord file is whole: its index stands at the end, so a cut loses it."""
    if not os.path.isfile(path):
        raise UserError(f"{path}: missing; delete the data set and build it anew")
    reader = array_record_module.ArrayRecordReader(path)
    found = reader.num_records()
    if found != length:
        raise UserError(
            f"{path}: cut short, {found} of {length} records can be read; delete the data set and build it anew"
        )
    reader.close()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
