"""The files of a data set: which count, and what identifies them."""

import os
from collections.abc import Iterator
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_hidden
from irg_jax.core.storage import AnyPath, is_transient_or_gone, is_url, retry, storage_reason
from irg_jax.data.conversation import SourceFile


def find_files(folder: AnyPath, suffix: str) -> list[AnyPath]:
    """The files with a suffix in a folder and in the folders in it, sorted.

    Links count as what they lead to. Hidden files and folders do not count: copies, snapshots and leftovers.

    Raises:
      UserError: no such folder, none of these files, or a link that leads nowhere or to a folder that it is in.
      StorageError: the storage went on answering with errors.
    """
    if not retry(folder.is_dir, f"{folder}: cannot be read"):
        raise UserError(f"{folder}: no such folder; give the data set's folder")
    found = retry(lambda: sorted(walk(folder, suffix)), f"{folder}: cannot be read")
    if not found:
        raise UserError(f"{folder}: no *{suffix} files; give the data set's folder")
    return found


def walk(folder: AnyPath, suffix: str, above: tuple[str, ...] = ()) -> Iterator[AnyPath]:
    """The files of ``find_files``, in any order; a missing folder is an OSError.

    It goes into folders, since some writers make ``part-00000.parquet`` a folder of files.
    """
    real = os.path.realpath(folder)
    if real in above:
        raise UserError(f"{folder}: is a link to a folder that it is in; remove it")
    for path in folder.iterdir():
        if is_hidden(path):
            continue
        if path.is_dir():
            yield from walk(path, suffix, (*above, real))
        elif path.name.endswith(suffix):
            if not path.exists():
                raise UserError(f"{path}: is a link that leads nowhere; repair or remove it")
            yield path


def describe(path: AnyPath, directory: AnyPath, records: int) -> SourceFile:
    """What identifies a file that holds this many records.

    Raises:
      UserError: it cannot be read.
      StorageError: the storage went on answering with errors.
    """
    try:
        found: Any = retry(path.stat, f"{path}: cannot be read", retry_if=is_transient_or_gone)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({storage_reason(error)}); fetch or write it again") from error
    # Clients of buckets give seconds, and their own type.
    size, changed = (found.length, found.mtime * 10**9) if is_url(path) else (found.st_size, found.st_mtime_ns)
    return SourceFile(path.relative_to(directory).as_posix(), size, records, changed)


def read_range(path: AnyPath, offset: int, size: int, key: str) -> bytes:
    """Bytes of a file that was there when the source was opened: a mount that has vanished may come back.

    Raises:
      UserError: it cannot be read, or has become shorter.
      StorageError: the storage went on answering with errors; it names the record.
    """

    def read() -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    try:
        content = retry(read, f"{path}: record {key} cannot be read", retry_if=is_transient_or_gone)
    except OSError as error:
        raise UserError(f"{path}: record {key} cannot be read ({storage_reason(error)}); fetch it again") from error
    if len(content) != size:
        raise UserError(
            f"{path}: record {key} ends early, at {len(content)} of {size} bytes; the file has changed since it was "
            "opened: fetch it again, and start the run again"
        )
    return content
