"""Rows of parquet files in order, a few at a time, however large their row groups are."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, is_transient, is_url, retry
from irg_jax.data.importing.row import Rejected
from irg_jax.data.importing.values import version
from irg_jax.data.sources.files import walk

_PIECE_BYTES = 256 << 20
_BATCH = 16  # rows decoded together: a row may hold megabytes
_BUFFER = 1 << 20


class Piece(NamedTuple):
    """Row groups of a file that are read together.

    Attributes:
      file: path relative to the data set's folder, with forward slashes.
      first: its first row group.
      groups: the number of rows of each.
      start: number of the first row in its file.
      missing: names of the columns that the file lacks: its rows cannot be used.
    """

    file: str
    first: int
    groups: tuple[int, ...]
    start: int
    missing: tuple[str, ...] = ()


class File(NamedTuple):
    """A parquet file.

    Attributes:
      name: path relative to the data set's folder.
      columns: their names.
      groups: bytes and rows of each row group.
      version: see ``values.version``.
    """

    name: str
    columns: tuple[str, ...]
    groups: tuple[tuple[int, int], ...]
    version: tuple[int, float]


def find_files(folder: AnyPath, names: Sequence[str] = ("",)) -> list[File]:
    """The parquet files in a folder, or in these folders in it, by name; hidden ones do not count.

    Raises:
      UserError: none, or one that is not parquet: it has to be fetched again, since nobody knows how many rows it had.
      StorageError: the storage went on answering with errors.
    """
    folders = [folder / name if name else folder for name in names]
    paths = [path for one in folders if one.is_dir() for path in sorted(walk(one, ".parquet"))]
    return [retry(lambda path=path: _file(folder, path), f"{path}: cannot be read") for path in paths]  # type: ignore[misc]


def find_pieces(files: Sequence[File], columns: Sequence[str]) -> list[Piece]:
    """The pieces of these files; ``columns`` are those that they have to have."""
    pieces: list[Piece] = []
    for file in files:
        missing = tuple(name for name in columns if name not in file.columns)
        first, start, size = 0, 0, 0
        for number, (group_bytes, _) in enumerate(file.groups):
            size += group_bytes
            if (size >= _PIECE_BYTES and not missing) or number == len(file.groups) - 1:
                groups = tuple(rows for _, rows in file.groups[first : number + 1])
                if sum(groups):
                    pieces.append(Piece(file.name, first, groups, start, missing))
                first, start, size = number + 1, start + sum(groups), 0
    return pieces


def read_piece(
    folder: AnyPath, piece: Piece, columns: Sequence[str], wanted: Collection[int] | None
) -> Iterator[tuple[int, dict[str, pa.Scalar] | Rejected]]:
    """Rows of a piece, as ``Importer.rows`` gives them: numbers in their file, and the cells by column.

    A row group that cannot be read to its end is rejected from there on.
    """
    if piece.missing:
        reason = f"the file has no column {', '.join(map(repr, piece.missing))}"
        yield piece.start, Rejected(piece.file, None, reason, sum(piece.groups))
        return
    reader, number = _Reader(folder / piece.file, columns), piece.start
    for group, rows in enumerate(piece.groups, piece.first):
        end = number + rows
        if wanted is not None and not any(number <= row < end for row in wanted):
            number = end
            continue
        reader.start(group)
        while number < end:
            try:
                what = f"{folder / piece.file}: row {number} cannot be read"
                batch = retry(reader.next, what, retry_if=is_transient)
            except (pa.ArrowException, OSError) as error:
                reason = f"rows {number} to {end - 1} cannot be read ({' '.join(str(error).split())[:200]})"
                yield number, Rejected(piece.file, number, reason, end - number)
                number = end
                break
            for index in range(batch.num_rows):
                if wanted is None or number in wanted:
                    yield number, {name: batch.column(name)[index] for name in columns}
                number += 1


class _Reader:
    """The batches of a row group; after an error the file is opened again, and what was given is skipped."""

    def __init__(self, path: AnyPath, columns: Sequence[str]):
        self._path, self._columns = path, list(columns)
        self._file: pq.ParquetFile | None = None
        self.start(0)

    def start(self, group: int) -> None:
        """Begins a row group."""
        self._group, self._given = group, 0
        self._batches: Iterator[pa.RecordBatch] | None = None

    def next(self) -> pa.RecordBatch:
        """The next batch of the row group."""
        try:
            if self._file is None:
                self._file = _open(self._path)
            if self._batches is None:
                self._batches = self._file.iter_batches(_BATCH, row_groups=[self._group], columns=self._columns)
                for _ in range(self._given):
                    next(self._batches)
            batch = next(self._batches)
        except StopIteration:
            raise pa.ArrowInvalid("there are fewer rows than the footer says") from None
        except BaseException:
            self._file = self._batches = None
            raise
        self._given += 1
        return batch


def _open(path: AnyPath) -> pq.ParquetFile:
    # A small buffer instead of the whole row group; pages are checked where they have checksums.
    options: Any = {"page_checksum_verification": True, "pre_buffer": False, "buffer_size": _BUFFER}
    return pq.ParquetFile(path.open("rb") if is_url(path) else str(path), **options)


def _file(folder: AnyPath, path: AnyPath) -> File:
    try:
        with _open(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            sizes = tuple((group.total_byte_size, group.num_rows) for group in groups)
            name = path.relative_to(folder).as_posix()
            return File(name, tuple(file.schema_arrow.names), sizes, version(path))
    except (pa.ArrowException, OSError) as error:
        if is_transient(error):
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as parquet ({reason}); fetch it again or remove it") from error
