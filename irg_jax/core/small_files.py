"""Small files: written completely or not at all, always in UTF-8; and copies of them."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, as_path, is_transient, is_url, retry, storage_reason

_COMPARED_BYTES = 16 << 20  # files up to this size are compared byte by byte


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """``write_bytes`` of a text in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], values: Any) -> None:
    """``write_bytes`` of JSON, indented, with all characters as they are."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a small file, completely or not at all, also where the machine loses its power.

    In a file system by renaming a complete file, on a bucket as one object.

    Raises:
      OSError: the file cannot be written; an earlier version of it is unchanged.
    """
    path = as_path(path)
    if is_url(path):
        path.write_bytes(content)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: AnyPath) -> None:
    """Makes a renamed file last. Some file systems cannot open folders for that; they have the name already."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_text(path: str | os.PathLike[str]) -> str:
    """A text file in UTF-8, from a file system or a bucket; without a byte order mark, with Unix line ends.

    Raises:
      OSError: it cannot be read.
      UnicodeDecodeError: it is not UTF-8, a ValueError.
    """
    return as_path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")


def read_given_text(path: str | os.PathLike[str], flag: str) -> str:
    """``read_text`` of a file that a flag names. Raises UserError, with the flag, where that fails."""
    try:
        return read_text(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error}; save it as UTF-8"
        raise UserError(f"--{flag} {path}: cannot be read ({reason})") from error


def read_lines(path: str | os.PathLike[str], flag: str) -> list[str]:
    """The lines of a file that a flag names, without white space around them and without empty ones.

    Only the line ends of Unix and Windows end a line: other ones, such as U+2028, are part of a text.

    Raises:
      UserError: it cannot be read.
    """
    return [line.strip() for line in read_given_text(path, flag).split("\n") if line.strip()]


def copy_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copies a file of any size, completely or not at all, without its permissions.

    Nothing is copied where the copy is there already: the same bytes, or for large files the same size.

    Raises:
      UserError: the source cannot be read, or the target not be written; it names the one at fault.
      StorageError: the storage went on answering with errors.
    """
    origin, copy = as_path(source), as_path(target)

    def attempt() -> None:
        with _blamed(origin, "cannot be read"):
            size, opened = _size(origin), origin.open("rb")
        with opened:
            if copy.exists() and _size(copy) == size:
                if size > _COMPARED_BYTES or copy.read_bytes() == opened.read():
                    return
                opened.seek(0)
            partial = copy if is_url(copy) else copy.with_name(f".{copy.name}.{os.getpid()}")
            try:
                with partial.open("wb") as out:
                    shutil.copyfileobj(opened, out, 16 << 20)
                if partial != copy:
                    os.replace(partial, copy)
            except OSError:
                if partial != copy:
                    partial.unlink(missing_ok=True)
                raise

    try:
        retry(attempt, f"{copy}: cannot be copied from {origin}")
    except OSError as error:
        raise UserError(f"{copy}: cannot be copied from {origin} ({storage_reason(error)})") from error


def copy_files(
    source: str | os.PathLike[str], target: str | os.PathLike[str], names: Iterable[str] | None = None
) -> None:
    """Copies files of a folder into another one, which is made if it is missing; see ``copy_file``.

    Args:
      source: the folder; folders in it are left out.
      target: the other one; nothing happens where it is the same.
      names: which files; those that are missing are left out. All of them if not given.

    Raises:
      UserError: no such folder, a file that cannot be read, a full disk, or a missing permission.
      StorageError: the storage went on answering with errors.
    """
    origin, folder = as_path(source), as_path(target)
    if not retry(origin.is_dir, f"{origin}: cannot be read"):
        raise UserError(f"{origin}: no such folder")
    if origin == folder or (isinstance(folder, Path) and folder.exists() and origin.resolve() == folder.resolve()):
        return
    retry(lambda: folder.mkdir(parents=True, exist_ok=True), f"{folder}: cannot be made")
    for file in sorted(origin.iterdir()):
        if not file.is_dir() and (names is None or file.name in names):
            copy_file(file, folder / file.name)


def is_hidden(path: str | os.PathLike[str]) -> bool:
    """Whether a name says that it is not data: it begins with ``.`` or ``_``, as for Spark, Arrow and datasets."""
    return os.path.basename(os.fspath(path)).startswith((".", "_"))


@contextlib.contextmanager
def _blamed(path: AnyPath, what: str) -> Any:
    """Errors that do not pass become a UserError that names this path, not the one that is worked on."""
    try:
        yield
    except OSError as error:
        if is_transient(error):
            raise
        raise UserError(f"{path}: {what} ({storage_reason(error)})") from error


def _size(path: AnyPath) -> int:
    found: Any = path.stat()
    return found.length if is_url(path) else found.st_size
