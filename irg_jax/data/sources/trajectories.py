"""Trajectories from any TFDS data set in ArrayRecord format that has their features."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from irg_jax.core.errors import UserError
from irg_jax.core.storage import is_transient_or_gone, is_url, retry
from irg_jax.data import modes
from irg_jax.data.array_record import ArrayRecords, count_records
from irg_jax.data.checksum import checksum
from irg_jax.data.conversation import Record, SourceFile
from irg_jax.data.modes import Mode
from irg_jax.data.sources import tf_example
from irg_jax.data.trajectory import CONTENTS, IMAGES, Trajectory

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

KIND = "trajectories v1"
_FIELDS = tuple(field.name for field in dataclasses.fields(Trajectory))
_REQUIRED = {"key", "prompt"}
_CHECKED = ("key", *CONTENTS)
# TFDS writes the first of these last, so a folder that has both is complete.
_METADATA = ("dataset_info.json", "features.json")


class TrajectorySource:
    """Random access to the trajectories of one split; picklable, and read without TFDS.

    Args:
      directory: the data set's folder.
      files: its files, in the order of their records.
    """

    kind = KIND

    def __init__(self, directory: pathlib.Path, files: Sequence[SourceFile]):
        self.directory, self.files = directory, files
        self._length = sum(file.records for file in files)
        self._records = ArrayRecords([(directory / file.path, file.records) for file in files])

    def __reduce__(self) -> tuple:
        return TrajectorySource, (self.directory, self.files)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Trajectory:
        """Record ``index``, see ``read``."""
        return self.read(index)[0]

    def read(self, index: int) -> tuple[Trajectory, int]:
        """Record ``index``, 0 to len - 1, and the checksum of its key and its contents.

        Raises:
          UserError: it is damaged.
          StorageError: the storage went on answering with errors.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        where = self.where(index)
        try:
            # The file was there when the source was opened: if it is missing now, its mount may come back.
            content = retry(lambda: self._records[index], f"{where} cannot be read", retry_if=is_transient_or_gone)
            values: dict[str, Any] = tf_example.parse(content)
            # Of the fields, since the bytes around them differ between two builds of the same records.
            crc = checksum(values.get(name, b"") for name in _CHECKED)
            for name in values.keys() - set(IMAGES):
                values[name] = values[name].decode("utf-8")
        except (RuntimeError, ValueError, IndexError) as error:
            raise UserError(
                f"{where} is damaged ({_single_line(error)}); delete the data set and build it again"
            ) from error
        missing = _REQUIRED - values.keys()
        if missing:
            raise UserError(f"{where} has no {', '.join(sorted(missing))}; delete the data set and build it again")
        return Trajectory(**{name: values[name] for name in _FIELDS if name in values}), crc

    def where(self, index: int) -> str:
        """File and place of a record, for errors."""
        for file in self.files:
            if index < file.records:
                return f"{self.directory / file.path}: record {index}"
            index -= file.records
        raise AssertionError("the files hold fewer records than the source")

    def __repr__(self) -> str:
        return f"TrajectorySource({', '.join(str(self.directory / file.path) for file in self.files)})"


class ModeSource:
    """The trajectories of a source as the conversations of one learning mode; see ``conversation.Source``.

    Args:
      trajectories: all of them; records without the fields that the mode needs are never read.
      mode: of ``modes.learning_mode``.
    """

    kind = KIND

    def __init__(self, trajectories: TrajectorySource, mode: Mode):
        self.trajectories, self.mode = trajectories, mode
        self.files = trajectories.files

    def __len__(self) -> int:
        return len(self.trajectories)

    def key(self, index: int) -> str:
        """The key of a record; reads it."""
        return self.trajectories[index].key

    def read(self, index: int) -> Record:
        """The mode's conversation of a record that has the fields; see ``TrajectorySource.read``."""
        trajectory, crc = self.trajectories.read(index)
        return Record((modes.conversation(trajectory, self.mode),), crc)


def open_source(directory: str | os.PathLike[str], split: str) -> TrajectorySource:
    """Opens a split of any TFDS data set in ArrayRecord format that has the features of a Trajectory.

    Images stay encoded bytes, as they were written. All features but ``key`` and ``prompt`` are optional.

    Args:
      directory: the data set's own folder, the one with ``dataset_info.json``.
      split: a split's name, such as ``train``.

    Raises:
      UserError: no such data set or split, a feature is missing, or a file is missing or truncated; or a URL.
      StorageError: the storage went on answering with errors.
    """
    folder = local_folder(directory)
    info = retry(lambda: read_only_builder(folder).info, f"{folder}: cannot be read")
    missing = _REQUIRED - set(info.features)
    if missing:
        raise UserError(f"{folder}: the features {', '.join(sorted(missing))} are missing; give a trajectory data set")
    if info.file_format.value != "array_record":
        raise UserError(f"{folder}: written as {info.file_format}; write it with file_format='array_record'")
    if split not in info.splits:
        raise UserError(f"{folder}: there is no split {split!r}; use one of {', '.join(sorted(info.splits))}")
    files = []
    for path, length in zip(map(str, info.splits[split].filepaths), info.splits[split].shard_lengths, strict=True):
        retry(lambda path=path, length=length: _check_file(path, length), f"{path}: cannot be read")  # type: ignore[misc]
        stat = os.stat(path)
        files.append(SourceFile(os.path.relpath(path, folder), stat.st_size, length, stat.st_mtime_ns))
    return TrajectorySource(folder, files)


def local_folder(directory: str | os.PathLike[str]) -> pathlib.Path:
    """The folder of a data set in ArrayRecord format. Raises UserError for a URL."""
    if is_url(directory):
        raise UserError(
            f"{os.fspath(directory)} is a URL, from which ArrayRecord files cannot be read; mount the bucket "
            "or copy the data set to a disk"
        )
    return pathlib.Path(directory).absolute()


def read_only_builder(directory: pathlib.Path) -> "tfds.core.DatasetBuilder":
    """The TFDS builder of a data set on disk, for its metadata (``info``) and its records; generates nothing.

    Args:
      directory: the data set's own folder, the one with ``dataset_info.json``.

    Raises:
      UserError: no data set there, or a metadata file that is not JSON.
    """
    import tensorflow_datasets as tfds  # noqa: PLC0415  (a second and 300 MB, which workers need not pay)

    for name in _METADATA:
        path = directory / name
        if not path.is_file():
            raise UserError(
                f"{directory}: no data set here ({name} is missing); build it, or give the folder that has it"
            )
        try:
            json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error}); delete the data set and build it again") from None
    return tfds.builder_from_directory(directory)


def _check_file(path: str, length: int) -> None:
    """Raises UserError unless the ArrayRecord file is complete."""
    if not os.path.isfile(path):
        raise UserError(f"{path}: missing; delete the data set and build it again")
    found = count_records(path)
    if found != length:
        raise UserError(
            f"{path}: truncated, {found} of {length} records can be read; delete the data set and build it again"
        )


def _single_line(error: Exception) -> str:
    return " ".join(str(error).split())
