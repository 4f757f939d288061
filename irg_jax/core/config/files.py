"""Config files: ``get_config()`` in a .py, or the JSON that a run saved.

A config file builds an ``ml_collections.ConfigDict``: sections are ConfigDicts, values are bool, int, float, str, None
or (nested) tuples of these. ``schema.dataclass_from_mapping`` turns it into the typed config that all else reads.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from ml_collections import ConfigDict

from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import ConfigError, UserError, check

_PACKAGE = "irg_jax.configs"


def load(path: str | os.PathLike[str]) -> ConfigDict:
    """Reads a config.

    Args:
      path: ``FILE.py`` with ``get_config()``, ``FILE.py:argument`` (for its ``get_config``), a saved ``FILE.json``, or
        the name of a shipped config such as ``shapes_quickstart``, likewise with ``:argument``.

    Raises:
      UserError: the file is missing, fails to run, sets a key that the template does not have, or holds a value that no
        config can hold.
    """
    name, _, argument = (
        str(path).partition(":") if re.search(r"(^|[^:])\.py:|^\w+:", str(path)) else (str(path), "", "")
    )
    file = locate(name)
    if file.suffix == ".json":
        try:
            return from_json(file.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise UserError(f"{file}: not a saved config: {error}") from error
    return normalize(_run_get_config(file, argument or None))


def to_json(config: Any) -> str:
    """A typed config, or a ConfigDict, as JSON text that ``from_json`` reads back."""
    is_typed = dataclasses.is_dataclass(config) and not isinstance(config, type)
    values = dataclasses.asdict(config) if is_typed else normalize(config).to_dict()
    return json.dumps(values, indent=2) + "\n"


def from_json(text: str) -> ConfigDict:
    """The config that ``to_json`` wrote. Raises ValueError where the text is not a JSON object."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("a config is a JSON object")
    return normalize(ConfigDict(values))


def normalize(config: ConfigDict) -> ConfigDict:
    """A locked copy with tuples for lists; refuses a value that would not survive a round trip through JSON."""

    def convert(value: Any, key: str) -> Any:
        if isinstance(value, ConfigDict | dict):
            return {name: convert(inner, f"{key}.{name}" if key else name) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return tuple(convert(inner, key) for inner in value)
        allowed = "bool, int, float, str, None, tuple, section"
        known = value is None or type(value) in (bool, int, float, str)
        check(known, key, f"a {type(value).__name__} cannot be in a config; allowed: {allowed}")
        return value

    return ConfigDict(convert(config, "")).lock()


def locate(name: str) -> pathlib.Path:
    """The file of a config: the path itself, or that of a shipped config by its name. Raises UserError for neither."""
    if pathlib.Path(name).is_file():
        return pathlib.Path(name)
    package = importlib.util.find_spec(_PACKAGE)
    folders = list(package.submodule_search_locations or ()) if package else []
    shipped = sorted(path.stem for folder in folders for path in pathlib.Path(folder).glob("[a-z]*.py"))
    if name in shipped:
        return pathlib.Path(folders[0]) / f"{name}.py"
    nearest = did_you_mean(pathlib.Path(name).stem, shipped)
    raise UserError(
        f"{name}: no such config file{nearest}; give --config a .py with get_config(), a saved config.json, or one of "
        f"{', '.join(shipped)}"
    )


def _run_get_config(file: pathlib.Path, argument: str | None) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(f"irg_jax_config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file}: not a config; give a .py with get_config(), or a saved config.json")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(*([] if argument is None else [argument]))
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"{file}:{error.lineno}: {error.msg}") from error
    except Exception as error:
        calls = traceback.extract_tb(error.__traceback__)
        own = [call.lineno for call in calls if pathlib.Path(call.filename) == file.absolute()]
        at = f"{file}:{own[-1]}" if own else str(file)
        refused = _unknown_key(error)
        raise UserError(f"{at}: {refused or f'{type(error).__name__}: {error}'}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"{file}: get_config() gave {type(config).__name__}, not a ml_collections.ConfigDict")
    return config


def _unknown_key(error: Exception) -> ConfigError | None:
    """What a locked ConfigDict refuses, in the form that every other error about a key has."""
    found = re.search(r'^\W*(?:Key "(\w+)" does not exist|(\w+)\W*(?:n?Did you mean|$))', str(error))
    frames = list(_frames(error.__traceback__))
    if not found or not isinstance(error, AttributeError | KeyError) or not _in_ml_collections(frames[-1]):
        return None
    sections = [_config_in(frame) for frame in frames if _in_ml_collections(frame)]
    roots = [_config_in(frame) for frame in frames if not _in_ml_collections(frame)]
    section, root = (next((x for x in reversed(found) if x is not None), None) for found in (sections, roots))
    if section is None:
        return None
    key = found[1] or found[2]
    path = _path_to(section, root) if root is not None else ""
    hint = f"unknown key{did_you_mean(key, section)}; allowed here: {', '.join(section)}"
    return ConfigError(f"{path}.{key}" if path else key, hint)


def _in_ml_collections(frame: FrameType) -> bool:
    return frame.f_code.co_filename.endswith("config_dict.py")


def _config_in(frame: FrameType) -> ConfigDict | None:
    """The first ConfigDict among the local variables of a frame: ``self`` inside ml_collections, the root outside."""
    return next((value for value in frame.f_locals.values() if isinstance(value, ConfigDict)), None)


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _path_to(section: ConfigDict, root: ConfigDict) -> str:
    """The dotted key of a section below a root; empty for the root itself, or where it lies elsewhere."""
    for key, value in root.items():
        if value is section:
            return key
        if isinstance(value, ConfigDict):
            inner = _path_to(section, value)
            if inner:
                return f"{key}.{inner}"
    return ""
