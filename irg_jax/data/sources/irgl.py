"""The published layout of IRGL: one folder per learning mode, parquet files, one column ``conversation`` of JSON.

A cell is a list of turns::

    [{"role": "user", "content": "a red bench", "need_loss": false},
     {"role": "assistant", "content": [
       {"type": "text", "content": "<think> … </think>", "need_loss": true},
       {"type": "image", "content": "<base64>", "need_loss": false, "need_vae": true, "need_vit": true}]}]

Flags may be left out: ``need_loss`` is then true for an assistant's text, every other flag false. There is no system
role; a system prompt is a user's text. Any other content is an error that names the row; no row is skipped. Other
columns are not read.
"""

import base64
import bisect
import collections
import contextlib
import dataclasses
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_hidden
from irg_jax.core.storage import AnyPath, as_path, is_transient, is_transient_or_gone, is_url, retry
from irg_jax.core.text import check_text
from irg_jax.data.checksum import checksum
from irg_jax.data.conversation import Conversation, Image, Record, SourceFile, Text

T = TypeVar("T")

_COLUMN = "conversation"

# Indexing reads in order and needs only the last row group; training reads at random and hits the cached share of a
# mode. So this holds a small mode whole and bounds the memory of large ones: 1.5 GiB of host memory for six modes, if
# every row group is smaller than this.
_CACHE_BYTES = 256 << 20

# By role and by type: the type of ``content``, and the flags with their defaults.
_TURNS: dict[str, tuple[type, dict[str, bool]]] = {
    "user": (str, {"need_loss": False}),
    "assistant": (list, {}),
}
_PARTS: dict[str, tuple[type, dict[str, bool]]] = {
    "text": (str, {"need_loss": True}),
    "image": (str, {"need_loss": False, "need_vae": False, "need_vit": False}),
}
_JSON_NAMES = {str: "a string", list: "a list", bool: "true or false"}


@dataclasses.dataclass(frozen=True)
class RowGroup:
    """Rows of a parquet file that are read together.

    Attributes:
      file: path relative to the data set's folder, with forward slashes.
      number: index of the row group in the file.
      start: index of its first row in the source.
      start_in_file: index of its first row in the file.
      rows: number of rows.
    """

    file: str
    number: int
    start: int
    start_in_file: int
    rows: int


