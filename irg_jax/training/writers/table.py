"""``metrics.csv``: one row of numbers per step."""

import csv
import io
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from irg_jax.core.small_files import write_text
from irg_jax.core.storage import AnyPath, appears_when_closed, retry
from irg_jax.training.metrics import METRICS_FILE, PARTS_FOLDER, read_metrics

Row = dict[str, float]


class TableWriter:
    """Writes one row of numbers per step to ``metrics.csv``.

    Reading a number gives the same float back, so two loss curves can be compared bit for bit. In a file system every
    row is in the file when ``write`` returns. On a bucket, where a file is seen once it is closed and cannot grow, rows
    are written in parts of ``part_seconds``, which ``close`` and the next run merge into the file; ``read_metrics``
    reads both.
    """

    def __init__(
        self,
        directory: AnyPath,
        *,
        resume_step: int | None,
        part_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the file.

        Args:
          directory: the run's folder; made if it is missing.
          resume_step: see ``open_writers``.
          part_seconds: of a part on a bucket; a machine that is lost takes the rows of so many seconds with it.
          clock: in seconds.
        """
        self._path, self._parts = directory / METRICS_FILE, directory / PARTS_FOLDER
        self._part_seconds, self._clock = part_seconds, clock
        self._last_step = -1 if resume_step is None else resume_step
        self._retry(lambda: directory.mkdir(parents=True, exist_ok=True))
        self._in_parts = appears_when_closed(directory)
        self._part: list[Row] = []  # on a bucket: the rows that are not written yet
        self._part_start = clock()
        self._columns = ["step"]
        self._retry(self._merge)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the numbers of ``step``; new names become new columns. See ``Writer``."""
        if step < self._last_step:
            raise ValueError(f"{self._path}: step {step} comes after step {self._last_step}; steps must not decrease")
        if "step" in scalars:
            raise ValueError(f"{self._path}: 'step' is the first column, not the name of a metric")
        row = {"step": step, **{name: float(value) for name, value in scalars.items()}}
        if self._in_parts:
            self._part.append(row)
            if self._clock() - self._part_start >= self._part_seconds:
                self._write_part()
        else:
            self._append(row, alone=step > self._last_step)
        self._last_step = step

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Leaves images to the other writers."""

    def write_text(self, name: str, text: str) -> None:
        """Leaves texts to the other writers."""

    def close(self) -> None:
        """On a bucket, merges the parts into the file."""
        if self._in_parts:
            self._write_part()
            self._retry(self._merge)

    def _append(self, row: Row, alone: bool) -> None:
        """Adds a row to the file, to the row of the same step unless there is none."""
        new = [name for name in row if name not in self._columns]
        self._columns += new
        append = alone and not new

        def attempt() -> None:
            nonlocal append
            if append:
                append = False  # a failed try may have left half a line, so the next one writes the file anew
                _append_text(self._path, _lines([row], self._columns))
            else:
                _, rows = read_metrics(self._path)
                step = row["step"]
                same = [old for old in rows if old["step"] == step and not alone]
                merged = {name: value for old in (*same, row) for name, value in old.items()}
                self._rewrite([*(old for old in rows if old["step"] < step), merged])

        self._retry(attempt)

    def _write_part(self) -> None:
        if not self._part:
            return
        columns = list(dict.fromkeys(name for row in self._part for name in row))
        # Two parts may hold the same step, but no two begin at the same moment.
        path = self._parts / f"part-{self._part[0]['step']:08d}-{time.time_ns()}.csv"

        def attempt() -> None:
            self._parts.mkdir(parents=True, exist_ok=True)
            write_text(path, _table(self._part, columns))

        self._retry(attempt)
        self._part, self._part_start = [], self._clock()

    def _merge(self) -> None:
        """Writes all rows up to the last step into the file, then removes the parts."""
        columns, rows = read_metrics(self._path) if self._last_step >= 0 and self._path.exists() else (["step"], [])
        self._columns = columns
        self._rewrite([row for row in rows if row["step"] <= self._last_step])
        if self._parts.is_dir():
            for part in list(self._parts.iterdir()):
                part.unlink(missing_ok=True)
        if self._parts.is_dir():  # not on a bucket, where a folder is gone with what is in it
            self._parts.rmdir()

    def _rewrite(self, rows: Sequence[Row]) -> None:
        # Completely or not at all, so that a kill at any moment leaves either the old rows or the new ones.
        write_text(self._path, _table(rows, self._columns))

    def _retry(self, work: Callable[[], object]) -> None:
        retry(work, f"{self._path}: cannot be written")


def _table(rows: Iterable[Row], columns: Sequence[str]) -> str:
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(columns)
    return header.getvalue() + _lines(rows, columns)


def _lines(rows: Iterable[Row], columns: Sequence[str]) -> str:
    text = io.StringIO()
    cells = ([repr(row[name]) if name in row else "" for name in columns] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()


def _append_text(path: AnyPath, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
