"""Files of an official layout: written once, looked at, and named where they are wrong."""

from pathlib import Path

from irg_jax.benchmarks.benchmark import Problem
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_hidden, make_folder, write_bytes
from irg_jax.data import images


def write_once(path: Path, content: bytes) -> None:
    """Writes a file of a layout, completely or not at all; a file with the same bytes is left as it is.

    Raises:
      UserError: a file with other bytes has this name, as when two runs write to one folder; or it cannot be written.
    """
    make_folder(path.parent)
    try:
        if path.exists():
            if path.read_bytes() == content:
                return
            raise UserError(f"{path}: is there already and is another one; give each run and each turn its own folder")
        write_bytes(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); free the disk or check permissions") from error


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted by name, without hidden files; empty where there is no such folder.

    Raises:
      UserError: it cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not is_hidden(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error


def unreadable(path: Path) -> Problem | None:
    """The problem of a file that is no image or is damaged; None for an image."""
    try:
        content = path.read_bytes()
        images.encoded_size(content, path.name)  # sees the missing end of a PNG, which the decoder may not miss
        images.decode(content, path.name)
    except OSError as error:
        return Problem("unreadable", str(path), f"cannot be read ({error.strerror}); make the image again")
    except UserError as error:
        return Problem("unreadable", str(path), f"{images.bare_reason(error)}; make the image again")
    return None


def read_image(path: Path) -> bytes:
    """The bytes of a file. Raises UserError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make the image again") from error
