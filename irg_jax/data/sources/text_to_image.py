"""Text to image: parquet files with columns ``image``, encoded bytes, and ``captions``, a JSON object of texts.

A row is an image and its captions by name::

    image: b"…"    captions: {"short": "a red bench", "long": "A red bench in a park, …"}

It becomes one conversation per caption, in the order of the object. Other columns are not read.
"""

import os

from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path
from irg_jax.data.checksum import checksum
from irg_jax.data.conversation import Record
from irg_jax.data.sources.captions import conversations, named_captions
from irg_jax.data.sources.files import find_files
from irg_jax.data.sources.parquet import SMALLER_GROUPS, Column, TableSource, is_bytes, is_text, open_table
from irg_jax.data.sources.records import checked_image, parse_json

_COLUMNS = [Column("image", is_bytes, "encoded bytes"), Column("captions", is_text, "strings of JSON")]


class TextToImageSource(TableSource):
    """Images and captions from parquet files: a ``Source``."""

    kind = "text to image v1"

    def read(self, index: int) -> Record:
        """One conversation for each caption of row ``index``.

        Raises:
          UserError: a file that has changed or is damaged; no image; captions that are no JSON object of texts.
          StorageError: the storage went on answering with errors; it names the row.
        """
        row, key = self._table.row(index), self.key(index)
        image = checked_image(row["image"], f"record {key}: image")
        text, where = row["captions"], f"record {key}: captions"
        if text is None:
            raise UserError(f"{where} is null; write a JSON object of captions or remove the record")
        captions = named_captions(parse_json(text, where), where)
        return Record(conversations(key, captions, image), checksum([image, text.encode()]))


def open_source(directory: str | os.PathLike[str]) -> TextToImageSource:
    """Opens a folder, or its URL: all ``*.parquet`` files below it, sorted by name. Only their footers are read here.

    Raises:
      UserError: no such folder, no files or rows in it, a file that cannot be read or lacks a column, or one whose row
        groups are too large to be read for each row.
      StorageError: the storage went on answering with errors.
    """
    folder = as_path(directory)
    return TextToImageSource(open_table(folder, find_files(folder, ".parquet"), _COLUMNS, SMALLER_GROUPS))
