"""The command line of every command: flags, ``--config FILE`` with ``--config.key=value``, errors in one line."""

import contextlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import flags
from ml_collections import ConfigDict, FieldReference, config_flags

from irg_jax.core import compile_cache, platforms
from irg_jax.core.config.files import load, normalize
from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import ConfigError, StorageError, UserError, check

_FLAG, _CACHE_FLAG = "config", "compile_cache"
_TRY_AGAIN_LATER = 75  # EX_TEMPFAIL of sysexits.h


def run_command(
    main: Callable[..., Any],
    parse: Callable[[ConfigDict], Any] | None = None,
    argv: Sequence[str] | None = None,
    *,
    flag_values: flags.FlagValues | None = None,
    on_failure: Callable[[str, int], None] | None = None,
) -> NoReturn:
    """Runs a command: parses its flags, calls ``main``, and exits with a status that says how it ended.

    The command's own flags are parsed too; read them inside ``main``.

    ====== =================================================================================================
    Status Meaning
    ====== =================================================================================================
    0      done, or what ``main`` returns
    2      ``UserError``: config or data are wrong, and the same command would end the same way; one line
    75     ``StorageError``: the storage answered with errors; the same command may succeed later; one line
    130    Ctrl-C or SIGTERM; training has saved its state
    1      any other exception, with its traceback
    ====== =================================================================================================

    Args:
      main: called as ``main(parse(config))``, or ``main()`` where ``parse`` is None; returns the exit status.
      parse: from the loaded ConfigDict to a typed config; the command then has ``--config FILE`` and overrides.
      argv: the command line with the program's name first; ``sys.argv`` if not given.
      flag_values: holds the command's own flags, defined with absl.
      on_failure: called with a message of one line and the status before the command exits with another one than 0.

    Raises:
      SystemExit: always.
    """
    argv = list(sys.argv if argv is None else argv)
    # Absl's global flags belong to whoever imports us. Grain reads them, and wants them parsed.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    known = flags.FlagValues() if flag_values is None else flag_values
    _define_shared_flags(known, with_config=parse is not None)
    message = ""
    try:
        arguments = (parse(_load_with_overrides(known, argv)),) if parse is not None else _parse_flags(known, argv)
        platforms.skip_missing_tpus()
        compile_cache.enable(known[_CACHE_FLAG].value)
        status = main(*arguments)
        message = f"ended with status {status}" if status else ""
    except (UserError, StorageError) as error:
        message = " ".join(str(error).split())
        _say(f"error: {message}")
        status = 2 if isinstance(error, UserError) else _TRY_AGAIN_LATER
    except KeyboardInterrupt:
        message, status = "interrupted", 130
        _say(message)
    except Exception as error:
        # Here and not by the interpreter, because ``on_failure`` may end the process.
        _say(traceback.format_exc().rstrip())
        message, status = traceback.format_exception_only(error)[-1].strip(), 1
    if message and on_failure is not None:
        on_failure(message, status)
    flush_or_discard()
    sys.exit(status)


def take_arguments(argv: list[str], known: flags.FlagValues) -> list[str]:
    """Takes what is no flag, which ``run_command`` would refuse, out of a command line; a flag keeps its value.

    Args:
      argv: with the program's name first; what is taken is removed.
      known: the command's own flags.
    """
    with_value = {_CACHE_FLAG, *(name for name in known if not known[name].boolean)}
    taken: list[str] = []
    rest = argv[:1]
    for argument in argv[1:]:
        is_value = rest[-1].startswith("-") and rest[-1].lstrip("-") in with_value
        (rest if argument.startswith("-") or is_value else taken).append(argument)
    argv[:] = rest
    return taken