class IRGLSource:
    """Random access to the conversations of one mode; picklable and thread-safe.

    Reading a row reads and decodes its whole row group, so files for training should have small row groups.

    Args:
      directory: the data set's folder.
      groups: the row groups in order.
    """

    def __init__(self, directory: AnyPath, groups: Sequence[RowGroup]):
        self._directory = directory
        self._groups = groups
        self._starts = [group.start for group in groups]
        self._reading = [threading.Lock() for _ in groups]  # one thread reads a group, the others wait for it
        self._lock = threading.Lock()  # guards the two fields below
        self._cache: collections.OrderedDict[int, pa.ChunkedArray] = collections.OrderedDict()
        self._cached_bytes = 0

    def __reduce__(self) -> tuple:
        return IRGLSource, (self._directory, self._groups)

    kind = "published conversations v1"

    @property
    def files(self):
        out = {}
        for g in self._groups:
            st = os.stat(self._directory / g.file)
            n = out[g.file].records if g.file in out else 0
            out[g.file] = SourceFile(g.file, st.st_size, n + g.rows, st.st_mtime_ns)
        return list(out.values())

    def key(self, index):
        group = self._groups[bisect.bisect_right(self._starts, index) - 1]
        return f"{group.file}:{group.start_in_file + index - group.start}"

    def read(self, index):
        c = self[index]
        return Record((c,), checksum([p.content if isinstance(p, Image) else p.content.encode() for p in c.parts]))

    def __len__(self) -> int:
        return self._groups[-1].start + self._groups[-1].rows

    def __getitem__(self, index: int) -> Conversation:
        """Row ``index``, 0 to len - 1, with a key such as ``initial_full_learning/part-00000.parquet:17``.

        The number in the key is the row in its file, from 0.

        Raises:
          UserError: a file that has changed or is damaged; a row that is not in the published format (see ``parse``).
          StorageError: the storage went on answering with errors; it names the row.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        number = bisect.bisect_right(self._starts, index) - 1
        group = self._groups[number]
        row = index - group.start
        key = f"{group.file}:{group.start_in_file + row}"
        column = self._column(number, key)
        try:
            text = column[row].as_py()
        except UnicodeDecodeError as error:
            raise UserError(f"record {key}: {_COLUMN} is not UTF-8 ({error}); repair or remove the row") from error
        if text is None:
            raise UserError(f"record {key}: {_COLUMN} is null; write a list of turns or remove the row")
        return parse(text, key)

    def __repr__(self) -> str:
        return f"IRGLSource({', '.join(dict.fromkeys(group.file for group in self._groups))})"

    def _column(self, number: int, key: str) -> pa.ChunkedArray:
        """The row group that a record is in."""
        with self._reading[number]:
            with self._lock:
                if number in self._cache:
                    self._cache.move_to_end(number)
                    return self._cache[number]
            group = self._groups[number]
            # The file was there when the source was opened: if it is missing now, its mount may come back.
            column = _readable(
                lambda: _read(self._directory, group),
                self._directory / group.file,
                f"{self._directory / group.file}: record {key} cannot be read",
                is_transient_or_gone,
            )
            with self._lock:
                self._cache[number] = column
                self._cached_bytes += column.nbytes
                # The latest group stays, however large: otherwise indexing would read it again for every row.
                while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
                    self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
            return column


def open_source(directory: str | os.PathLike[str], mode: str) -> IRGLSource:
    """Opens one learning mode: all ``*.parquet`` files below its folder, sorted by name.

    Only the footers of the files are read here.

    Args:
      directory: the data set's folder, or its URL, which holds one folder per mode.
      mode: name of the mode's folder.

    Raises:
      UserError: no such folder, no files or rows in it, or a file that cannot be read or lacks the column.
      StorageError: the storage went on answering with errors.
    """
    folder = as_path(directory)
    folders, files = retry(lambda: _listing(folder, mode), f"{folder}: cannot be read")
    if not files:
        known = f"the folders in {folder} are {', '.join(folders) or 'none'}"
        raise UserError(f"{folder / mode}: no *.parquet files; {known}; choose one or give the data set's folder")
    groups: list[RowGroup] = []
    start = 0
    for path in files:
        start_in_file = 0
        for number, rows in enumerate(_row_counts(path)):
            groups.append(RowGroup(path.relative_to(folder).as_posix(), number, start, start_in_file, rows))
            start += rows
            start_in_file += rows
    if not start:
        raise UserError(f"{folder / mode}: its parquet files have no rows; fetch or write them again")
    return IRGLSource(folder, groups)


def _listing(directory: AnyPath, mode: str) -> tuple[list[str], list[AnyPath]]:
    """The names of the folders in the data set's folder, and the files of one of them, both sorted."""
    inside = directory.iterdir() if directory.is_dir() else []
    folders = sorted(path.name for path in inside if not is_hidden(path) and path.is_dir())
    return folders, sorted(_parquet_files(directory / mode)) if mode in folders else []


def _parquet_files(folder: AnyPath, above: tuple[str, ...] = ()) -> Iterator[AnyPath]:
    """The files in a folder and in the folders in it: some writers make ``part-00000.parquet`` a folder of files.

    Links count as what they lead to. Hidden files and folders do not count: copies, snapshots and leftovers.

    Raises:
      UserError: a link that leads nowhere, or to a folder that it is in.
    """
    real = os.path.realpath(folder)
    if real in above:
        raise UserError(f"{folder}: is a link to a folder that it is in; remove it")
    for path in folder.iterdir():
        if is_hidden(path):
            continue
        if path.is_dir():
            yield from _parquet_files(path, (*above, real))
        elif path.suffix == ".parquet":
            if not path.exists():
                raise UserError(f"{path}: is a link that leads nowhere; repair or remove it")
            yield path


