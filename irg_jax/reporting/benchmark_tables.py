"""The figures of the benchmarks page as CSV and JSON."""

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any

from irg_jax.benchmarks.json_fields import number_or_null
from irg_jax.reporting.benchmark_comparison import Change, Group, Judged

COLUMNS = (
    *("kind", "benchmark", "version", "name", "compared_with", "figure", "value", "low", "high"),
    *("scored_items", "expected_items", "comparable", "protocol"),
)


def to_csv(groups: Sequence[Group], judged: Sequence[Judged]) -> str:
    """One line for each figure; an empty cell where there is no number.

    ``kind`` is ``result``, ``published``, ``turns`` or ``runs`` (``name`` minus ``compared_with``), or ``preference``
    (how often ``name`` is preferred to ``compared_with``; the figure is the judge and the category).
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for line in _lines(groups, judged):
        writer.writerow({name: "" if value is None else value for name, value in line.items()})
    return text.getvalue()


def to_json(groups: Sequence[Group], judged: Sequence[Judged], warnings: Sequence[str]) -> dict[str, Any]:
    """The lines of the CSV, with all warnings, problems and what was refused."""
    refused = [
        {"name": change.after.label, "compared_with": change.before.label, "reason": change.refused}
        for group in groups
        for change in (*group.turns, *group.runs)
        if change.refused
    ]
    problems = [
        {"name": own.label, "folder": str(own.folder)} | problem._asdict()
        for group in groups
        for own in group.scored
        for problem in own.result.problems
    ]
    problems += [
        {"name": f"{own.verdicts.a} against {own.verdicts.b}", "folder": str(own.folder)} | problem._asdict()
        for own in judged
        for problem in own.verdicts.problems
    ]
    judges = [
        {
            "folder": str(own.folder),
            "a": own.verdicts.a,
            "b": own.verdicts.b,
            "alpha": number_or_null(own.preference.alpha),
            "agreement": number_or_null(own.preference.agreement),
            "bias": {
                judge: {name: number_or_null(value) for name, value in dataclasses.asdict(bias).items()}
                for judge, bias in own.preference.bias.items()
            },
            "half_judged": [list(place) for place in own.preference.half_judged],
        }
        for own in judged
    ]
    return {
        "format": 1,
        "figures": list(_lines(groups, judged)),
        "judges": judges,
        "warnings": [*warnings, *(warning for group in groups for warning in group.warnings)],
        "refused": refused,
        "problems": problems,
    }


def _lines(groups: Sequence[Group], judged: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    for group in groups:
        place = {"benchmark": group.benchmark, "version": group.version}
        for own in group.scored:
            result = own.result
            protocol = "; ".join(f"{name}: {value}" for name, value in result.protocol.items())
            about: dict[str, Any] = {"scored_items": result.scored_items, "expected_items": result.expected_items}
            about |= {"comparable": result.comparable, "protocol": protocol}
            for name, figure in result.figures.items():
                yield {"kind": "result", **place, "name": own.label, "figure": result.shown_name(name)} | (
                    _numbers(figure) | about
                )
        for kind, changes in (("turns", group.turns), ("runs", group.runs)):
            for change in changes:
                yield from _change_lines(kind, place, change)
        for row in group.published:
            about = {"benchmark": row.benchmark, "version": row.version, "name": row.model}
            source = f"{row.source}{f'; {row.note}' if row.note else ''}"
            for name, value in row.figures.items():
                yield {"kind": "published", **about, "figure": name, "value": value, "protocol": source}
    for pair in judged:
        names = {"name": pair.verdicts.a, "compared_with": pair.verdicts.b}
        place = {"benchmark": pair.verdicts.benchmark, "version": pair.verdicts.version}
        protocol = "; ".join(f"{name}: {value}" for name, value in pair.verdicts.protocol.items())
        for (judge, category), rate in pair.preference.win_rates.items():
            yield (
                {"kind": "preference", **place, **names, "figure": f"{judge}: {category}"}
                | _numbers(rate)
                | {"protocol": protocol}
            )


def _change_lines(kind: str, place: dict[str, Any], change: Change) -> Iterator[dict[str, Any]]:
    names = {"name": change.after.label, "compared_with": change.before.label}
    for name, difference in change.figures.items():
        shown = change.after.result.shown_name(name)
        yield {"kind": kind, **place, **names, "figure": shown} | _numbers(difference)


def _numbers(figure: Any) -> dict[str, float | None]:
    return {name: number_or_null(getattr(figure, name)) for name in ("value", "low", "high")}
