"""Configs: how a command gets one from its command line, how it is saved with a run, how its errors read.

A config is a locked ``ml_collections.ConfigDict``. Its sections are ConfigDicts, its values are bool, int, float, str,
None or (nested) tuples of these. Every sequence is a tuple and JSON writes ``1.0`` for the float one, so a config and
its JSON are the same thing: ``from_json(to_json(config)) == config``, types included.
"""

import difflib
import importlib.util
import json
import logging
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NoReturn

from absl import app, flags
from ml_collections import ConfigDict, FieldReference, config_flags

from irg_jax.errors import UserError

_FLAG = "config"


def run(main: Callable[..., Any], argv: Sequence[str] | None = None, *, takes_config: bool = True) -> NoReturn:
    """Runs a command: parses its flags, calls ``main``, and turns a ``UserError`` into one line and exit status 2.

    Flags that the command has defined with absl are parsed too; read them inside ``main``.

    Args:
      main: called as ``main(config)``, or ``main()`` where ``takes_config`` is false; returns the exit status.
      argv: the command line with the program's name first; ``sys.argv`` if not given.
      takes_config: whether the command has ``--config FILE`` and ``--config.key=value``.

    Raises:
      SystemExit: always. Status 2 for a ``UserError``, 130 for Ctrl-C; any other exception passes through.
    """
    argv = list(sys.argv if argv is None else argv)
    app.define_help_flags()
    if takes_config and _FLAG not in flags.FLAGS:
        flags.DEFINE_string(_FLAG, None, "a .py file with get_config(), or the config.json that an earlier run saved")
    try:
        arguments = (_parse(argv),) if takes_config else _parse_flags(argv)
        status = main(*arguments)
    except UserError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


