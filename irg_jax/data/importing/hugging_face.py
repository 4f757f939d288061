"""``hf:DIR``: a data set of parquet files as Hugging Face's ``datasets`` writes and its hub serves them.

Fields are taken from columns by name, those of ``GUESSES`` unless ``--columns`` says otherwise. An image is a struct of
``bytes`` and ``path``, or bytes; a path is relative to the folder. A dot leads into a struct: ``prompt=meta.caption``.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa

from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path
from irg_jax.data.importing import check, parquet_rows
from irg_jax.data.importing.row import Rejected, Row
from irg_jax.data.importing.values import KNOWN, make_row, read_file
from irg_jax.data.trajectory import IMAGES

# Where a field is looked for: the first of these columns that there is.
GUESSES: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in KNOWN},
    "prompt": ("prompt", "caption", "text"),
    "image2": ("image2", "image", "img", "jpg", "png"),
    "licence": ("licence", "license"),
}


class HuggingFace:
    """Rows of parquet files, see ``Importer``; rows are numbered from 0 in their file.

    Args:
      directory: holds the files, in any folders.
      columns: the column of a field, for fields that are not in one of ``GUESSES``; "" for one that is to be missing.

    Raises:
      UserError: no files, one that is not parquet, an unknown field, or a column that no file has.
      StorageError: the storage went on answering with errors.
    """

    merges = False

    def __init__(self, directory: str, columns: Mapping[str, str]):
        self._folder = as_path(directory)
        files = parquet_rows.find_files(self._folder)
        if not files:
            raise UserError(f"{directory}: has no *.parquet files")
        there = {name for file in files for name in file.columns}
        for field, column in columns.items():
            if field not in KNOWN:
                raise UserError(f"--columns: {field!r} is not one of {', '.join(KNOWN)}")
            if column and column.partition(".")[0] not in there and column not in there:
                raise UserError(f"--columns: no file has the column {column!r}; there are {', '.join(sorted(there))}")
        guessed = {f: next((c for c in names if c in there), None) for f, names in GUESSES.items() if f not in columns}
        self._columns = {field: column for field, column in {**columns, **guessed}.items() if column}
        if "prompt" not in self._columns:
            raise UserError(
                f"{directory}: no column for the prompt; give --columns prompt=NAME, with one of "
                f"{', '.join(sorted(there))}"
            )
        self._heads = sorted({c if c in there else c.partition(".")[0] for c in self._columns.values()})
        self._files = files
        self.pieces = parquet_rows.find_pieces(files, self._heads)
        if not self.pieces:
            raise UserError(f"{directory}: its parquet files have no rows")

    def identity(self) -> Any:
        """See ``Importer``."""
        return ["hf", sorted(self._columns.items()), *self._files]

    def rows(self, piece: int, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Row | Rejected]]:
        """See ``Importer``."""
        part = self.pieces[piece]
        for number, cells in parquet_rows.read_piece(self._folder, part, self._heads, wanted):
            if isinstance(cells, Rejected):
                yield number, cells
                continue
            try:
                values = {field: self._value(cells, field) for field in self._columns}
                yield number, make_row(values, f"{part.file}:{number}", self._folder)
            except UserError as error:
                yield number, self.rejected(piece, number, check.reason(error))

    def rejected(self, piece: int, number: int, reason: str) -> Rejected:
        """See ``Importer``."""
        return Rejected(self.pieces[piece].file, number, reason)

    def _value(self, cells: Mapping[str, pa.Scalar], field: str) -> Any:
        column = self._columns[field]
        head, _, rest = (column, "", "") if column in cells else column.partition(".")
        try:
            value = cells[head].as_py()
        except UnicodeDecodeError as error:
            raise UserError(f"{column} is not UTF-8 ({error})") from error
        for name in rest.split(".") if rest else ():
            value = value.get(name) if isinstance(value, dict) else None
        return self._image(value, field) if field in IMAGES else value

    def _image(self, value: Any, field: str) -> Any:
        if not isinstance(value, dict):
            return value
        if value.get("bytes") is not None:
            return value["bytes"]
        path = value.get("path")
        return read_file(self._folder / path, field) if isinstance(path, str) and path else None
