"""``preference.json``: the verdicts of judges on two sets of images."""

import dataclasses
from collections.abc import Mapping

from irg_jax.benchmarks.benchmark import Problem
from irg_jax.benchmarks.json_fields import Fields, read_fields
from irg_jax.benchmarks.preference import Verdict
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import write_json
from irg_jax.core.storage import AnyPath

FILE = "preference.json"
_FORMAT = 1
_REMEDY = "ask the judges again, or give another folder"


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """All verdicts on A against B.

    Attributes:
      benchmark: whose prompts the images are of.
      version: of the benchmark.
      a: what A is, such as ``irg turn 2``; likewise ``b``.
      b: see ``a``.
      protocol: how it was judged: models, digest of the template, …
      categories: of each item.
      verdicts: of all judges.
      problems: pairs that a judge did not judge, and why.
    """

    benchmark: str
    version: str
    a: str
    b: str
    protocol: Mapping[str, str]
    categories: Mapping[str, str]
    verdicts: tuple[Verdict, ...]
    problems: tuple[Problem, ...]


def write_verdicts(folder: AnyPath, verdicts: Verdicts) -> None:
    """Writes ``folder/preference.json``. Raises OSError where that fails."""
    values = dataclasses.asdict(verdicts) | {
        "verdicts": [verdict._asdict() for verdict in verdicts.verdicts],
        "problems": [problem._asdict() for problem in verdicts.problems],
    }
    write_json(folder / FILE, {"format": _FORMAT} | values)


def read_verdicts(folder: AnyPath) -> Verdicts:
    """Reads ``folder/preference.json``.

    Raises:
      UserError: it is missing or damaged.
      StorageError: the storage went on answering with errors.
    """
    file = read_fields(folder / FILE, _REMEDY)
    if file.whole("format") != _FORMAT:
        raise file.wrong("format", f"is {file.whole('format')}, which this version of irg_jax does not know")
    return Verdicts(
        **{name: file.text(name) for name in ("benchmark", "version", "a", "b")},
        protocol=file.texts("protocol"),
        categories=file.texts("categories"),
        verdicts=tuple(_verdict(fields) for fields in file.list_of_fields("verdicts")),
        problems=file.problems("problems"),
    )


def _verdict(fields: Fields) -> Verdict:
    return Verdict(
        fields.text("key"),
        fields.whole("sample"),
        fields.text("judge"),
        _one_of(fields, "order", ("ab", "ba")),  # type: ignore[arg-type]
        _one_of(fields, "choice", ("first", "second", "tie")),  # type: ignore[arg-type]
    )


def _one_of(fields: Fields, name: str, allowed: tuple[str, ...]) -> str:
    value = fields.text(name)
    if value not in allowed:
        raise fields.wrong(name, f"is {value!r}, not one of {', '.join(allowed)}")
    return value


def has_verdicts(folder: AnyPath) -> bool:
    """Whether there is a ``preference.json``. Raises UserError where the folder cannot be read."""
    try:
        return (folder / FILE).exists()
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error
