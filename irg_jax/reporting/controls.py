"""Controls of the second turn (``experiment.controls``): their scores, and how far each is from turn 1 and turn 2."""

from collections.abc import Mapping, Sequence
from typing import Any

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.statistics import paired_differences

FILE, FOLDER = "controls.json", "controls"
OF_BENCHMARK = ": "  # between the name of a benchmark and a kind of its prompts; GenEval's kinds have no name before


def image_file(control: str, sample: str) -> str:
    """Path of a control's picture in a run's folder."""
    return f"{FOLDER}/{control.replace(' ', '_')}/{sample}.png"


def rows(items: Sequence[Mapping[str, Any]], what: str, run: int = 0) -> list[Row]:
    """The scores of one turn or control as rows of a bootstrap over prompts.

    Args:
      items: of scores.json; those without ``what`` are left out.
      what: ``turn1``, ``turn2``, or the name of a control.
      run: number of the run, where several have sampled the same prompts.
    """
    found = []
    for item in items:
        score = item.get(what) or item.get("controls", {}).get(what)
        if score is not None:
            values = {"overall": float(score["correct"]), "detail": float(score["detail"])}
            found.append(Row(item["sample"], run, item["kind"], values))
    return found


def figures(some: Sequence[Row]) -> dict[str, float]:
    """``overall``, the mean over benchmarks of that over their kinds of prompts, and ``detail``, that of all rows."""
    benchmarks: dict[str, dict[str, list[float]]] = {}
    for row in some:
        kinds = benchmarks.setdefault(row.category.rpartition(OF_BENCHMARK)[0], {})
        kinds.setdefault(row.category, []).append(row.values["overall"])
    overall = _mean([_mean([_mean(hits) for hits in kinds.values()]) for kinds in benchmarks.values()])
    return {"overall": overall, "detail": _mean([row.values["detail"] for row in some])}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def difference(first: Sequence[Row], second: Sequence[Row]) -> dict[str, float] | None:
    """``overall`` of ``second`` minus that of ``first`` on the prompts of both, with its paired 95 % interval."""
    shared = {(row.key, row.sample) for row in first} & {(row.key, row.sample) for row in second}
    if not shared:
        return None
    before, after = ([row for row in some if (row.key, row.sample) in shared] for some in (first, second))
    found = paired_differences(before, after, figures)["overall"]
    return {"value": found.value, "low": found.low, "high": found.high}


def summarise(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each control its figures, and how far they are from those of turn 2 on the same prompts."""
    names = list(dict.fromkeys(name for item in items for name in item.get("controls", {})))
    turn2 = rows(items, "turn2")
    found = {}
    for name in names:
        own = rows(items, name)
        found[name] = figures(own) | {"count": len(own), "minus_turn2": difference(turn2, own)}
    return found
