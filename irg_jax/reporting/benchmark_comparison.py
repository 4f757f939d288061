"""Scored runs beside each other, and what changes from one to the other. Only figures; nothing is rendered here."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Protocol

from irg_jax.benchmarks import preference, statistics
from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.preference import Preference
from irg_jax.benchmarks.preference_file import Verdicts
from irg_jax.benchmarks.published import PUBLISHED, PublishedRow
from irg_jax.benchmarks.results import Result
from irg_jax.benchmarks.statistics import Difference
from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath


class Summary(Protocol):
    """What is needed of a benchmark: its name on pages and its figures."""

    TITLE: str

    def summarise(self, rows: Sequence[Row]) -> dict[str, float]:
        """As ``irg_jax.benchmarks.benchmark.Benchmark``."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """The result in a folder.

    Attributes:
      folder: where it is.
      result: what it says.
      label: tells it from the others of its group.
    """

    folder: AnyPath
    result: Result
    label: str


@dataclasses.dataclass(frozen=True)
class Change:
    """What ``after`` has more than ``before``.

    Attributes:
      before: such as turn 1.
      after: such as turn 2.
      figures: differences by figure; empty where they were refused.
      refused: why there are none; empty otherwise.
    """

    before: Scored
    after: Scored
    figures: Mapping[str, Difference]
    refused: str


@dataclasses.dataclass(frozen=True)
class Group:
    """All results of one version of a benchmark.

    Attributes:
      benchmark: its name.
      version: of the benchmark.
      title: of the benchmark on pages.
      scored: in the order of the folders.
      published: of the benchmark, also of other versions.
      turns: each turn against the one before, for each run.
      runs: the last turn of the first run against that of each other run.
      warnings: why figures of this group do not compare with each other.
    """

    benchmark: str
    version: str
    title: str
    scored: tuple[Scored, ...]
    published: tuple[PublishedRow, ...]
    turns: tuple[Change, ...]
    runs: tuple[Change, ...]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Judged:
    """The verdicts in a folder and what they come to."""

    folder: AnyPath
    verdicts: Verdicts
    preference: Preference


def group_results(
    results: Sequence[tuple[AnyPath, Result]], benchmarks: Mapping[str, Summary], draws: int, seed: int
) -> tuple[list[Group], list[str]]:
    """Groups results by benchmark and version, and compares turns and runs within each group.

    Args:
      results: with their folders.
      benchmarks: by name.
      draws: of the bootstrap.
      seed: of the draws.

    Returns:
      The groups, and a warning for each benchmark that is there in several versions.

    Raises:
      UserError: a result of a benchmark that is not among ``benchmarks``.
    """
    found: dict[tuple[str, str], list[tuple[AnyPath, Result]]] = {}
    for folder, result in results:
        if result.benchmark not in benchmarks:
            known = ", ".join(benchmarks)
            raise UserError(f"{folder}: is of the benchmark {result.benchmark!r}, which is not one of {known}")
        found.setdefault((result.benchmark, result.version), []).append((folder, result))
    versions: dict[str, list[str]] = {}
    for name, version in found:
        versions.setdefault(name, []).append(version)
    warnings = [
        f"{benchmarks[name].TITLE}: there are results of the versions {' and '.join(own)}, which have other "
        "prompts or rules. Their tables are apart, and no figure of one compares with a figure of the other."
        for name, own in versions.items()
        if len(own) > 1
    ]
    # The versions of a benchmark stand together.
    ordered = [(name, version) for name, own in versions.items() for version in own]
    return [_group(*key, found[key], benchmarks[key[0]], draws, seed) for key in ordered], warnings


def judge(folder: AnyPath, verdicts: Verdicts, draws: int, seed: int) -> Judged:
    """The preference in a folder. Raises UserError, with the folder, where the verdicts contradict themselves."""
    try:
        return Judged(
            folder, verdicts, preference.compare(verdicts.verdicts, verdicts.categories, draws=draws, seed=seed)
        )
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error


def _group(
    name: str, version: str, found: Sequence[tuple[AnyPath, Result]], benchmark: Summary, draws: int, seed: int
) -> Group:
    labels = _labels(found)
    scored = [Scored(folder, result, label) for (folder, result), label in zip(found, labels, strict=True)]
    runs: dict[tuple[str, str, int, int], list[Scored]] = {}
    for own in sorted(scored, key=lambda own: own.result.turn):
        runs.setdefault(_run(own.result), []).append(own)
    in_order = [runs[identity] for identity in dict.fromkeys(_run(own.result) for own in scored)]

    def change(before: Scored, after: Scored) -> Change:
        try:
            rows = before.result.rows, after.result.rows
            return Change(before, after, statistics.paired_differences(*rows, benchmark.summarise, draws, seed), "")
        except UserError as error:
            return Change(before, after, {}, str(error))

    return Group(
        name,
        version,
        benchmark.TITLE,
        tuple(scored),
        tuple(row for row in PUBLISHED if row.benchmark == name),
        tuple(change(before, after) for turns in in_order for before, after in itertools.pairwise(turns)),
        tuple(change(in_order[0][-1], turns[-1]) for turns in in_order[1:]),
        (*_torn_runs(scored), *_other_protocols(scored)),
    )


def _run(result: Result) -> tuple[str, str, int, int]:
    return result.run, result.checkpoint, result.step, result.seed


def _labels(found: Sequence[tuple[AnyPath, Result]]) -> list[str]:
    """The shortest labels that tell the results apart."""
    labels: list[str] = []
    for parts in ((), ("step",), ("step", "seed"), ("step", "seed", "checkpoint")):
        labels = [
            ", ".join([own.run, *(f"{part} {getattr(own, part)}" for part in parts), f"turn {own.turn}"])
            for _, own in found
        ]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label}, {folder}" for label, (folder, _) in zip(labels, found, strict=True)]


def _torn_runs(scored: Sequence[Scored]) -> list[str]:
    """A turn 2 whose turn 1 is of another checkpoint, step or seed of a run of that name."""
    warnings = []
    for own in scored:
        earlier = [one for one in scored if one.result.run == own.result.run and one.result.turn == own.result.turn - 1]
        if earlier and not any(_run(one.result) == _run(own.result) for one in earlier):
            warnings.append(
                f"{own.label} ({own.folder}) and {earlier[0].label} ({earlier[0].folder}) have the name of one run but "
                "are of different checkpoints, steps or seeds, so that they are not compared as turns of one run."
            )
    return warnings


def _other_protocols(scored: Sequence[Scored]) -> list[str]:
    """Each part of the protocol that the results do not share."""
    warnings = []
    for name in dict.fromkeys(name for own in scored for name in own.result.protocol):
        users: dict[str, list[str]] = {}
        for own in scored:
            users.setdefault(own.result.protocol.get(name, "not said"), []).append(own.label)
        if len(users) > 1:
            values = "; ".join(f"{value} ({', '.join(labels)})" for value, labels in users.items())
            warnings.append(
                f"The results were not scored in the same way, so that they do not compare: {name}: {values}."
            )
    return warnings
