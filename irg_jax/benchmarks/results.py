"""``scores.json``: what was scored, how, and every figure with the rows that it comes from."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from irg_jax.benchmarks.benchmark import Place, Problem, Row
from irg_jax.benchmarks.json_fields import Fields, number_or_null, read_fields
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import write_json
from irg_jax.core.storage import AnyPath

FILE = "scores.json"
_FORMAT = 1
_REMEDY = "score the images again with python -m irg_jax.evaluate score"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure as a fraction.

    Attributes:
      value: NaN where no row says anything about it.
      low: lower end of its 95 % interval over prompts, NaN without one; likewise ``high``.
      high: see ``low``.
    """

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Result:
    """The scores of one turn of one run on one version of a benchmark.

    Attributes:
      benchmark: its name, such as ``geneval``.
      version: such as ``short``.
      run: name of the run.
      checkpoint: where its weights come from.
      step: of the checkpoint.
      turn: 1 for the first image of each prompt.
      seed: of the run.
      protocol: how it was scored: digest of the prompts, judge model, name and digest of its template, weights of
        detectors, …; for readers, and to tell results apart that do not compare.
      comparable: whether prompts, judge, template and rules are the official ones, so that published figures compare.
      figures: by name, in the order of the official table.
      expected_items: prompts of the official version.
      scored_items: prompts whose images were all scored.
      rows: all that the figures come from.
      complete: every prompt of an official version is scored.
      problems: with the images and with the answers of judges.
      prompts: text of each item.
      images: file of each (key, sample), relative to the folder of the results; those without one are not shown.
    """

    benchmark: str
    version: str
    run: str
    checkpoint: str
    step: int
    turn: int
    seed: int
    protocol: Mapping[str, str]
    comparable: bool
    figures: Mapping[str, Figure]
    expected_items: int
    scored_items: int
    rows: tuple[Row, ...]
    complete: bool
    problems: tuple[Problem, ...]
    prompts: Mapping[str, str]
    images: Mapping[Place, str]

    def shown_name(self, name: str) -> str:
        """The name of a figure as it is shown: an overall of too few prompts says so."""
        if self.complete or not name.endswith("overall"):
            return name
        return f"{name}{self._shortage}"

    @property
    def _shortage(self) -> str:
        if self.scored_items >= self.expected_items:  # as many as the benchmark has, but not its own
            return f" of {self.scored_items} {self.version} prompts"
        return f" of {self.scored_items} of {self.expected_items} prompts"


def write_result(folder: AnyPath, result: Result) -> None:
    """Writes ``folder/scores.json``. Raises OSError where that fails."""
    values = dataclasses.asdict(result) | {
        "figures": {
            result.shown_name(name): {key: number_or_null(value) for key, value in dataclasses.asdict(figure).items()}
            for name, figure in result.figures.items()
        },
        "rows": [_row(row, result.images) for row in result.rows],
        "problems": [problem._asdict() for problem in result.problems],
    }
    del values["images"]  # they stand in the rows
    write_json(folder / FILE, {"format": _FORMAT} | values)


def read_result(folder: AnyPath, **expected: Any) -> Result:
    """Reads ``folder/scores.json``.

    Args:
      folder: of one turn of one run.
      **expected: what attributes have to be, such as ``run="irg"``; for a caller that knows whose results these are.

    Raises:
      UserError: it is missing or damaged, is that of another command, contradicts itself, or is of another run.
      StorageError: the storage went on answering with errors.
    """
    path = folder / FILE
    file = read_fields(path, _REMEDY)
    if "benchmark" not in file and "turn1" in file:
        raise UserError(f"{path}: is of python -m irg_jax.report, not of a benchmark; give a folder of evaluate score")
    if file.whole("format") != _FORMAT:
        raise file.wrong("format", f"is {file.whole('format')}, which this version of irg_jax does not know")
    result = _result(file)
    for name, value in expected.items():
        found = getattr(result, name)
        if found != value:
            raise UserError(f"{path}: is of another run: its {name} is {found!r}, not {value!r}; give another folder")
    return result


def _row(row: Row, images: Mapping[Place, str]) -> dict[str, Any]:
    values = {name: number_or_null(value) for name, value in row.values.items()}
    image = images.get((row.key, row.sample))
    return row._asdict() | {"values": values} | ({} if image is None else {"image": image})


def _result(file: Fields) -> Result:
    rows, images = {}, {}
    for fields in file.list_of_fields("rows"):
        row = Row(fields.text("key"), fields.whole("sample"), fields.text("category"), fields.numbers("values"))
        place = row.key, row.sample
        if place in rows:
            raise fields.wrong("", f"is of {row.key} sample {row.sample}, which an earlier row is of")
        rows[place] = row
        if "image" in fields:
            images[place] = fields.text("image")
    simple: dict[str, Any] = {name: file.text(name) for name in ("benchmark", "version", "run", "checkpoint")}
    simple |= {name: file.whole(name) for name in ("step", "turn", "seed", "expected_items", "scored_items")}
    result = Result(
        **simple,
        protocol=file.texts("protocol"),
        comparable=file.flag("comparable"),
        figures={},
        rows=tuple(rows.values()),
        complete=file.flag("complete"),
        problems=file.problems("problems"),
        prompts=file.texts("prompts"),
        images=images,
    )
    if result.complete and result.scored_items < result.expected_items:
        raise file.wrong("complete", f"is true with {result.scored_items} of {result.expected_items} prompts scored")
    return dataclasses.replace(result, figures=_figures(file.fields("figures"), result))


def _figures(fields: Fields, result: Result) -> dict[str, Figure]:
    figures = {}
    for shown in fields:
        name = shown if result.complete else shown.removesuffix(result._shortage)
        if result.shown_name(name) != shown:
            raise fields.wrong(
                repr(shown), f"should be named {result.shown_name(name)!r}, as not all prompts are scored"
            )
        own = fields.fields(shown)
        figures[name] = Figure(own.number("value"), own.number("low"), own.number("high"))
    return figures
