"""Reads JSON files of results field by field, so that a damaged one is named with the place of the damage."""

import json
import math
from collections.abc import Iterator
from typing import Any

from irg_jax.benchmarks.benchmark import Problem
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_text
from irg_jax.core.storage import AnyPath, retry

_KINDS = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}


class Fields:
    """An object of a JSON file, with its place in the file for errors, such as ``scores.json: rows[3]``."""

    def __init__(self, values: Any, where: str, remedy: str):
        self._where, self._remedy = where, remedy
        if not isinstance(values, dict):
            raise self.wrong("", f"is {_shown(values)}, not an object")
        self._values: dict[str, Any] = values

    def wrong(self, name: str, reason: str) -> UserError:
        """The error for a field."""
        return UserError(f"{self._where}{f' {name}' if name else ''}: {reason}; {self._remedy}")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def text(self, name: str) -> str:
        """A text."""
        return self._get(name, str)

    def whole(self, name: str) -> int:
        """A whole number, 0 or above."""
        value = self._get(name, int)
        if value < 0:
            raise self.wrong(name, f"is {value}, below 0")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        return self._get(name, bool)

    def number(self, name: str) -> float:
        """A number; NaN for null, since JSON has none."""
        value = self._values.get(name, "missing")
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "is missing" if value == "missing" else f"is {_shown(value)}, not a number")
        return float(value)

    def numbers(self, name: str) -> dict[str, float]:
        """An object of numbers."""
        own = self.fields(name)
        return {key: own.number(key) for key in own}

    def texts(self, name: str) -> dict[str, str]:
        """An object of texts."""
        own = self.fields(name)
        return {key: own.text(key) for key in own}

    def fields(self, name: str) -> "Fields":
        """An object in this one."""
        return Fields(self._get(name, dict), f"{self._where} {name}", self._remedy)

    def list_of_fields(self, name: str) -> Iterator["Fields"]:
        """A list of objects in this one."""
        for index, values in enumerate(self._get(name, list)):
            yield Fields(values, f"{self._where} {name}[{index}]", self._remedy)

    def problems(self, name: str) -> tuple[Problem, ...]:
        """A list of problems in this one."""
        return tuple(
            Problem(own.text("kind"), own.text("where"), own.text("reason")) for own in self.list_of_fields(name)
        )

    def _get(self, name: str, kind: type) -> Any:
        if name not in self._values:
            raise self.wrong(name, "is missing")
        value = self._values[name]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(name, f"is {_shown(value)}, not {_KINDS[kind]}")
        return value


def read_fields(path: AnyPath, remedy: str) -> Fields:
    """The object in a JSON file.

    Args:
      path: of the file.
      remedy: what to do about a missing or damaged file, for its error.

    Raises:
      UserError: it is missing, cannot be read, or is not a JSON object.
      StorageError: the storage went on answering with errors.
    """
    try:
        values = json.loads(retry(lambda: read_text(path), f"{path}: cannot be read"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: is missing; {remedy}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise UserError(f"{path}: is damaged at {where} ({error.msg}); {remedy}") from error
    except ValueError as error:
        raise UserError(f"{path}: is not UTF-8 ({error}); {remedy}") from error
    return Fields(values, str(path), remedy)


def number_or_null(value: float) -> float | None:
    """A number for a JSON file, which has no NaN."""
    return None if math.isnan(value) else value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"
