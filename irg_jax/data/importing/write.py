"""The second of two passes: the rows of a shard are read again, put together and written."""

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.data import array_record
from irg_jax.data.importing import plan, scan
from irg_jax.data.importing.features import Serializer
from irg_jax.data.importing.row import Importer, Rejected, Row
from irg_jax.data.trajectory import Trajectory, content_hash


class ChangedError(UserError):
    """The input is not what was scanned: nothing that was done so far can be used."""


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What a record says of itself where its row does not."""

    source: str = ""
    licence: str = ""


def write_shard(path: Path, importer: Importer, shard: plan.Shard, defaults: Defaults) -> None:
    """Writes an ArrayRecord file, completely or not at all.

    Raises:
      ChangedError: the input has changed since it was scanned.
      OSError: it cannot be written.
    """
    array_record.write(path, map(Serializer(), _trajectories(importer, shard, defaults)), len(shard.ends))


def dump(shard: plan.Shard) -> bytes:
    """A shard of a plan as the bytes of a file."""
    file = io.BytesIO()
    np.savez(file, rows=shard.rows, ends=shard.ends)
    return file.getvalue()


def load(content: bytes) -> plan.Shard:
    """The shard of a plan that ``dump`` made bytes of."""
    with np.load(io.BytesIO(content)) as file:
        return plan.Shard(file["rows"], file["ends"])


def _trajectories(importer: Importer, shard: plan.Shard, defaults: Defaults) -> Iterator[Trajectory]:
    rows = _Rows(importer, shard.rows)
    begin = 0
    for end in shard.ends.tolist():
        yield _trajectory([rows.read(row) for row in shard.rows[begin:end]], defaults)
        begin = end


def _trajectory(rows: Sequence[Row], defaults: Defaults) -> Trajectory:
    fields: dict[str, str | bytes] = {}
    for row in rows:
        fields |= row.fields
    about = {}
    for name in ("source", "licence", "teachers", "scene"):
        about[name] = next((getattr(row, name) for row in rows if getattr(row, name)), getattr(defaults, name, ""))
    trajectory = Trajectory(key=rows[0].key, **fields, **about)  # type: ignore[arg-type]
    return dataclasses.replace(trajectory, hash=content_hash(trajectory))


class _Rows:
    """Reads rows of an importer that are mostly asked for in order.

    Each piece has one stream, which goes on from row to row; a row that it has passed is read by itself.
    """

    def __init__(self, importer: Importer, rows: np.ndarray):
        self._importer = importer
        self._wanted: dict[int, set[int]] = {}
        for piece, number in zip(rows["piece"].tolist(), rows["number"].tolist(), strict=True):
            self._wanted.setdefault(piece, set()).add(number)
        self._streams: dict[int, Iterator[tuple[int, Row | Rejected]]] = {}
        self._ahead: dict[int, tuple[int, Row | Rejected | None]] = {}  # what each stream has given last

    def read(self, planned: np.void) -> Row:
        """The row at this place, of dtype ``ROW``; ChangedError if it is not the one that was scanned."""
        piece, number, split = int(planned["piece"]), int(planned["number"]), int(planned["split"])
        row = self._find(piece, number)
        if not isinstance(row, Row):
            self._changed(piece, number)
        if split:
            row.fields["prompt"] = scan.split_question(row.question, split)[0]
        if scan.field_hashes(row.fields) != planned["hashes"].tolist():
            self._changed(piece, number)
        return row

    def _find(self, piece: int, number: int) -> Row | Rejected | None:
        if piece not in self._streams:
            self._streams[piece] = iter(self._importer.rows(piece, self._wanted[piece]))
            self._ahead[piece] = (-1, None)
        while self._ahead[piece][0] < number:
            self._ahead[piece] = next(self._streams[piece], (1 << 32, None))
        found, row = self._ahead[piece]
        if found == number:
            return row
        return next(iter(self._importer.rows(piece, {number})), (-1, None))[1]

    def _changed(self, piece: int, number: int) -> NoReturn:
        file, row, _, _ = self._importer.rejected(piece, number, "")
        where = file if row is None else f"{file} row {row}"
        raise ChangedError(f"{where}: has changed since the build began; start the build again")
