"""Looks at what a command is going to write, before it does the work."""

import os
import tempfile
from pathlib import Path

from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path, is_url, storage_reason

_PROBE = bytes(1 << 16)


def check_output_folder(path: str | os.PathLike[str], flag: str, *, new: bool = False) -> None:
    """Checks that a folder can be written to, or made; leaves nothing behind. URLs are not checked.

    Args:
      path: the folder.
      flag: the flag that names it, or what it is, for the error: ``--out``.
      new: whether it has to be missing.

    Raises:
      UserError: it is a file, cannot be made or written to, its disk is full, or it exists (``new``).
    """
    if is_url(path):
        as_path(path)
        return
    folder = as_path(path)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{flag}: {path} is a file; give a folder")
    if new and folder.exists():
        raise UserError(f"{flag}: {path} exists already; choose a new folder")
    _try_to_write(folder, f"{flag}: {path}")


def check_output_file(path: str | os.PathLike[str], flag: str) -> None:
    """Checks that a file can be written in a folder that exists; leaves nothing behind. URLs are not checked.

    Raises:
      UserError: it is a folder, its folder is missing or cannot be written to, or the disk is full.
    """
    if is_url(path):
        as_path(path)
        return
    file = as_path(path)
    if file.is_dir():
        raise UserError(f"{flag}: {path} is a folder; give a file")
    if not file.parent.is_dir():
        raise UserError(f"{flag}: {path}: there is no folder {file.parent}; make it, or choose another file")
    _try_to_write(file.parent, f"{flag}: {path}")


def _try_to_write(folder: Path, what: str) -> None:
    """Writes a file that has no name into the folder, or into the nearest one above it that exists."""
    existing = folder
    while not existing.exists() and not existing.is_symlink():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(_PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{what} cannot be written ({storage_reason(error)}); choose another place") from error
