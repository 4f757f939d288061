"""From nested mappings to a tree of frozen dataclasses, every key and type checked, and back.

A field may be a bool, int, float, str, ``Literal`` of strings, a dataclass (a section), a NamedTuple (a row of values),
a tuple or a string-keyed dict of these, any of them ``| None``, or a union of dataclasses told apart by their ``kind``.
"""

import ast
import dataclasses
import difflib
import pathlib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from ml_collections import ConfigDict

import irg_jax
from irg_jax.core.errors import ConfigError, UserError, check

T = TypeVar("T")
_PLACEHOLDER = re.compile(r"\{(?:workdir|package)\}")

_SCALARS: dict[type, str] = {bool: "a bool", int: "an int", float: "a float", str: "a str"}


def dataclass_from_mapping(kind: type[T], values: Mapping[str, Any], section: str = "") -> T:
    """An instance of a frozen dataclass from a mapping with exactly its fields; those with a default may be missing.

    Args:
      kind: the dataclass; nested ones are built too.
      values: a value for each field.
      section: the dotted name of ``values`` in the whole config, for errors.

    Raises:
      ConfigError: an unknown or missing key, or a value of another type or that the dataclass refuses, by its full key.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        check(
            key in fields, _join(section, key), f"unknown key{did_you_mean(key, fields)}; allowed here: {_list(fields)}"
        )
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING
        check(name in values or optional, _join(section, name), "missing key; configs/template.py has them all")
    hints = typing.get_type_hints(kind)
    converted = {name: _convert(hints[name], value, _join(section, name)) for name, value in values.items()}
    try:
        return kind(**converted)
    except ConfigError as error:
        raise error.below(section) from None


def parse_assignments(kind: type, assignments: Sequence[str], section: str) -> dict[str, Any]:
    """Changes to a section from the command line, such as ``temperature=0.0`` or ``turn1.text_scale=2.0``.

    Args:
      kind: the dataclass of the section, whose fields say of which type a value is: a text needs no quotes, and is
        taken as it stands.
      assignments: texts KEY=VALUE.
      section: its dotted name, for errors.

    Returns:
      nested values by key, each of its field's type.

    Raises:
      UserError: a text is not KEY=VALUE; an unknown key, or a value of another type.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not (key and equals):
            raise UserError(f"--{section}: {assignment!r} is not KEY=VALUE; see --help")
        *sections, name = key.split(".")
        hint, at, path = kind, changes, section
        for part in sections:
            path = _join(path, part)
            hint, at = _field(hint, part, path), at.setdefault(part, {})
        path = _join(path, name)
        hint = _field(hint, name, path)
        at[name] = _convert(hint, _literal(hint, text), path)
    return changes


def _field(kind: Any, name: str, path: str) -> Any:
    """The type of a field, whose dotted name is ``path``."""
    known = _names(kind) if dataclasses.is_dataclass(kind) else []
    check(name in known, path, f"unknown key{did_you_mean(name, known)}; allowed here: {_list(known) or 'none'}")
    return typing.get_type_hints(kind)[name]


def _literal(hint: Any, text: str) -> Any:
    """The Python value that a text on the command line stands for."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    wants_text = hint is str or typing.get_origin(hint) is Literal
    return text if wants_text and not isinstance(value, str) else value


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in a config that is not a section."""
    if dataclasses.is_dataclass(config):
        config = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    if not isinstance(config, Mapping):
        yield prefix, config
        return
    for key, value in config.items():
        yield from leaves(value, _join(prefix, key))


def resolve(config: T, workdir: object) -> T:
    """A copy of a dataclass tree in which placeholders inside any string are the folders themselves.

    ``{workdir}`` is the run's folder, ``{package}`` that of the installed irg_jax, where weights are shipped.
    """
    folders = {"{workdir}": str(workdir), "{package}": str(pathlib.Path(irg_jax.__file__).absolute().parent)}

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda found: folders[found[0]], value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.replace(
                value, **{field.name: fill(getattr(value, field.name)) for field in dataclasses.fields(value)}
            )
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(fill, value))
        if isinstance(value, tuple):
            return tuple(map(fill, value))
        return {key: fill(inner) for key, inner in value.items()} if isinstance(value, dict) else value

    return fill(config)


