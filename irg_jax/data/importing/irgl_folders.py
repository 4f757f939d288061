"""``parquet:DIR``: the published layout, six folders of conversations, each a trajectory as one learning mode sees it.

A row gives those fields of a trajectory that its mode has; ``merge`` puts the rows of a trajectory together. The
understanding modes have the prompt and a question in one text, in the publisher's words; ``merge`` tells them apart.
"""

from collections.abc import Collection, Iterator
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, as_path, retry
from irg_jax.data.conversation import Conversation, Image
from irg_jax.data.importing import check, parquet_rows
from irg_jax.data.importing.row import Rejected, Row
from irg_jax.data.modes import MODES, QUESTIONS, Mode
from irg_jax.data.sources.irgl import parse
from irg_jax.data.trajectory import IMAGES

COLUMN = "conversation"


class IRGLFolders:
    """Rows of the published folders, see ``Importer``.

    Args:
      directory: the data set's folder, which holds one folder per mode; other folders are not read.

    Raises:
      UserError: no folder of a mode, or a file that is not parquet.
      StorageError: the storage went on answering with errors.
    """

    merges = True

    def __init__(self, directory: str):
        self._folder: AnyPath = as_path(directory)
        modes = [name for name in sorted(MODES) if retry((self._folder / name).is_dir, f"{directory}: cannot be read")]
        if not modes:
            raise UserError(f"{directory}: has no folder of a learning mode; they are {', '.join(MODES)}")
        self._files = parquet_rows.find_files(self._folder, modes)
        self.pieces = parquet_rows.find_pieces(self._files, [COLUMN])
        if not self.pieces:
            raise UserError(f"{directory}: the folders of the learning modes have no rows")

    def identity(self) -> Any:
        """See ``Importer``."""
        return ["parquet", *self._files]

    def rows(self, piece: int, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Row | Rejected]]:
        """See ``Importer``."""
        part = self.pieces[piece]
        mode = part.file.partition("/")[0]
        for number, cells in parquet_rows.read_piece(self._folder, part, [COLUMN], wanted):
            if isinstance(cells, Rejected):
                yield number, cells
                continue
            key = f"{part.file}:{number}"
            try:
                yield number, _row(_text(cells[COLUMN]), key, MODES[mode])
            except UserError as error:
                yield number, self.rejected(piece, number, check.reason(error, key))

    def rejected(self, piece: int, number: int, reason: str) -> Rejected:
        """See ``Importer``."""
        return Rejected(self.pieces[piece].file, number, reason)


def _text(cell: Any) -> str:
    try:
        text = cell.as_py()
    except UnicodeDecodeError as error:
        raise UserError(f"{COLUMN} is not UTF-8 ({error})") from error
    if text is None:
        raise UserError(f"{COLUMN} is null")
    if not isinstance(text, str):
        raise UserError(f"{COLUMN} is {type(text).__name__}, not a text")
    return text


def _row(text: str, key: str, mode: Mode) -> Row:
    forms: set[str] = set()
    fields, question = _fields(parse(text, key, forms), mode)
    return Row(key, fields, question, noted=tuple(f"base64: {form}" for form in sorted(forms)))


def _fields(conversation: Conversation, mode: Mode) -> tuple[dict[str, str | bytes], str]:
    """The fields that the parts are by the table of the mode, and the text that holds a question."""
    parts = conversation.parts
    if [isinstance(part, Image) for part in parts] != [part.field in IMAGES for part in mode]:
        found = ", ".join(type(part).__name__.lower() for part in parts)
        raise UserError(f"its parts are {found}; its mode has {', '.join(part.field for part in mode)}")
    fields: dict[str, str | bytes] = {}
    question = ""
    for index, (part, wanted) in enumerate(zip(parts, mode, strict=True)):
        if isinstance(part, Image) and not _flags(part):
            raise UserError(f"part {index}, an image, has none of the flags need_loss, need_vae and need_vit")
        if _flags(part) != _flags(wanted):
            found, table = (" and ".join(_flags(which)) or "no flag" for which in (part, wanted))
            raise UserError(f"part {index} ({wanted.field}) has {found}; its mode has {table}")
        if wanted.field in QUESTIONS:
            question = part.content  # type: ignore[assignment]  # the kinds were compared above
        else:
            fields[wanted.field] = part.content
    return fields, question


def _flags(part: Any) -> list[str]:
    return [name for name in ("need_loss", "need_vae", "need_vit") if getattr(part, name, False)]
