"""A row from named values: what the importers of records, folders and tables have in common."""

import json
import os
from collections.abc import Mapping
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, is_transient, is_url, retry, storage_reason
from irg_jax.data.importing import check
from irg_jax.data.importing.row import Row
from irg_jax.data.sources.records import unique_keys
from irg_jax.data.trajectory import IMAGES

TEXTS = ("prompt", "thinking1", "thinking2")
ABOUT = ("source", "licence", "scene")
OBJECTS = ("teachers", "templates")
KNOWN = ("key", *TEXTS, *IMAGES, *ABOUT, *OBJECTS)
UNUSED = "values that are not used: {}"
OTHER_FORMAT = "images in another format than their name says"


def parse_object(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object in UTF-8. Raises UserError for anything else, and for a key that appears twice."""
    try:
        found = json.loads(content.decode("utf-8-sig"), object_pairs_hook=unique_keys)
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 ({error})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{where} is not a JSON object")
    return found


def make_row(values: Mapping[str, Any], default_key: str, folder: AnyPath) -> Row:
    """The row with these values; None is a value that is missing.

    Args:
      values: by the names in ``KNOWN``; others are noted. Images are encoded bytes, or paths relative to ``folder``.
      default_key: of the row if it has none.
      folder: holds the images.

    Raises:
      UserError: no prompt, a value of the wrong type, or an image that cannot be read.
    """
    values = {name: value for name, value in values.items() if value is not None}
    if "prompt" not in values:
        raise UserError("prompt is missing")
    fields: dict[str, str | bytes] = {}
    noted = [UNUSED.format(name) for name in values if name not in KNOWN]
    for name in TEXTS:
        if name in values:
            fields[name] = _typed(values, name, str)
    for name in IMAGES:
        if name in values:
            value = values[name]
            fields[name] = value if isinstance(value, bytes) else _read(folder, _typed(values, name, str), name, noted)
            if not fields[name]:
                raise UserError(f"{name} is empty")
    about = {name: _typed(values, name, str) for name in ABOUT if name in values}
    key = values.get("key", default_key)
    key = str(key) if isinstance(key, int) else _typed({"key": key}, "key", str)
    return Row(key, fields, teachers=_teachers(values), noted=tuple(noted), **about)


def read_file(path: AnyPath, what: str) -> bytes:
    """The bytes of a file of a row; missing or unreadable, it is the row's error. StorageError as for ``retry``."""
    try:
        if path.is_dir():
            raise UserError(f"{what}: {path.name} is a folder")
        return retry(path.read_bytes, f"{path}: cannot be read")
    except (OSError, ValueError) as error:
        if is_transient(error):
            raise
        raise UserError(f"{what}: {path} cannot be read ({storage_reason(error)})") from error


def version(path: AnyPath) -> tuple[int, float]:
    """Bytes of a file, and the time of its last change: with other ones it is another file."""
    status: Any = path.stat()
    return (status.length, status.mtime) if is_url(path) else (status.st_size, status.st_mtime)


def note_format(name: str, content: bytes, noted: list[str]) -> None:
    """Notes that an image's name says another format; it is taken for what it is."""
    if check.has_other_format(name, content):
        noted.append(OTHER_FORMAT)


def _read(folder: AnyPath, name: str, field: str, noted: list[str]) -> bytes:
    if not name.strip():
        raise UserError(f"{field} is empty")
    content = read_file(folder / name, field)
    note_format(os.path.basename(name), content, noted)
    return content


def _teachers(values: Mapping[str, Any]) -> str:
    teachers: dict[str, Any] = {}
    for name in OBJECTS:
        value = values.get(name, {})
        if isinstance(value, str) and value:
            value = parse_object(value.encode("utf-8", "surrogatepass"), name)
        if value and not isinstance(value, dict):
            raise UserError(f"{name} is not an object")
        if value:
            teachers |= value if name == "teachers" else {"templates": value}
    return json.dumps(teachers, ensure_ascii=False) if teachers else ""


def _typed(values: Mapping[str, Any], name: str, kind: type) -> Any:
    if not isinstance(values[name], kind):
        raise UserError(f"{name} is {str(values[name])[:60]!r}, not {'a text' if kind is str else kind.__name__}")
    return values[name]