def log_plainly() -> None:
    """A command's own lines as they are, the libraries' only where something is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    logging.getLogger("absl").setLevel(logging.ERROR)


def load(path: str | os.PathLike[str]) -> ConfigDict:
    """Reads a config from ``FILE.py``, ``FILE.py:argument`` (given to its ``get_config``) or a saved ``FILE.json``.

    Raises:
      UserError: the file is missing, fails to run or holds a value that no config can hold.
    """
    with_argument = re.fullmatch(r"(.+?\.py):(.*)", str(path))
    name, argument = with_argument.groups() if with_argument else (path, None)
    file = pathlib.Path(name)
    if not file.is_file():
        raise UserError(f"{file}: no such config file; give --{_FLAG} a .py with get_config(), or a saved config.json")
    if file.suffix == ".json":
        try:
            return from_json(file.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise UserError(f"{file}: not a saved config: {error}") from error
    return _normal(_run_get_config(file, argument))


def save(config: ConfigDict, path: str | os.PathLike[str]) -> None:
    """Writes a config as JSON, whole or not at all.

    Raises:
      UserError: the file cannot be written; what was there before is still there.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(to_json(config), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write the config: {error.strerror}") from error


def to_json(config: ConfigDict) -> str:
    """Gives a config as JSON text. Raises UserError for a value that no config can hold."""
    return json.dumps(_normal(config).to_dict(), indent=2) + "\n"


def from_json(text: str) -> ConfigDict:
    """Gives back the config that ``to_json`` wrote. Raises ValueError where the text is not JSON of an object."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("a config is a JSON object")
    return _normal(ConfigDict(values))


def resolve(config: ConfigDict, workdir: str | os.PathLike[str]) -> ConfigDict:
    """Gives a copy in which ``{workdir}`` inside any string is the folder itself.

    Save the config as it was before: then it can be repeated in another folder.
    """

    def fill(value: Any) -> Any:
        if isinstance(value, ConfigDict):
            return {key: fill(inner) for key, inner in value.items()}
        if isinstance(value, tuple):
            return tuple(fill(inner) for inner in value)
        return value.replace("{workdir}", str(workdir)) if isinstance(value, str) else value

    return _normal(ConfigDict(fill(config)))


def require(condition: Any, key: str, message: str) -> None:
    """Raises a UserError that names ``key`` (such as ``optim.lr``) unless ``condition`` holds."""
    if not condition:
        raise UserError(f"{_FLAG}.{key}: {message}")


def choose(value: Any, key: str, allowed: Collection[Any]) -> Any:
    """Gives ``value`` back if it is one of ``allowed``; raises a UserError that names ``key`` and them if it is not."""
    if value not in allowed:
        hint = _did_you_mean(str(value), map(str, allowed))
        require(False, key, f"{value!r} is not allowed{hint}; allowed: {', '.join(map(str, allowed))}")
    return value


def check_keys(config: ConfigDict, reference: ConfigDict, under: str = "") -> None:
    """Checks that a config has the keys of ``reference``, no more and no fewer, each with a value of the same type.

    An int may stand for a float, and None for anything; what is None in ``reference`` may be anything.

    Args:
      config: the config to check.
      reference: a config that is known to be right.
      under: where the two sit in a larger config, for the message.

    Raises:
      UserError: names the first key that is wrong, and what is allowed.
    """
    prefix = f"{under}." if under else ""
    for key in config:
        require(key in reference, prefix + key, f"unknown key{_known_keys(key, reference)}")
    for key, wanted in reference.items():
        require(key in config, prefix + key, "missing key; saved by another version? Start from a file in configs/")
        value = config[key]
        if isinstance(wanted, ConfigDict) and isinstance(value, ConfigDict):
            check_keys(value, wanted, prefix + key)
        elif wanted is not None and value is not None:
            ok = type(value) is type(wanted) or (type(value) is int and type(wanted) is float)
            require(ok, prefix + key, f"{value!r} is not {_type_name(wanted)}")


def _parse(argv: list[str]) -> ConfigDict:
    """Loads ``--config`` and puts the ``--config.key=value`` overrides on top, wherever on the line they stand."""
    overrides = _parse_flags(argv, known_only=True)
    path = flags.FLAGS[_FLAG].value
    if not path:
        raise UserError(f"--{_FLAG} is missing: give a file such as configs/shapes_quickstart.py")
    config = load(path)
    before = config.copy_and_resolve_references()

    names = [match[1] for arg in overrides if (match := re.match(rf"--?(?:no)?{_FLAG}\.([^=]+)", arg))]
    for name in names:
        _check_override(name, config)

    # config_flags gives a value the type that the field has. The flags of one parse stay out of absl's global FLAGS,
    # which would keep them for the next.
    own = flags.FlagValues()
    _accept_any_type_for_none(config)
    try:
        config_flags.DEFINE_config_dict(_FLAG, config, flag_values=own, sys_argv=overrides)
        left = own(overrides)
    except flags.UnrecognizedFlagError as error:
        raise _unknown_flag(error) from error
    except (flags.Error, ValueError, TypeError) as error:
        raise _bad_value(error, before) from error
    if len(left) > 1:
        raise UserError(f"unexpected argument {left[1]!r}; a value belongs to its flag: --flag=value")
    config = _normal(config)
    for name in names:
        _check_elements(name, _at(config, name), _at(before, name))
    return config


def _parse_flags(argv: list[str], known_only: bool = False) -> list[str]:
    """Parses the flags defined with absl; gives what is left, the program's name first where anything may be left."""
    flags.FLAGS.unparse_flags()
    # GNU order: a flag after a positional argument is still a flag.
    flags.FLAGS.set_gnu_getopt(True)
    try:
        left = flags.FLAGS(argv, known_only=known_only)
    except flags.UnrecognizedFlagError as error:
        raise _unknown_flag(error) from error
    except flags.Error as error:
        # A required flag that was not given reads "flag --workdir=None: Flag --workdir must have a value".
        raise UserError(re.sub(r"^flag --\S+=None: Flag ", "", str(error))) from error
    if known_only:
        return left
    if len(left) > 1:
        raise UserError(f"unexpected argument {left[1]!r}; a value belongs to its flag: --flag=value")
    return []


def _run_get_config(file: pathlib.Path, argument: str | None) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(f"irg_jax_config_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(*([] if argument is None else [argument]))
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"{file}:{error.lineno}: {error.msg}") from error
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        raise UserError(f"{file}{f':{lines[-1]}' if lines else ''}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"{file}: get_config() gave {type(config).__name__}, not a ml_collections.ConfigDict")
    return config


def _normal(config: ConfigDict) -> ConfigDict:
    """A locked copy with tuples for lists; refuses a value that would not survive the way through JSON."""

    def convert(value: Any, key: str) -> Any:
        if isinstance(value, ConfigDict):
            return {name: convert(inner, f"{key}.{name}" if key else name) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return tuple(convert(inner, key) for inner in value)
        require(
            value is None or type(value) in (bool, int, float, str),
            key,
            f"a {type(value).__name__} cannot be in a config; allowed: bool, int, float, str, None, tuple, section",
        )
        return value

    return ConfigDict(convert(config, "")).lock()


def _check_override(name: str, config: ConfigDict) -> None:
    """Says which key exists before config_flags looks, because its own error is a page long."""
    node: Any = config
    for depth, part in enumerate(name.split(".")):
        inside = ".".join(name.split(".")[:depth])
        require(isinstance(node, ConfigDict), name, f"unknown key; {inside} is {_type_name(node)}, it has no keys")
        require(part in node, name, f"unknown key{_known_keys(part, node, config)}")
        node = node[part]
    if isinstance(node, ConfigDict):
        require(False, name, f"is a section; set one of its keys: {', '.join(node)}")


def _accept_any_type_for_none(config: ConfigDict) -> None:
    """config_flags has no type to parse a value with where the config has None: let it be any Python literal."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            _accept_any_type_for_none(value)
        elif value is None:
            config[key] = FieldReference(None, field_type=object)


def _check_elements(name: str, value: Any, before: Any) -> None:
    """A tuple parses from anything (``abc`` is ``("abc",)``): its elements must be of types that were there before."""
    if isinstance(before, tuple) and before:
        types = {type(element) for element in before}
        allowed = types | ({int} if float in types else set())
        for element in value:
            good = type(element) in allowed
            require(good, name, f"{element!r} is not {_type_name(before[0])}; expected a tuple such as {before!r}")


def _bad_value(error: Exception, config: ConfigDict) -> UserError:
    match = re.search(rf"flag --(?:no)?{_FLAG}\.([^\s=:]+)(?:=(.*?))?(?:: |$)", str(error), re.IGNORECASE)
    if not match:
        return UserError(str(error))
    name, value = match.groups()
    given = "no value given" if value is None else f"{value!r} is not {_type_name(_at(config, name))}"
    return UserError(f"{_FLAG}.{name}: {given}; its value so far is {_at(config, name)!r}")


def _unknown_flag(error: flags.UnrecognizedFlagError) -> UserError:
    name = error.flagname
    return UserError(f"--{name}: unknown flag{_did_you_mean(name.partition('.')[0], flags.FLAGS, mark='--')}")


def _known_keys(key: str, section: ConfigDict, whole: ConfigDict | None = None) -> str:
    """The end of a message about an unknown key: the closest one, here or (same name) elsewhere, and those allowed."""
    hint = _did_you_mean(key, section)
    if not hint and whole is not None:
        elsewhere = [path for path in _paths(whole) if path.rpartition(".")[2] == key]
        hint = f"; did you mean {' or '.join(elsewhere)}?" if elsewhere else ""
    return f"{hint}; allowed here: {', '.join(section)}"


def _did_you_mean(name: str, known: Iterable[str], mark: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(mark + match for match in close)}?" if close else ""


def _paths(config: ConfigDict, prefix: str = "") -> list[str]:
    paths: list[str] = []
    for key, value in config.items():
        paths += _paths(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [prefix + key]
    return paths


def _at(config: ConfigDict, name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config


def _type_name(value: Any) -> str:
    name = "section" if isinstance(value, ConfigDict) else "str" if value is None else type(value).__name__
    return f"an {name}" if name == "int" else f"a {name}"
