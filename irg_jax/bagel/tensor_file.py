"""The safetensors format, read and written in pieces: eight bytes of length, a JSON table, and the numbers.

The library reads whole tensors and writes whole files; a conversion must do with far less memory than either.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import ml_dtypes
import numpy as np

from irg_jax.errors import UserError

DTYPES = {"F32": np.dtype(np.float32), "BF16": np.dtype(ml_dtypes.bfloat16), "F16": np.dtype(np.float16)}
CODES = {dtype: code for code, dtype in DTYPES.items()}
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip
_LONGEST_HEADER = 100_000_000  # the format's own bound
PIECE = 32 * 2**20  # bytes read at a time


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One entry of a file's table.

    Attributes:
      path: the file.
      dtype: the format's code, such as ``BF16``.
      shape: of the tensor.
      start: byte in the file at which its numbers begin, row by row.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def row_size(self) -> int:
        """Numbers in one step along its first axis."""
        return math.prod(self.shape[1:])

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.size * _BITS[self.dtype] // 8


@dataclasses.dataclass(frozen=True)
class TensorFile:
    """A file's table.

    Attributes:
      path: the file.
      header: the JSON text exactly as it stands in the file, padding included.
      tensors: by key, in the order of the text.
    """

    path: Path
    header: str
    tensors: dict[str, Tensor]

    @property
    def nbytes(self) -> int:
        """Size of the whole file."""
        return 8 + len(self.header.encode()) + sum(tensor.nbytes for tensor in self.tensors.values())


def read_table(path: Path) -> TensorFile:
    """Reads the table of a file and holds it against the file's size.

    Raises:
      UserError: unreadable, cut off, or no safetensors file.
    """
    try:
        actual = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_LONGEST_HEADER, max(actual - 8, 0)):
                raise UserError(f"{path}: no safetensors file, or cut off inside its table; copy it again")
            header = file.read(length).decode("utf-8")
        found = parse_table(path, header)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: its safetensors table is damaged ({error}); copy it again") from error
    if found.nbytes != actual:
        kind = "cut off" if actual < found.nbytes else "too long"
        raise UserError(
            f"{path}: is {kind}: its table describes {found.nbytes:,} bytes, it has {actual:,}; copy it again"
        )
    return found


def parse_table(path: Path, header: str) -> TensorFile:
    """The table that a header describes, for a file at ``path``.

    Raises:
      ValueError: numbers that overlap, leave a gap or do not fit their shape, or a key that stands twice.
      KeyError: an entry without its fields, or of an unknown type.
    """
    entries = json.loads(header, object_pairs_hook=_once)
    entries.pop("__metadata__", None)
    base = 8 + len(header.encode())
    tensors = {
        key: Tensor(path, entry["dtype"], tuple(entry["shape"]), base + entry["data_offsets"][0])
        for key, entry in entries.items()
    }
    end = base
    for key, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].nbytes)):
        if tensor.start != end or entries[key]["data_offsets"][1] != tensor.start - base + tensor.nbytes:
            raise ValueError(f"{key} does not lie where its shape and its neighbour say")
        end += tensor.nbytes
    return TensorFile(path, header, tensors)


def metadata_of(header: str) -> dict[str, str] | None:
    """The free text that a header carries beside the table."""
    return json.loads(header).get("__metadata__")


def make_header(tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str] | None) -> str:
    """A header that lays tensors out one after the other.

    Args:
      tensors: (code of the type, shape) by key.
      metadata: free text, such as ``{"format": "pt"}``.
    """
    table: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for key, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * _BITS[dtype] // 8
        table[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False)
    # Numbers start at a multiple of eight bytes.
    return text + " " * (-len(text.encode()) % 8)


def read_rows(tensor: Tensor, first: int, last: int) -> np.ndarray:
    """Rows ``first`` to ``last`` of a tensor whose type is in ``DTYPES``.

    Raises:
      UserError: the file has become unreadable or shorter.
    """
    dtype = DTYPES[tensor.dtype]
    rows = np.empty((last - first, *tensor.shape[1:]), dtype)
    try:
        # Not mapped into memory: pages of a mapping count as this process's own.
        with open(tensor.path, "rb", buffering=0) as file:
            file.seek(tensor.start + first * tensor.row_size * dtype.itemsize)
            view, done = rows.reshape(-1).view(np.uint8).data, 0
            while done < len(view):
                read = file.readinto(view[done:])
                if not read:
                    raise UserError(f"{tensor.path}: became shorter while it was read; copy it again")
                done += read
    except OSError as error:
        raise UserError(f"{tensor.path}: cannot be read: {error.strerror}") from error
    return rows


def steps(length: int, row_bytes: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """(first, last) of runs of rows that cover ``length`` rows, each about ``PIECE`` bytes.

    Args:
      length: number of rows.
      row_bytes: size of one.
      multiple: runs begin at multiples of this.
    """
    step = max(PIECE // max(row_bytes * multiple, 1), 1) * multiple
    for first in range(0, length, step):
        yield first, min(first + step, length)


def finite(values: np.ndarray) -> bool:
    """Whether there is no NaN and no infinity in values of a type in ``DTYPES``."""
    if values.dtype.itemsize == 4:
        return bool(np.isfinite(values).all())
    # All bits of the exponent are set in NaN and infinity; much faster than isfinite on bfloat16.
    exponent = 0x7F80 if values.dtype == DTYPES["BF16"] else 0x7C00
    return bool(((values.view(np.uint16) & exponent) != exponent).all())


class Writer:
    """New files that are filled in any order, rows or parts of rows at a time. A context manager.

    Args:
      files: what to make; each file gets its header and its full size at once.

    Raises:
      OSError: the disk refuses, here or later.
    """

    def __init__(self, files: list[TensorFile]):
        self._descriptors: dict[Path, int] = {}
        for file in files:
            header = file.header.encode()
            descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            self._descriptors[file.path] = descriptor
            _write(descriptor, len(header).to_bytes(8, "little") + header, 0)
            os.truncate(descriptor, file.nbytes)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    def put(self, tensor: Tensor, block: np.ndarray, row: int, column: int = 0) -> None:
        """Writes a block of a tensor.

        Args:
          tensor: of one of the files.
          block: in the tensor's type, as many axes as it has.
          row: of the tensor, where the block begins.
          column: on the second axis, likewise.
        """
        descriptor, itemsize = self._descriptors[tensor.path], block.dtype.itemsize
        rows = block.reshape(len(block), -1)
        whole = rows.shape[1] == tensor.row_size
        start = tensor.start + (row * tensor.row_size + column) * itemsize
        for i, part in enumerate([rows] if whole else rows):
            content = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
            _write(descriptor, content, start + i * tensor.row_size * itemsize)


def _write(descriptor: int, content: bytes | memoryview, start: int) -> None:
    # One call writes at most 2 GiB.
    view, done = memoryview(content), 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], start + done)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = {key for key in keys if keys.count(key) > 1} if len(set(keys)) < len(keys) else set()
    if twice:
        raise ValueError(f"{min(twice)} stands twice")
    return dict(pairs)
