"""``records:FILE.jsonl``: a JSON object per line, with the fields of a trajectory.

``prompt`` has to be there; ``key``, ``thinking1``, ``image1``, ``thinking2``, ``image2``, ``source``, ``licence``,
``scene``, ``teachers`` (an object from field to model) and ``templates`` (an object, kept in the teachers) may be.
Images are paths relative to the file. Lines without text do not count.
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path, retry, storage_reason
from irg_jax.data.importing import check
from irg_jax.data.importing.row import Rejected, Row
from irg_jax.data.importing.values import make_row, parse_object, version

_PIECE_LINES = 2000  # few, because their images are read with them


class _Piece(NamedTuple):
    """Lines of the file: byte offset of the first one, its number, and how many."""

    offset: int
    start: int
    lines: int


class Records:
    """Lines of a file, see ``Importer``; rows are numbered from 0.

    Args:
      path: the file.

    Raises:
      UserError: the file cannot be read.
      StorageError: the storage went on answering with errors.
    """

    merges = False

    def __init__(self, path: str):
        self._path = as_path(path)
        try:
            self.pieces = retry(self._find_pieces, f"{path}: cannot be read")
            self._version = retry(lambda: version(self._path), f"{path}: cannot be read")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({storage_reason(error)})") from error
        if not self.pieces:
            raise UserError(f"{path}: has no lines")

    def identity(self) -> Any:
        """See ``Importer``."""
        return ["records", self._path.name, self._version]

    def rows(self, piece: int, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Row | Rejected]]:
        """See ``Importer``."""
        for number, line in self._lines(self.pieces[piece]):
            if not line.strip() or (wanted is not None and number not in wanted):
                continue
            try:
                values = parse_object(line, "the line")
                yield number, make_row(values, f"{self._path.name}:{number}", self._path.parent)
            except UserError as error:
                yield number, self.rejected(piece, number, check.reason(error))

    def rejected(self, piece: int, number: int, reason: str) -> Rejected:
        """See ``Importer``."""
        return Rejected(self._path.name, number, reason)

    def _lines(self, piece: _Piece) -> Iterator[tuple[int, bytes]]:
        with self._path.open("rb") as file:
            file.seek(piece.offset)
            for number in range(piece.start, piece.start + piece.lines):
                yield number, file.readline()

    def _find_pieces(self) -> list[_Piece]:
        pieces: list[_Piece] = []
        offset = start = lines = position = 0
        with self._path.open("rb") as file:
            for line in file:
                position, lines = position + len(line), lines + 1
                if lines == _PIECE_LINES:
                    pieces.append(_Piece(offset, start, lines))
                    offset, start, lines = position, start + lines, 0
        return pieces + ([_Piece(offset, start, lines)] if lines else [])
