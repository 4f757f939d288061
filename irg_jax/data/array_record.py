"""ArrayRecord files: written completely or not at all, and read at random."""

import contextlib
import copy
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from array_record.python import array_record_data_source, array_record_module

# One record per group, so that reading one at random decompresses no other; TFDS writes its shards so too.
GROUPS_OF_ONE = "group_size:1"


class _WholeFile(NamedTuple):
    """What the reader of ArrayRecord calls a file instruction."""

    filename: str
    skip: int
    take: int
    examples_in_shard: int


class ArrayRecords:
    """Random access to the records of several files; thread-safe.

    Args:
      files: paths, and the number of records in each: with it no file is opened before one of its records is read.
    """

    def __init__(self, files: Sequence[tuple[Path, int]]):
        self._source = array_record_data_source.ArrayRecordDataSource(
            [_WholeFile(str(path), 0, count, count) for path, count in files]
        )

    def __getitem__(self, index: int) -> bytes:
        """The bytes of a record. Raises what the library raises; a later call opens the files again."""
        try:
            return self._source[index]
        except Exception:
            # A reader that has failed fails forever; a copy opens the files again.
            self._source = copy.copy(self._source)
            raise


def count_records(path: str | os.PathLike[str]) -> int:
    """Number of records in a file; 0 if it is cut, since its index is at its end. Raises OSError."""
    # The reader takes a file that gives I/O errors for one without records; this raises them.
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - 1, 0))
        file.read()
    reader = array_record_module.ArrayRecordReader(str(path))
    count = reader.num_records()
    with contextlib.suppress(RuntimeError):  # which it raises for a cut file
        reader.close()
    return count


def write(path: Path, records: Iterable[bytes], count: int, options: str = GROUPS_OF_ONE) -> None:
    """Writes a file, completely or not at all.

    Args:
      path: of the file.
      records: in order.
      count: of the records.
      options: of the writer.

    Raises:
      OSError: it cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        writer = array_record_module.ArrayRecordWriter(str(partial), options)
        for record in records:
            writer.write(record)
        writer.close()
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        # A full disk may leave a file that is cut, without an error.
        found = count_records(partial)
        if found != count:
            raise OSError(f"{path}: {found} of {count} records were written; is the disk full?")
        os.replace(partial, path)
    except RuntimeError as error:  # how the writer's library reports what the operating system says
        raise OSError(str(error)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
