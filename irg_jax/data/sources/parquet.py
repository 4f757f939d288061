"""Random access to rows of parquet files: some of their columns, read by row group and cached."""

import bisect
import collections
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, is_transient, is_transient_or_gone, is_url, retry
from irg_jax.data.conversation import SourceFile
from irg_jax.data.sources.files import describe

T = TypeVar("T")

# Training reads rows at random, and each row costs its whole row group. So large groups are refused, and a worker's
# memory for a source is bounded by the cache and the one group that is being read.
MAX_GROUP_BYTES = 64 << 20
CACHE_BYTES = 64 << 20
SMALLER_GROUPS = "write the file again with smaller ones (row_group_size of pyarrow.parquet.write_table)"


class Column(NamedTuple):
    """A column that a source reads.

    Attributes:
      name: of the column.
      accepts: whether its values have the right type.
      wanted: that type in words, for the error: "strings of JSON".
    """

    name: str
    accepts: Callable[[pa.DataType], bool]
    wanted: str


def is_text(kind: pa.DataType) -> bool:
    """Whether a column's values are strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column's values are bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_list(kind: pa.DataType, of: Callable[[pa.DataType], bool]) -> bool:
    """Whether a column's values are lists of a type."""
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and of(kind.value_type)


class RowGroup(NamedTuple):
    """Rows of a parquet file that are read together.

    Attributes:
      file: path relative to the data set's folder, with forward slashes.
      number: index of the row group in the file.
      start: index of its first row in the table.
      start_in_file: index of its first row in the file.
      rows: number of rows.
    """

    file: str
    number: int
    start: int
    start_in_file: int
    rows: int


class Table:
    """Random access to the rows of files; picklable and thread-safe.

    Args:
      directory: the data set's folder.
      columns: names of the columns that are read.
      groups: the row groups in order.
      files: the files in order.

    Attributes:
      files: as given.
    """

    def __init__(
        self, directory: AnyPath, columns: Sequence[str], groups: Sequence[RowGroup], files: Sequence[SourceFile]
    ):
        self.files = files
        self._directory, self._columns, self._groups = directory, columns, groups
        self._starts = [group.start for group in groups]
        self._reading = threading.Lock()  # one group is read at a time, which bounds the memory
        self._lock = threading.Lock()  # guards the two fields below; rows are copied out of a group under it
        self._cache: collections.OrderedDict[int, pa.Table] = collections.OrderedDict()
        self._cached_bytes = 0

    def __reduce__(self) -> tuple:
        return Table, (self._directory, self._columns, self._groups, self.files)

    def __len__(self) -> int:
        return self._groups[-1].start + self._groups[-1].rows

    def key(self, index: int) -> str:
        """The file and the number of the row in it, from 0: ``folder/part-00000.parquet:17``."""
        group = self._groups[self._group_of(index)]
        return f"{group.file}:{group.start_in_file + index - group.start}"

    def row(self, index: int) -> dict[str, Any]:
        """The values of row ``index`` by column.

        Raises:
          IndexError: no such row.
          UserError: a file that has changed or is damaged, or a text that is not UTF-8.
          StorageError: the storage went on answering with errors; it names the row.
        """
        number, key = self._group_of(index), self.key(index)
        row = index - self._groups[number].start
        values = self._cached_row(number, row, key)
        if values is not None:
            return values
        with self._reading:
            values = self._cached_row(number, row, key)  # another thread may have read the group meanwhile
            if values is not None:
                return values
            with self._lock:
                self._evict(0)  # a group is larger in memory than its file says where values repeat
            table = self._read(number, key)
            with self._lock:
                self._cache[number] = table
                self._cached_bytes += table.nbytes
                # The latest group stays, however large: otherwise reading in order would read it again for each row.
                self._evict(1)
            return _values(table, row, key)

    def _group_of(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return bisect.bisect_right(self._starts, index) - 1

    def _cached_row(self, number: int, row: int, key: str) -> dict[str, Any] | None:
        with self._lock:
            if number not in self._cache:
                return None
            self._cache.move_to_end(number)
            return _values(self._cache[number], row, key)

    def _evict(self, kept: int) -> None:
        """Drops the groups that were not used for longest until the rest is in bounds, or only ``kept`` are left."""
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > kept:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes

    def _read(self, number: int, key: str) -> pa.Table:
        group = self._groups[number]
        path = self._directory / group.file
        # The file was there when the table was opened: if it is missing now, its mount may come back.
        return _readable(
            lambda: read_group(path, group, self._columns),
            path,
            f"{path}: record {key} cannot be read",
            is_transient_or_gone,
        )


class TableSource:
    """What the sources share that make each row a record; each has its own ``kind`` and ``read``.

    Args:
      table: the rows, with the columns that the source reads.

    Attributes:
      files: as of any ``Source``.
    """

    def __init__(self, table: Table):
        self.files = table.files
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def key(self, index: int) -> str:
        """The file and the number of the row in it, from 0: ``folder/part-00000.parquet:17``."""
        return self._table.key(index)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(file.path for file in self.files)})"


