"""Writes the files of latents: each one completely or not at all."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from array_record.python import array_record_module

# One record per group, so that reading one at random reads no other; random bits do not compress.
_OPTIONS = "group_size:1,uncompressed"


def write(path: Path, records: Iterable[bytes], count: int) -> None:
    """Writes an ArrayRecord file.

    Args:
      path: of the file.
      records: of ``record.pack``, in order.
      count: of the records.

    Raises:
      OSError: it cannot be written; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        writer = array_record_module.ArrayRecordWriter(str(partial), _OPTIONS)
        for record in records:
            writer.write(record)
        writer.close()
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        # A full disk may leave a file that is cut, without an error.
        reader = array_record_module.ArrayRecordReader(str(partial))
        found = reader.num_records()
        reader.close()
        if found != count:
            raise OSError(f"{path}: {found} of {count} records were written; is the disk full?")
        os.replace(partial, path)
    except RuntimeError as error:  # how the writer's library reports what the operating system says
        raise OSError(str(error)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
