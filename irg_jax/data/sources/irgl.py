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
import os
import re
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_hidden
from irg_jax.core.storage import AnyPath, as_path, retry
from irg_jax.core.text import check_text
from irg_jax.data.checksum import checksum
from irg_jax.data.conversation import Conversation, Image, Record, Text
from irg_jax.data.sources.files import walk
from irg_jax.data.sources.parquet import Column, TableSource, is_text, open_table
from irg_jax.data.sources.records import parse_json, shown

CONVERT = "python -m irg_jax.build_data irgl --from parquet:DIR --out DIR"

_COLUMN = "conversation"
_COLUMNS = [Column(_COLUMN, is_text, "strings of JSON")]

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
_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


class IRGLSource(TableSource):
    """The conversations of one mode: a ``Source``."""

    kind = "published conversations v1"

    def read(self, index: int) -> Record:
        """The one conversation of row ``index``.

        Raises:
          UserError: a file that has changed or is damaged; a row that is not in the published format (see ``parse``).
          StorageError: the storage went on answering with errors; it names the row.
        """
        text, key = self._table.row(index)[_COLUMN], self.key(index)
        if text is None:
            raise UserError(f"record {key}: {_COLUMN} is null; write a list of turns or remove the row")
        return Record((parse(text, key),), checksum([text.encode()]))


def open_source(directory: str | os.PathLike[str], mode: str) -> IRGLSource:
    """Opens one learning mode: all ``*.parquet`` files below its folder, sorted by name.

    Only the footers of the files are read here.

    Args:
      directory: the data set's folder, or its URL, which holds one folder per mode.
      mode: name of the mode's folder.

    Raises:
      UserError: no such folder, no files or rows in it, a file that cannot be read or lacks the column, or one whose
        row groups are too large to be read for each row.
      StorageError: the storage went on answering with errors.
    """
    folder = as_path(directory)
    folders, files = retry(lambda: _listing(folder, mode), f"{folder}: cannot be read")
    if not files:
        known = f"the folders in {folder} are {', '.join(folders) or 'none'}"
        raise UserError(f"{folder / mode}: no *.parquet files; {known}; choose one or give the data set's folder")
    return IRGLSource(open_table(folder, files, _COLUMNS, f"convert the data set: {CONVERT}"))


def _listing(directory: AnyPath, mode: str) -> tuple[list[str], list[AnyPath]]:
    """The names of the folders in the data set's folder, and the files of one of them, both sorted."""
    inside = directory.iterdir() if directory.is_dir() else []
    folders = sorted(path.name for path in inside if not is_hidden(path) and path.is_dir())
    return folders, sorted(walk(directory / mode, ".parquet")) if mode in folders else []


def parse(text: str, key: str, forms: set[str] | None = None) -> Conversation:
    """Parses the JSON text of a conversation; the parts keep their order, a user's turn is one text part.

    Args:
      text: the cell of the column.
      key: identifies the row in errors and in the conversation.
      forms: gets the forms of base64 other than the plain one, see ``decode_base64``.

    Raises:
      UserError: anything but the published layout, with its path, such as ``conversation[1].content[0]``.
    """
    where = f"record {key}: {_COLUMN}"
    turns = parse_json(text, where)
    if not isinstance(turns, list) or not turns:
        raise UserError(f"{where} is {shown(turns)}; it must be a list of turns that is not empty")
    parts: list[Text | Image] = []
    for i, turn in enumerate(turns):
        role, content, flags = _fields(turn, "role", _TURNS, f"{where}[{i}]")
        if role == "user":
            parts.append(Text(content, **flags))
        else:
            found = set[str]() if forms is None else forms
            parts += [_part(part, f"{where}[{i}].content[{j}]", found) for j, part in enumerate(content)]
    return Conversation(key, tuple(parts))


def decode_base64(text: str) -> tuple[bytes, str]:
    """The bytes that a text stands for, and the form that it has.

    Some writers put a data URI around the text, break its lines, or use the alphabet for URLs. They mean the same
    bytes, so these are taken; the form says so to whoever counts them.

    Returns:
      the bytes; ``plain``, or what differs from it: ``data URI``, ``line breaks``, ``no padding``, ``URL alphabet``,
      joined by `` + ``.

    Raises:
      ValueError: anything else.
    """
    forms = []
    uri = _DATA_URI.match(text)
    if uri:
        forms, text = ["data URI"], text[uri.end() :]
    if "\n" in text or "\r" in text:
        forms.append("line breaks")
        text = text.replace("\r", "").replace("\n", "")
    if len(text) % 4 in (2, 3) and "=" not in text:
        forms.append("no padding")
        text += "=" * (-len(text) % 4)
    if "-" in text or "_" in text:
        if "+" in text or "/" in text:
            raise ValueError("it mixes the alphabet for URLs with the standard one")
        forms.append("URL alphabet")
        text = text.replace("-", "+").replace("_", "/")
    content = base64.b64decode(text, validate=True)
    if not content:
        raise ValueError("it has no bytes")
    return content, " + ".join(forms) or "plain"


def _part(part: Any, where: str, forms: set[str]) -> Text | Image:
    kind, content, flags = _fields(part, "type", _PARTS, where)
    if kind == "text":
        return Text(content, **flags)
    try:
        decoded, form = decode_base64(content)
    except ValueError as error:
        problem = f"{where}.content is {shown(content)}, which is not base64 ({error})"
        raise UserError(f"{problem}; encode the image's bytes") from error
    if form != "plain":
        forms.add(form)
    return Image(decoded, **flags)  # type: ignore[arg-type]  # only the flags


def _fields(
    value: Any, tag: str, table: dict[str, tuple[type, dict[str, bool]]], where: str
) -> tuple[str, Any, dict[str, bool]]:
    """Tag, content and flags of a turn or a part, with defaults for the flags that are missing."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {shown(value)}; it must be an object with {tag!r} and 'content'")
    if value.get(tag) not in list(table):  # a list, because the value may not be hashable
        found = f"is {shown(value[tag])}" if tag in value else "is missing"
        raise UserError(f"{where}.{tag} {found}; it must be {' or '.join(map(repr, table))}")
    content_type, defaults = table[value[tag]]
    types = {tag: str, "content": content_type, **dict.fromkeys(defaults, bool)}
    for name, found in value.items():
        if name not in types:
            raise UserError(f"{where} has the unknown key {shown(name)}; known keys are {', '.join(types)}")
        if not isinstance(found, types[name]):
            raise UserError(f"{where}.{name} is {shown(found)}; it must be {_JSON_NAMES[types[name]]}")
    if not value.get("content"):
        raise UserError(f"{where}.content is {'empty' if 'content' in value else 'missing'}; write it")
    if content_type is str:
        check_text(value["content"], f"{where}.content")
    return value[tag], value["content"], {name: value.get(name, default) for name, default in defaults.items()}
