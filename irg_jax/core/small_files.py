"""Small files: written completely or not at all, always in UTF-8; and copies of them."""

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

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
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that gets the name ``path`` once the block has ended, also where the machine loses its power.

    Raises:
      OSError: the file cannot be written; an earlier version of it is unchanged.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
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
            _check_regular(origin)
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
    with _blamed(origin, "cannot be read"):
        if not retry(origin.is_dir, f"{origin}: cannot be read"):
            raise UserError(f"{origin}: no such folder")
        found = retry(lambda: sorted(origin.iterdir()), f"{origin}: cannot be read")
        files = [file for file in found if not file.is_dir() and (names is None or file.name in names)]
    if is_same_folder(origin, folder):
        return
    make_folder(folder)
    for file in files:
        copy_file(file, folder / file.name)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Makes a folder, and those above it, if it is missing. Raises UserError or StorageError where that fails."""
    folder = as_path(path)
    with _blamed(folder, "cannot be made"):
        retry(lambda: folder.mkdir(parents=True, exist_ok=True), f"{folder}: cannot be made")


def is_same_folder(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths are the same folder, however they are written and through whatever links."""
    first, second = as_path(one), as_path(other)
    if is_url(first) or is_url(second):
        return os.fspath(first).rstrip("/") == os.fspath(second).rstrip("/")
    return os.path.realpath(first) == os.path.realpath(second)


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file, a folder or a link, also one whose end is missing: reading that one names it.

    ``Path.exists`` takes such a link for a missing file, which is then left out without a word.

    Raises:
      UserError: the folder around it cannot be read.
    """
    if is_url(path):
        return as_path(path).exists()
    with _blamed(as_path(path), "cannot be read"):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


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


def _check_regular(path: AnyPath) -> None:
    """Raises a UserError for a pipe, a socket or a device: to read it could take forever."""
    if not is_url(path):
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise UserError(f"{path}: cannot be read (not a regular file); remove it")


def _size(path: AnyPath) -> int:
    found: Any = path.stat()
    return found.length if is_url(path) else found.st_size
