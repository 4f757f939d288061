"""safetensors files in bounded memory: headers, rows of tensors, and files written in any order.

Rows are read through the safetensors library. It neither gives the text of a header, which a byte-identical export
needs, nor says what is wrong with a damaged file, and it writes whole files only: these three are implemented here. The
format is eight bytes of length, a JSON header of that length, and the tensors (https://huggingface.co/docs/safetensors).
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
from safetensors import SafetensorError, safe_open

from irg_jax.core.errors import UserError
from irg_jax.core.storage import storage_reason

DTYPES = {"F32": np.dtype(np.float32), "BF16": np.dtype(ml_dtypes.bfloat16), "F16": np.dtype(np.float16)}
CODES = {dtype: code for code, dtype in DTYPES.items()}
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
BLOCK_BYTES = 32 * 2**20  # read or written at a time


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One entry of a file's header.

    Attributes:
      path: the file.
      key: name of the tensor.
      dtype: the format's code, such as ``BF16``.
      shape: of the tensor.
      start: offset of its first byte in the file; the tensor is contiguous, row-major.
    """

    path: Path
    key: str
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def row_size(self) -> int:
        """Number of elements per row, a step along the first axis."""
        return math.prod(self.shape[1:])

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        return self.size * _BITS[self.dtype] // 8


@dataclasses.dataclass(frozen=True)
class TensorFile:
    """The header of a file.

    Attributes:
      path: the file.
      header: the JSON text exactly as in the file, padding included.
      tensors: by key, in the order of the text.
    """

    path: Path
    header: str
    tensors: dict[str, Tensor]

    @property
    def nbytes(self) -> int:
        """Size of the whole file."""
        return 8 + len(self.header.encode()) + sum(tensor.nbytes for tensor in self.tensors.values())


def read_header(path: Path) -> TensorFile:
    """Reads the header of a file and checks it against the file's size.

    Raises:
      UserError: unreadable, cut off, or not a safetensors file.
    """
    try:
        actual = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, max(actual - 8, 0)):
                raise UserError(f"{path}: is not a safetensors file, or is cut off inside its header; copy it again")
            header = file.read(length).decode("utf-8")
        found = parse_header(path, header)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: its safetensors header is damaged ({error}); copy it again") from error
    if found.nbytes != actual:
        kind = "cut off" if actual < found.nbytes else "too long"
        raise UserError(
            f"{path}: is {kind}: its header describes {found.nbytes:,} bytes, it has {actual:,}; copy it again"
        )
    return found


def parse_header(path: Path, header: str) -> TensorFile:
    """Parses the header of a file at ``path``.

    Raises:
      ValueError: tensors that overlap, leave a gap or do not match their shape, or a duplicate key.
      KeyError: an entry without its fields, or of an unknown dtype.
    """
    entries = json.loads(header, object_pairs_hook=_unique_keys)
    entries.pop("__metadata__", None)
    base = 8 + len(header.encode())
    tensors = {
        key: Tensor(path, key, entry["dtype"], tuple(entry["shape"]), base + entry["data_offsets"][0])
        for key, entry in entries.items()
    }
    end = base
    for key, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].nbytes)):
        if tensor.start != end or entries[key]["data_offsets"][1] != tensor.start - base + tensor.nbytes:
            raise ValueError(f"the offsets of {key} do not match its shape and the tensor before it")
        end += tensor.nbytes
    return TensorFile(path, header, tensors)


def metadata_of(header: str) -> dict[str, str] | None:
    """The ``__metadata__`` of a header, if any."""
    return json.loads(header).get("__metadata__")


def make_header(tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str] | None) -> str:
    """Makes the header of a file with these tensors one after the other.

    Args:
      tensors: (dtype code, shape) by key.
      metadata: free text, such as ``{"format": "pt"}``.
    """
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for key, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * _BITS[dtype] // 8
        entries[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False)
    # The tensors start at a multiple of eight bytes.
    return text + " " * (-len(text.encode()) % 8)


def read_rows(tensor: Tensor, first: int, last: int) -> np.ndarray:
    """Reads rows ``first`` to ``last`` of a tensor whose dtype is in ``DTYPES``.

    Raises:
      UserError: the file has become unreadable or has changed since its header was read.
    """
    try:
        # Opened for each read: closing it unmaps the pages read so far, which count as memory of this process.
        with safe_open(tensor.path, framework="numpy") as file:
            return file.get_slice(tensor.key)[first:last]
    except OSError as error:
        raise UserError(f"{tensor.path}: cannot be read: {storage_reason(error)}") from error
    except SafetensorError as error:
        raise UserError(f"{tensor.path}: changed while it was read ({error}); copy it again") from error


def row_blocks(rows: int, row_bytes: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """Splits rows into blocks of about ``BLOCK_BYTES``: (first, last) of each.

    Args:
      rows: number of rows.
      row_bytes: size of a row.
      multiple: blocks begin at multiples of this.
    """
    step = max(BLOCK_BYTES // max(row_bytes * multiple, 1), 1) * multiple
    for first in range(0, rows, step):
        yield first, min(first + step, rows)


def all_finite(values: np.ndarray) -> bool:
    """Whether values of a dtype in ``DTYPES`` contain neither NaN nor infinity."""
    if values.dtype.itemsize == 4:
        return bool(np.isfinite(values).all())
    # NaN and infinity have all bits of the exponent set; much faster than isfinite on bfloat16.
    exponent = 0x7F80 if values.dtype == DTYPES["BF16"] else 0x7C00
    return bool(((values.view(np.uint16) & exponent) != exponent).all())


class Writer:
    """New files that are written in any order, rows or parts of rows at a time. A context manager.

    Args:
      files: the files to create; each gets its header and its full size immediately.

    Raises:
      OSError: the storage refuses, here or in ``put``.
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
          block: in the tensor's dtype, with the same number of axes.
          row: index on the tensor's first axis where the block begins.
          column: index on its second axis where the block begins.
        """
        descriptor, itemsize = self._descriptors[tensor.path], block.dtype.itemsize
        rows = block.reshape(len(block), -1)
        whole = rows.shape[1] == tensor.row_size
        start = tensor.start + (row * tensor.row_size + column) * itemsize
        for i, part in enumerate([rows] if whole else rows):
            data = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
            _write(descriptor, data, start + i * tensor.row_size * itemsize)


def _write(descriptor: int, data: bytes | memoryview, start: int) -> None:
    # One call writes at most 2 GiB.
    view, done = memoryview(data), 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], start + done)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    duplicates = {key for key in keys if keys.count(key) > 1} if len(set(keys)) < len(keys) else set()
    if duplicates:
        raise ValueError(f"duplicate key {min(duplicates)}")
    return dict(pairs)
