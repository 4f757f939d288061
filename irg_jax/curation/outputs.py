"""records.jsonl and rejected.jsonl: whole files in the order of the input, written at the end of every run."""

import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from irg_jax.core.small_files import replacing
from irg_jax.core.storage import retry

RECORDS, REJECTED = "records.jsonl", "rejected.jsonl"


class Lines:
    """Objects that come in any order and are written in the order of their numbers, without being held in memory.

    Args:
      folder: that the file will be in; the temporary one is there too.
    """

    def __init__(self, folder: Path):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by ``close``)
        self._places: dict[int, tuple[int, int]] = {}
        self._end, self._lock = 0, threading.Lock()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, number: int, values: dict[str, Any]) -> None:
        """Keeps one object."""
        line = json.dumps(values, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self._lock:
            self._file.seek(self._end)
            self._file.write(line)
            self._places[number] = (self._end, len(line))
            self._end += len(line)

    def in_order(self) -> Iterator[tuple[int, bytes]]:
        """(number, line) in the order of the numbers."""
        for number, (start, length) in sorted(self._places.items()):
            self._file.seek(start)
            yield number, self._file.read(length)

    def write(self, path: Path) -> None:
        """Writes the file, completely or not at all. Raises UserError or StorageError where that fails."""
        retry(lambda: self._write(path), f"{path}: cannot be written")

    def close(self) -> None:
        """Gives the temporary file up."""
        self._file.close()

    def _write(self, path: Path) -> None:
        with replacing(path) as file:
            file.writelines(line for _, line in self.in_order())