def replaced(config: T, changes: Mapping[str, Any]) -> T:
    """A copy of a dataclass tree with other values at dotted keys, such as ``{"execution.remat": "full"}``."""
    for key, value in changes.items():
        section, _, rest = key.partition(".")
        if isinstance(config, dict):
            inner = replaced(config[section], {rest: value}) if rest else value
            config = {**config, section: inner}  # type: ignore[assignment]
            continue
        inner = replaced(getattr(config, section), {rest: value}) if rest else value
        config = dataclasses.replace(config, **{section: inner})  # type: ignore[type-var]
    return config


def did_you_mean(name: str, known: Iterable[str], mark: str = "") -> str:
    """The part of a message that names the nearest of the known names; empty where none is near."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    # learning_rate and lr share few letters, but the short one is made of the words' beginnings.
    close = close or [short for short in known if short == "".join(word[:1] for word in name.split("_"))]
    return f"; did you mean {' or '.join(mark + match for match in close)}?" if close else ""


def _convert(hint: Any, value: Any, key: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert_union(arguments, value, key)
    if origin is Literal:
        nearest = did_you_mean(str(value), arguments)
        check(value in arguments, key, f"{value!r} is not one of {_list(arguments)}{nearest}")
        return value
    if dataclasses.is_dataclass(hint):
        check(is_section(value), key, f"{value!r} is not a section; it has the keys {_list(_names(hint))}")
        return dataclass_from_mapping(hint, value, key)  # type: ignore[arg-type]
    if origin is dict:
        check(is_section(value), key, f"{value!r} is not a section")
        return {name: _convert(arguments[1], inner, _join(key, name)) for name, inner in value.items()}
    if origin is tuple or hasattr(hint, "_fields"):
        return _convert_sequence(hint, arguments, value, key)
    if hint is float and type(value) is int:
        return float(value)
    check(type(value) is hint, key, f"{value!r} is not {_SCALARS[hint]}")
    return value


def _convert_union(arguments: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and types.NoneType in arguments:
        return None
    choices = [argument for argument in arguments if argument is not types.NoneType]
    if len(choices) == 1:
        return _convert(choices[0], value, key)
    by_kind = {choice.kind: choice for choice in choices}
    kind = value.get("kind") if is_section(value) else None
    nearest = did_you_mean(str(kind), by_kind)
    check(kind in by_kind, _join(key, "kind"), f"{kind!r} is not one of {_list(by_kind)}{nearest}")
    return _convert(by_kind[kind], value, key)


def _convert_sequence(hint: Any, arguments: tuple[Any, ...], value: Any, key: str) -> Any:
    check(isinstance(value, Sequence) and not isinstance(value, str), key, f"{value!r} is not a tuple")
    if arguments[1:] == (Ellipsis,):
        return tuple(_convert(arguments[0], inner, key) for inner in value)
    if hasattr(hint, "_fields"):
        arguments = tuple(typing.get_type_hints(hint)[name] for name in hint._fields)
        shape = f"({_list(hint._fields)})"
    else:
        shape = f"a tuple of {len(arguments)}"
    check(len(value) == len(arguments), key, f"{value!r} must be {shape}")
    converted = (_convert(argument, inner, key) for argument, inner in zip(arguments, value, strict=True))
    return hint(*converted) if hasattr(hint, "_fields") else tuple(converted)


def is_section(value: Any) -> bool:
    """Whether a value is a section of a config: a mapping or a ConfigDict."""
    return isinstance(value, Mapping | ConfigDict)  # a ConfigDict does not register as a Mapping


def _names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _list(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


def _join(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key
