"""Prompt files as users have them: read, parsed and hashed, with the file and the line in every error."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_text, write_text
from irg_jax.core.text import check_text
from irg_jax.data.sources.records import parse_json


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises UserError where it cannot be read or is not JSON."""
    return parse_json(_read(path), str(path))


def read_json_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(``FILE:LINE``, object) of each line that is not blank. Raises UserError for anything else in it."""
    lines = enumerate(_read(path).split("\n"), start=1)
    return [
        (f"{path}:{number}", _object(parse_json(line, f"{path}:{number}"), path, number))
        for number, line in lines
        if line.strip()
    ]


def text_of(entry: Mapping[str, Any], name: str, where: str) -> str:
    """A text that an entry has to have. Raises UserError where it is missing, empty or not a text."""
    if name not in entry:
        raise UserError(f"{where}: has no {name!r}, only {', '.join(map(repr, entry))}; use the official file")
    if not check_text(entry[name], f"{where}: {name}").strip():
        raise UserError(f"{where}: {name} is empty; use the official file")
    return entry[name]


def digest_of_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the bytes of files, one after the other, hexadecimal. Raises UserError for an unreadable one."""
    found = hashlib.sha256()
    for path in paths:
        try:
            found.update(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return found.hexdigest()


def digest_of_values(values: Any) -> str:
    """SHA-256 of what a file says, hexadecimal, whatever its white space, its quotes and the order of its keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def cut_half_line(path: Path) -> None:
    """Cuts off a last line without an end, from a process that was killed. Raises UserError where it is not UTF-8."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        try:
            write_text(path, whole.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: is not UTF-8 ({error}); give another file") from error


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error}; save it as UTF-8"
        raise UserError(f"{path}: cannot be read ({reason})") from error


def _object(value: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{path}:{number}: {value!r:.60} is not a JSON object; use the official file")
    return value
