"""The first of two passes: every row is read and checked; what is kept of it is its hashes and lengths.

So the rows that make a trajectory can be found, and its shard be chosen, without holding any picture.
"""

import collections
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.data.importing import check
from irg_jax.data.importing.row import Importer, Rejected, Row
from irg_jax.data.trajectory import CONTENTS

# Hashes are 64 bits, 0 for a field that is missing; what is written is compared once more with all of them.
HASHES = np.dtype([(name, np.uint64) for name in CONTENTS])
SIZES = np.dtype([(name, np.uint32) for name in CONTENTS])
ROW = np.dtype(
    [
        ("piece", np.uint32),
        ("number", np.uint32),
        ("split", np.int32),  # where the prompt is in ``Row.question``, see ``split_question``; 0 if it is in a field
        ("key", np.uint64),
        ("hashes", HASHES),
        ("sizes", SIZES),
    ]
)
# A way to take the question of row number ``row`` of a scan apart: hashes of the prompt and of the question.
SPLIT = np.dtype(
    [
        ("row", np.uint32),
        ("split", np.int32),
        ("prompt", np.uint64),
        ("question", np.uint64),
        ("size", np.uint32),
    ]
)
_MOST_LINES = 64  # of a question; a prompt is looked for before and after it


class Scan(NamedTuple):
    """What is kept of a piece: rows of dtype ``ROW``, splits of dtype ``SPLIT``, what was rejected and noted."""

    rows: np.ndarray
    splits: np.ndarray
    rejected: list[Rejected]
    noted: collections.Counter[str]


def scan(importer: Importer, piece: int, max_text: int) -> Scan:
    """Reads and checks the rows of a piece.

    Args:
      importer: of the input.
      piece: index of the piece.
      max_text: the most characters of a text.

    Raises:
      UserError: the input has changed.
      StorageError: the storage went on answering with errors.
    """
    rows: list[tuple] = []
    splits: list[tuple] = []
    rejected: list[Rejected] = []
    noted: collections.Counter[str] = collections.Counter()
    for number, row in importer.rows(piece):
        if isinstance(row, Rejected):
            rejected.append(row)
            continue
        try:
            check.check_row(row, max_text)
        except UserError as error:
            rejected.append(importer.rejected(piece, number, check.reason(error, row.key)))
            continue
        splits += [(len(rows), *split) for split in _splits(row)]
        sizes = tuple(_size(row.fields.get(name)) for name in CONTENTS)
        rows.append((piece, number, 0, hash_field(row.key), field_hashes(row.fields), sizes))
        noted.update(row.noted)
    return Scan(np.array(rows, ROW), np.array(splits, SPLIT), rejected, noted)


def dump(scanned: Scan) -> bytes:
    """A scan as the bytes of a file."""
    file = io.BytesIO()
    text = json.dumps([[list(one) for one in scanned.rejected], scanned.noted])
    np.savez(file, rows=scanned.rows, splits=scanned.splits, text=np.frombuffer(text.encode(), np.uint8))
    return file.getvalue()


def load(content: bytes) -> Scan:
    """The scan that ``dump`` made bytes of."""
    with np.load(io.BytesIO(content)) as file:
        rejected, noted = json.loads(file["text"].tobytes())
        return Scan(file["rows"], file["splits"], [Rejected(*one) for one in rejected], collections.Counter(noted))


def hash_field(value: str | bytes | None) -> int:
    """A hash of 64 bits, 0 only for a field that is missing or empty."""
    if not value:
        return 0
    content = value if isinstance(value, bytes) else value.encode("utf-8")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") or 1


def field_hashes(fields: Mapping[str, str | bytes]) -> tuple[int, ...]:
    """The hashes of the fields in ``CONTENTS``."""
    return tuple(hash_field(fields.get(name)) for name in CONTENTS)


def split_question(text: str, split: int) -> tuple[str, str]:
    """Prompt and question of a text: the prompt is its first ``split`` lines, or its last ``-split`` ones."""
    lines = text.split("\n")
    first, last = lines[:split], lines[split:]
    prompt, question = (first, last) if split > 0 else (last, first)
    return "\n".join(prompt), "\n".join(question)


def _splits(row: Row) -> Iterator[tuple[int, int, int, int]]:
    """Every way to take a row's question apart, the longest prompts first; the prompt may be all of it."""
    if not row.question:
        return
    lines = row.question.count("\n") + 1
    for length in range(lines, max(lines - _MOST_LINES, 0), -1):
        for split in (length, -length) if length < lines else (length,):
            prompt, question = split_question(row.question, split)
            if prompt.strip():
                yield split, hash_field(prompt), hash_field(question), len(prompt.encode())


def _size(value: str | bytes | None) -> int:
    return len(value if isinstance(value, bytes) else (value or "").encode())
