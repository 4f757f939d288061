"""Small files, and errors of the storage."""

import os
import re
from pathlib import Path

# TensorStore raises a ValueError with the operating system's error in its text.
_STORAGE_ERRORS = re.compile(
    "No space left on device|Disk quota exceeded|Permission denied|Read-only file system|File too large"
)


def is_storage_error(error: Exception) -> bool:
    """Whether an error comes from the storage, not from the code that uses it."""
    return isinstance(error, OSError) or _STORAGE_ERRORS.search(str(error)) is not None


def storage_reason(error: Exception) -> str:
    """The operating system's message if there is one, else the first line of the error."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    known = _STORAGE_ERRORS.search(str(error))
    return known[0] if known else (str(error).splitlines() or [type(error).__name__])[0][:200]


def write_text(path: Path, text: str) -> None:
    """Writes a small text file as UTF-8, completely or not at all.

    Raises:
      OSError: the file cannot be written; an earlier version of it is unchanged.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