def _row_counts(path: AnyPath) -> list[int]:
    """Number of rows in each row group; checks that the column is there and of strings."""

    def read() -> tuple[pa.Schema, list[int]]:
        with _parquet(path) as file:
            footer = file.metadata
            return file.schema_arrow, [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]

    schema, counts = _readable(read, path, f"{path}: cannot be read", is_transient)
    if schema.names.count(_COLUMN) != 1:
        raise UserError(f"{path}: needs one column {_COLUMN!r}, has {', '.join(schema.names)}; rename or add it")
    kind = schema.field(_COLUMN).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UserError(f"{path}: the column {_COLUMN!r} is of type {kind}; write it as strings of JSON")
    return counts


def _read(directory: AnyPath, group: RowGroup) -> pa.ChunkedArray:
    path = directory / group.file
    with _parquet(path, page_checksum_verification=True) as file:
        column = file.read_row_group(group.number, columns=[_COLUMN]).column(_COLUMN)
    if len(column) != group.rows:
        raise UserError(
            f"{path}: row group {group.number} has {len(column)} rows, and had {group.rows} when it was opened; "
            "start the run again"
        )
    return column


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
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as parquet ({reason}); fetch or write it again") from error


def parse(text: str, key: str) -> Conversation:
    """Parses the JSON text of a conversation; the parts keep their order, a user's turn is one text part.

    Args:
      text: the cell of the column.
      key: identifies the row in errors and in the conversation.

    Raises:
      UserError: anything but the published layout, with its path, such as ``conversation[1].content[0]``.
    """
    where = f"record {key}: {_COLUMN}"
    try:
        turns = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error}); repair or remove the row") from error
    if not isinstance(turns, list) or not turns:
        raise UserError(f"{where} is {_shown(turns)}; it must be a list of turns that is not empty")
    parts: list[Text | Image] = []
    for i, turn in enumerate(turns):
        role, content, flags = _fields(turn, "role", _TURNS, f"{where}[{i}]")
        if role == "user":
            parts.append(Text(content, **flags))
        else:
            parts += [_part(part, f"{where}[{i}].content[{j}]") for j, part in enumerate(content)]
    return Conversation(key, tuple(parts))


def _part(part: Any, where: str) -> Text | Image:
    kind, content, flags = _fields(part, "type", _PARTS, where)
    if kind == "text":
        return Text(content, **flags)
    try:
        return Image(base64.b64decode(content, validate=True), **flags)
    except ValueError as error:
        problem = f"{where}.content is {_shown(content)}, which is not base64 ({error})"
        raise UserError(f"{problem}; encode the image's bytes, without line breaks") from error


def _fields(
    value: Any, tag: str, table: dict[str, tuple[type, dict[str, bool]]], where: str
) -> tuple[str, Any, dict[str, bool]]:
    """Tag, content and flags of a turn or a part, with defaults for the flags that are missing."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {_shown(value)}; it must be an object with {tag!r} and 'content'")
    if value.get(tag) not in list(table):  # a list, because the value may not be hashable
        found = f"is {_shown(value[tag])}" if tag in value else "is missing"
        raise UserError(f"{where}.{tag} {found}; it must be {' or '.join(map(repr, table))}")
    content_type, defaults = table[value[tag]]
    types = {tag: str, "content": content_type, **dict.fromkeys(defaults, bool)}
    for name, found in value.items():
        if name not in types:
            raise UserError(f"{where} has the unknown key {_shown(name)}; known keys are {', '.join(types)}")
        if not isinstance(found, types[name]):
            raise UserError(f"{where}.{name} is {_shown(found)}; it must be {_JSON_NAMES[types[name]]}")
    if not value.get("content"):
        raise UserError(f"{where}.content is {'empty' if 'content' in value else 'missing'}; write it")
    if content_type is str:
        check_text(value["content"], f"{where}.content")
    return value[tag], value["content"], {name: value.get(name, default) for name, default in defaults.items()}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):  # Python would silently keep the last one
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} appears twice in one object")
    return made


def _shown(value: Any) -> str:
    """A value as JSON on one line, truncated to 60 characters."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
