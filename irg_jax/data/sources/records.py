"""What the readers of records share: JSON with its faults named, and the checksum of what a record was made from."""

import json
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.text import check_text


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text.

    Raises:
      UserError: it is not JSON, or an object has a key twice, of which Python would keep the last.
    """
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error}); repair or remove the record") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError where a key is there twice, of which Python would keep the last."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} appears twice in one object")
    return made


def shown(value: Any) -> str:
    """A value as JSON on one line, truncated to 60 characters."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."


def checked_text(value: Any, where: str) -> str:
    """The value itself. Raises UserError unless it is a text with more than white space in it."""
    if not isinstance(value, str):
        raise UserError(f"{where} is {shown(value)}; it must be a string")
    if not value.strip():
        raise UserError(f"{where} is empty; write it or remove the record")
    return check_text(value, where)


def checked_image(value: bytes | None, where: str) -> bytes:
    """The encoded image itself. Raises UserError where it is null or empty; its format is looked at by its reader."""
    if not value:
        raise UserError(f"{where} is {'null' if value is None else 'empty'}; write the image or remove the record")
    return value