def flush_or_discard() -> None:
    """Flushes stdout and stderr; what cannot be written is given up, or it would change the status at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a pipe without a reader, a terminal that is gone, a closed stream
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str) -> None:
    """Prints to stderr, which may be gone: launchers go by the status, not by the text."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def log_plainly() -> None:
    """Shows a command's own lines as they are; of the libraries, warnings and errors only."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    for library in ("absl", "jax"):
        logging.getLogger(library).setLevel(logging.WARNING)


class _HelpFlag(flags.BooleanFlag):
    """Prints what a command is and its flags, before missing ones are noticed."""

    def __init__(self, known: flags.FlagValues) -> None:
        super().__init__("help", False, "shows this", short_name="h")
        self._known = known

    def parse(self, arg: str | bool | None) -> None:
        if arg:
            print(sys.modules["__main__"].__doc__ or "", self._known.get_help(), sep="\n")
            flush_or_discard()
            sys.exit(0)


def _define_shared_flags(known: flags.FlagValues, with_config: bool) -> None:
    """Defines the flags that every command has, unless an earlier call has."""
    if _CACHE_FLAG in known:
        return
    flags.DEFINE_flag(_HelpFlag(known), known)
    flags.DEFINE_string(_CACHE_FLAG, None, compile_cache.HELP, flag_values=known)
    if with_config:
        flags.DEFINE_string(
            _FLAG,
            None,
            "a .py with get_config(), a shipped config's name, or the config.json that an earlier run saved",
            flag_values=known,
        )


def _load_with_overrides(known: flags.FlagValues, argv: list[str]) -> ConfigDict:
    """Loads ``--config`` and applies the ``--config.key=value`` overrides, wherever on the line they are."""
    overrides = _parse_flags(known, argv, known_only=True)
    path = known[_FLAG].value
    if not path:
        raise UserError(
            f"--{_FLAG} is missing: give a config such as shapes_quickstart or configs/shapes_quickstart.py"
        )
    config = load(path)
    before = config.copy_and_resolve_references()
    for arg in overrides:
        override = re.match(rf"--?(?:no)?{_FLAG}\.([^=]+)", arg)
        if override:
            _check_override(override[1], config)

    # config_flags gives a value the type that the field has. Its flags are of this call only.
    own = flags.FlagValues()
    _accept_any_type_for_none(config)
    try:
        config_flags.DEFINE_config_dict(_FLAG, config, flag_values=own, sys_argv=overrides)
        left = own(overrides)
    except flags.UnrecognizedFlagError as error:
        raise _unknown_flag(error, known) from error
    except (flags.Error, ValueError, TypeError) as error:
        raise _bad_value(error, before) from error
    _refuse_arguments(left)
    return normalize(config)


def _parse_flags(known: flags.FlagValues, argv: list[str], known_only: bool = False) -> list[str]:
    """Parses the command's flags; gives what is left, the program's name first where anything may be left."""
    known.unparse_flags()
    # GNU order: a flag after a positional argument is still a flag.
    known.set_gnu_getopt(True)
    try:
        left = known(argv, known_only=known_only)
    except flags.UnrecognizedFlagError as error:
        raise _unknown_flag(error, known) from error
    except flags.Error as error:
        # A required flag that was not given reads "flag --workdir=None: Flag --workdir must have a value".
        raise UserError(re.sub(r"^flag --\S+=None: Flag ", "", str(error))) from error
    if known_only:
        return left
    _refuse_arguments(left)
    return []


def _refuse_arguments(left: list[str]) -> None:
    if len(left) > 1:
        raise UserError(f"unexpected argument {left[1]!r}; a value belongs to its flag: --flag=value")


def _check_override(name: str, config: ConfigDict) -> None:
    """Says which key exists before config_flags looks, because its own error is a page long."""
    node: Any = config
    parts = name.split(".")
    for depth, part in enumerate(parts):
        inside = ".".join(parts[:depth])
        check(isinstance(node, ConfigDict), name, f"unknown key; {inside} is {_type_name(node)}, it has no keys")
        check(part in node, name, f"unknown key{_nearest(part, node, config)}; allowed here: {', '.join(node)}")
        node = node[part]
    if isinstance(node, ConfigDict):
        raise ConfigError(name, f"is a section; set one of its keys: {', '.join(node)}")


def _accept_any_type_for_none(config: ConfigDict) -> None:
    """config_flags has no type to parse a value with where the config has None: let it be any Python literal."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            _accept_any_type_for_none(value)
        elif value is None:
            config[key] = FieldReference(None, field_type=object)


def _bad_value(error: Exception, config: ConfigDict) -> UserError:
    match = re.search(rf"flag --(?:no)?{_FLAG}\.([^\s=:]+)(?:=(.*?))?(?:: |$)", str(error), re.IGNORECASE)
    if not match:
        return UserError(str(error))
    name, value = match.groups()
    before: Any = config
    for part in name.split("."):
        before = before[part]
    given = "no value given" if value is None else f"{value!r} is not {_type_name(before)}"
    return ConfigError(name, f"{given}; its value so far is {before!r}")


def _unknown_flag(error: flags.UnrecognizedFlagError, known: flags.FlagValues) -> UserError:
    name = error.flagname
    return UserError(f"--{name}: unknown flag{did_you_mean(name.partition('.')[0], known, mark='--')}")


def _nearest(key: str, section: ConfigDict, whole: ConfigDict) -> str:
    """The key of the same name elsewhere in the config, else the nearest one of the section."""
    elsewhere = [path for path in _paths(whole) if path.rpartition(".")[2] == key]
    return f"; did you mean {' or '.join(elsewhere)}?" if elsewhere else did_you_mean(key, section)


def _paths(config: ConfigDict, prefix: str = "") -> list[str]:
    paths: list[str] = []
    for key, value in config.items():
        paths += _paths(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [prefix + key]
    return paths


def _type_name(value: Any) -> str:
    name = "section" if isinstance(value, ConfigDict) else "str" if value is None else type(value).__name__
    return f"an {name}" if name == "int" else f"a {name}"
