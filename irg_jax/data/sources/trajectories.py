"""Trajectories from any TFDS data set in ArrayRecord format that has their features."""

import copy
import dataclasses
import json
import os
import pathlib
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_module

from irg_jax.core.errors import UserError
from irg_jax.core.storage import is_transient_or_gone, is_url, retry
from irg_jax.data.trajectory import Trajectory

_IMAGES = ("image1", "image2")
_REQUIRED = {field.name for field in dataclasses.fields(Trajectory) if field.default is dataclasses.MISSING}
# TFDS writes the first of these last, so a folder that has both is complete.
_METADATA = ("dataset_info.json", "features.json")


class TrajectorySource:
    """Random access to the trajectories of one split; picklable, so usable in ``grain.MapDataset.source``."""

    def __init__(self, records: Any, files: list[tuple[str, int]]):
        """Wraps a TFDS source whose records are in ``files``, pairs of path and number of records, in this order."""
        self._records = records
        self._files = files

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Trajectory:
        """Record ``index``, 0 to len - 1.

        Raises:
          UserError: it is damaged.
          StorageError: the storage went on answering with errors.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        where = f"{self._file_of(index)}: record {index}"
        try:
            # The file was there when the source was opened: if it is missing now, its mount may come back.
            record = retry(lambda: self._read(index), f"{where} cannot be read", retry_if=is_transient_or_gone)
        except RuntimeError as error:
            raise UserError(
                f"{where} is damaged ({_single_line(error)}); delete the data set and build it again"
            ) from error
        names = (field.name for field in dataclasses.fields(Trajectory) if field.name in record)
        values: dict[str, Any] = {name: record[name] if name in _IMAGES else record[name].decode() for name in names}
        return Trajectory(**values)

    def __repr__(self) -> str:
        return f"TrajectorySource({', '.join(path for path, _ in self._files)})"

    def _read(self, index: int) -> dict[str, bytes]:
        records = self._records
        try:
            return records[index]
        except Exception:
            # A reader that has failed fails forever; a copy of the source opens the files again.
            records.data_source = copy.copy(records.data_source)
            raise

    def _file_of(self, index: int) -> str:
        for path, length in self._files:
            if index < length:
                return path
            index -= length
        raise AssertionError("the files hold fewer records than the source")


def open_source(directory: str | os.PathLike[str], split: str) -> TrajectorySource:
    """Opens a split of any TFDS data set in ArrayRecord format that has the features of a Trajectory.

    Images stay encoded bytes, as they were written. The feature ``scene`` is optional.

    Args:
      directory: the data set's own folder, the one with ``dataset_info.json``.
      split: a split's name, such as ``train``.

    Raises:
      UserError: no such data set or split, a feature is missing, or a file is missing or truncated; or a URL.
      StorageError: the storage went on answering with errors.
    """
    folder = local_folder(directory)
    builder = retry(lambda: read_only_builder(folder), f"{folder}: cannot be read")
    missing = _REQUIRED - set(builder.info.features)
    if missing:
        raise UserError(f"{folder}: the features {', '.join(sorted(missing))} are missing; give a trajectory data set")
    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise UserError(f"{folder}: written as {builder.info.file_format}; write it with file_format='array_record'")
    splits = builder.info.splits
    if split not in splits:
        raise UserError(f"{folder}: there is no split {split!r}; use one of {', '.join(sorted(splits))}")
    files = list(zip(map(str, splits[split].filepaths), splits[split].shard_lengths, strict=True))
    for path, length in files:
        retry(lambda path=path, length=length: _check_file(path, length), f"{path}: cannot be read")  # type: ignore[misc]
    decoders = {name: tfds.decode.SkipDecoding() for name in _IMAGES}
    return TrajectorySource(builder.as_data_source(split=split, decoders=decoders), files)


def local_folder(directory: str | os.PathLike[str]) -> pathlib.Path:
    """The folder of a data set in ArrayRecord format. Raises UserError for a URL."""
    if is_url(directory):
        raise UserError(
            f"data.dir: {os.fspath(directory)} is a URL, from which ArrayRecord files cannot be read; mount the bucket "
            "or copy the data set to a disk"
        )
    return pathlib.Path(directory).absolute()


def read_only_builder(directory: pathlib.Path) -> tfds.core.DatasetBuilder:
    """The TFDS builder of a data set on disk, for its metadata (``info``) and its records; generates nothing.

    Args:
      directory: the data set's own folder, the one with ``dataset_info.json``.

    Raises:
      UserError: no data set there, or a metadata file that is not JSON.
    """
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
    """Raises UserError unless the ArrayRecord file is complete: its index is at the end, so truncation loses it."""
    if not os.path.isfile(path):
        raise UserError(f"{path}: missing; delete the data set and build it again")
    # The reader takes a file that gives I/O errors for one without records; this raises them.
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - 1, 0))
        file.read()
    reader = array_record_module.ArrayRecordReader(path)
    found = reader.num_records()
    if found != length:
        raise UserError(
            f"{path}: truncated, {found} of {length} records can be read; delete the data set and build it again"
        )
    reader.close()


def _single_line(error: Exception) -> str:
    return " ".join(str(error).split())
