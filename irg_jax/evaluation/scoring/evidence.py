"""What scorers are given, and what they find."""

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from irg_jax.benchmarks.benchmark import FoundImages, Item, Place, Problem, PromptSet, Row
from irg_jax.benchmarks.judge import Question, Template
from irg_jax.core.errors import UserError
from irg_jax.endpoints.journal import Answer
from irg_jax.evaluation.judging import Judge, Judged, Task, is_model


@dataclasses.dataclass(frozen=True)
class Sources:
    """What a score may be made from.

    Attributes:
      model: the folder of the model in official layouts and the column of official tables.
      prompts: the file or folder of the prompts, beside which some benchmarks have references.
      files: by name, see ``FILES`` of each scorer.
      template: a file or folder with the official template of the judge; None for our own.
      random_seed: of the choice among several templates; None for the first one.
      open_judge: gives the judge, always the same one; raises UserError where there can be none.
    """

    model: str
    prompts: Path
    files: Mapping[str, Path]
    template: Path | None
    random_seed: int | None
    open_judge: Callable[[], Judge]


class Evidence(NamedTuple):
    """What was found in the images of one turn.

    Attributes:
      rows: at most one for each (key, sample).
      owed: the (key, sample) that need a row for a complete score.
      problems: answers that are missing or odd, and files that lack images.
      protocol: how it was found, for readers.
      comparable: whether prompts, judge, template and rules are the official ones.
      half_scored: the (key, sample) whose row lacks a value, where several metrics give values to one row.
    """

    rows: list[Row]
    owed: Collection[Place]
    problems: list[Problem]
    protocol: dict[str, str]
    comparable: bool
    half_scored: Collection[Place] = ()


def places(items: Sequence[Item]) -> list[Place]:
    """All images of some items."""
    return [(item.key, sample) for item in items for sample in range(item.samples)]


def needed_file(sources: Sources, benchmark: str, *names: str) -> str:
    """The first of some files that is given. Raises UserError where none is."""
    for name in names:
        if name in sources.files:
            return name
    raise UserError(f"{benchmark}: give --file {names[0]}=FILE; see docs/evaluation.md")


def rows_with_images(
    rows: Sequence[Row], owed: Sequence[Place], found: FoundImages, path: Path
) -> tuple[list[Row], list[Problem]]:
    """The rows of a file whose images are there; and a problem for each image that the file says nothing about."""
    told = {(row.key, row.sample) for row in rows}
    problems = [
        Problem("missing", f"{path}: {key}", f"has no score of image {sample}; score it, or give a complete file")
        for key, sample in owed
        if (key, sample) in found.images and (key, sample) not in told
    ]
    return [row for row in rows if (row.key, row.sample) in found.images], problems


def merge(rows: Sequence[Row]) -> list[Row]:
    """One row for each image, with the values of all."""
    merged: dict[Place, Row] = {}
    for row in rows:
        before = merged.get((row.key, row.sample))
        values = dict(row.values) if before is None else {**before.values, **row.values}
        merged[row.key, row.sample] = row._replace(values=values)
    return list(merged.values())


def judge_rows(
    tasks: Sequence[Task], prompts: PromptSet, sources: Sources, official_judge: str, template: Template | None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Judged, dict[str, str], bool]:  # fmt: skip
    """Lets the judge answer.

    Args:
      tasks: whose results are rows.
      prompts: of the benchmark.
      sources: with the judge.
      official_judge: the name of the model that published figures are from.
      template: that the questions were written with; None where the benchmark has one wording only.
      options: of the official request, such as the temperature, without which a score is not comparable; None where
        that is not asked for.

    Returns:
      the rows, the protocol, and whether all of it is official.
    """
    judge = sources.open_judge()
    judged = judge.ask(tasks)
    names = sorted(judged.models)
    judged.problems.extend(judge.changes(judged))
    protocol = {
        "judge": judge.endpoint.model,
        "judge answers as": ", ".join(names) or "nothing was asked",
        "judge options": judge.endpoint.options,
        "official judge": official_judge,
    }
    is_official = len(names) < 2 and all(is_model(name, official_judge) for name in (judge.endpoint.model, *names))
    if template is not None:
        protocol |= {"template": template.name, "template digest": template.digest}
        is_official = is_official and template.comparable
    if options is not None:
        asked = judge.endpoint.extra_fields()
        protocol["official options"] = json.dumps(options)
        is_official = is_official and all(asked.get(name) == value for name, value in options.items())
    return judged, protocol, is_official and prompts.version != "custom"


def row_task(
    where: str, item: Item, sample: int, image: Callable[[], bytes], question: Question,
    values: Callable[[Answer], dict[str, float]],
) -> Task:  # fmt: skip
    """One question about an image, whose answer gives the values of its row; its result is that row."""
    return Task(
        where=where,
        images=(image,),
        questions=(question,),
        read=lambda question, answer: values(answer),
        finish=lambda said: Row(item.key, sample, item.category, said[0]),
    )


def found_tasks(
    items: Sequence[Item], found: FoundImages, make: Callable[[Item, int, Callable[[], bytes]], Task | None]
) -> list[Task]:
    """A task for each image of some items that is there."""
    made = (make(item, s, found.images[item.key, s]) for item in items for s in range(item.samples)
            if (item.key, s) in found.images)  # fmt: skip
    return [task for task in made if task is not None]
