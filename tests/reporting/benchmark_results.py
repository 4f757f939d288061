"""Made-up results of a small benchmark for tests of the report."""

import dataclasses
import math
import random
import types

from PIL import Image

from irg_jax.benchmarks import statistics
from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.preference import Verdict
from irg_jax.benchmarks.preference_file import Verdicts, write_verdicts
from irg_jax.benchmarks.results import Figure, Result, write_result

CATEGORIES = ("colors", "counting", "position")


def summarise(rows):
    """The share of correct images of each category, and their mean."""
    figures = {}
    for category in CATEGORIES:
        values = [row.values["correct"] for row in rows if row.category == category]
        figures[category] = sum(values) / len(values) if values else math.nan
    finite = [value for value in figures.values() if not math.isnan(value)]
    return figures | {"overall": sum(finite) / len(finite)}


GENEVAL = types.SimpleNamespace(TITLE="GenEval", summarise=summarise)
BENCHMARKS = {"geneval": GENEVAL, "wise": types.SimpleNamespace(TITLE="WISE", summarise=summarise)}


def make_result(*, turn=1, share=0.5, run="irg", items=12, seed=0, **changes):
    """A result of ``items`` prompts of two samples, of which about ``share`` are correct."""
    draw = random.Random(f"{run} {turn} {seed}")
    rows = tuple(
        Row(f"{key:05d}", sample, CATEGORIES[key % 3], {"correct": float(draw.random() < share)})
        for key in range(items)
        for sample in range(2)
    )
    ends = statistics.intervals(rows, summarise, draws=50) if rows else {}
    result = Result(
        benchmark="geneval",
        version="short",
        run=run,
        checkpoint=f"runs/{run}",
        step=3000,
        turn=turn,
        seed=seed,
        protocol={"prompts": "4af0c1", "detector": "mask2former_swin-s"},
        comparable=True,
        figures={name: Figure(value, *ends[name]) for name, value in summarise(rows).items()},
        expected_items=items,
        scored_items=items,
        rows=rows,
        complete=True,
        problems=(),
        prompts={row.key: f"a photo of {row.key}" for row in rows},
        images={(row.key, row.sample): f"images/{row.key}_{row.sample}.png" for row in rows},
    )
    return dataclasses.replace(result, **changes)


def write(folder, result, *, images=True):
    """The result in a folder, with an image of a colour of its own for each row."""
    (folder / "images").mkdir(parents=True)
    write_result(folder, result)
    for (key, sample), name in result.images.items() if images else ():
        Image.new("RGB", (160, 160), (20 * int(key) % 256, 100 * sample, 90 * result.turn)).save(folder / name)
    return folder


def write_preference(folder, **changes):
    """Verdicts of two judges, one of which prefers whatever is shown first."""
    verdicts = [
        Verdict(f"{key:05d}", 0, judge, order, choice)
        for key in range(6)
        for judge, choices in (("fair judge", ("first", "second")), ("first judge", ("first", "first")))
        for order, choice in zip(("ab", "ba"), choices, strict=True)
    ]
    made = Verdicts(
        benchmark="geneval",
        version="short",
        a="irg turn 2",
        b="irg turn 1",
        protocol={"template": "77ab"},
        categories={f"{key:05d}": CATEGORIES[key % 3] for key in range(6)},
        verdicts=tuple(verdicts),
        problems=(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_verdicts(folder, dataclasses.replace(made, **changes))
    return folder
