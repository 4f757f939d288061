"""From a section of a config to the frozen dataclass that it describes."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from irg_jax.errors import UserError

T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any], section: str) -> T:
    """An instance of a dataclass from a mapping that has exactly its fields.

    Args:
      kind: the dataclass.
      values: a value for each field.
      section: the section's dotted name, for errors.

    Raises:
      UserError: an unknown or a missing key, by its name, with those that are allowed.
    """
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for problem, keys in (("unknown", set(values) - fields), ("missing", fields - set(values))):
        if keys:
            raise UserError(f"{section}.{min(keys)}: {problem} key; {section} has {', '.join(sorted(fields))}")
    return kind(**values)