def open_table(directory: AnyPath, paths: Sequence[AnyPath], columns: Sequence[Column], advice: str) -> Table:
    """Opens parquet files; only their footers are read here.

    Args:
      directory: the data set's folder.
      paths: the files in order, in the folder.
      columns: what is read of them.
      advice: what to do where a row group is too large.

    Raises:
      UserError: a file that cannot be read, lacks a column, has one of another type, or has a row group of more than
        ``MAX_GROUP_BYTES`` in these columns; or no file has rows.
      StorageError: the storage went on answering with errors.
    """
    groups: list[RowGroup] = []
    files: list[SourceFile] = []
    start = 0
    for path in paths:
        file, start_in_file = path.relative_to(directory).as_posix(), 0
        for number, rows in enumerate(_row_counts(path, columns, advice)):
            groups.append(RowGroup(file, number, start, start_in_file, rows))
            start, start_in_file = start + rows, start_in_file + rows
        files.append(describe(path, directory, start_in_file))
    if not start:
        raise UserError(f"{paths[0].parent}: its parquet files have no rows; fetch or write them again")
    return Table(directory, [column.name for column in columns], groups, files)


def read_group(path: AnyPath, group: RowGroup, columns: Sequence[str]) -> pa.Table:
    """Reads columns of a row group. Raises UserError if it has not the rows that it had; and pyarrow's errors."""
    with _parquet(path, page_checksum_verification=True) as file:
        table = file.read_row_group(group.number, columns=list(columns))
    if len(table) != group.rows:
        raise UserError(
            f"{path}: row group {group.number} has {len(table)} rows, and had {group.rows} when it was opened; "
            "start the run again"
        )
    return table


def _values(table: pa.Table, row: int, key: str) -> dict[str, Any]:
    values = {}
    for name in table.column_names:
        try:
            values[name] = table.column(name)[row].as_py()
        except UnicodeDecodeError as error:
            raise UserError(f"record {key}: {name} is not UTF-8 ({error}); repair or remove the record") from error
    return values


def _row_counts(path: AnyPath, columns: Sequence[Column], advice: str) -> list[int]:
    """Number of rows in each row group; checks the columns and the sizes of the groups."""
    names = [column.name for column in columns]

    def read() -> tuple[pa.Schema, list[tuple[int, int]]]:
        with _parquet(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            return file.schema_arrow, [(group.num_rows, _group_bytes(group, names)) for group in groups]

    schema, groups = _readable(read, path, f"{path}: cannot be read", is_transient)
    for name, accepts, wanted in columns:
        if schema.names.count(name) != 1:
            raise UserError(f"{path}: needs one column {name!r}, has {', '.join(schema.names)}; rename or add it")
        kind = schema.field(name).type
        if not accepts(kind):
            raise UserError(f"{path}: the column {name!r} is of type {kind}; write it as {wanted}")
    for number, (_, size) in enumerate(groups):
        if size > MAX_GROUP_BYTES:
            raise UserError(
                f"{path}: row group {number} has {size / 2**20:.1f} MiB, which each row would read; at most "
                f"{MAX_GROUP_BYTES / 2**20:g} MiB are allowed; {advice}"
            )
    return [rows for rows, _ in groups]


def _group_bytes(group: pq.RowGroupMetaData, names: Sequence[str]) -> int:
    """Bytes of some columns of a row group before compression; a column of lists has the path of its items."""
    chunks = [group.column(i) for i in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.partition(".")[0] in names)


@contextlib.contextmanager
def _parquet(path: AnyPath, **options: Any) -> Iterator[pq.ParquetFile]:
    # A local file is read by pyarrow itself, whose threads need not wait for Python's.
    opened = path.open("rb") if is_url(path) else contextlib.nullcontext(str(path))
    with opened as source, pq.ParquetFile(source, **options) as file:
        yield file


def _readable(work: Callable[[], T], path: AnyPath, what: str, retry_if: Callable[[BaseException], bool]) -> T:
    """Reads a file with ``retry``; other errors of the parquet reader become a UserError that names the file."""
    try:
        return retry(work, what, retry_if=retry_if)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last one of the name of a column
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as parquet ({reason}); fetch or write it again") from error
