"""The score of one turn: rows, figures with intervals, and what is missing."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from irg_jax.benchmarks import statistics
from irg_jax.benchmarks.benchmark import Benchmark, Place, Problem, PromptSet, log_problems
from irg_jax.benchmarks.results import FILE, Figure, Result, read_result
from irg_jax.core.errors import UserError
from irg_jax.evaluation.run import BenchmarkRun
from irg_jax.evaluation.scoring import SCORERS
from irg_jax.evaluation.scoring.evidence import Evidence, Sources

_SHOWN = 5  # problems in an error
# These leave the score as the official rules have it.
_HARMLESS = ("unclear", "judge changed")


@dataclasses.dataclass(frozen=True)
class Turn:
    """The images that are scored.

    Attributes:
      layout: their folder.
      number: 1 for the first image of each prompt.
      run: that made them; its values are empty where that is not known.
    """

    layout: Path
    number: int
    run: BenchmarkRun


def score(
    benchmark: Benchmark, prompts: PromptSet, turn: Turn, sources: Sources, *, images: Mapping[Place, Path], out: Path,
    allow_partial: bool,
) -> Result:  # fmt: skip
    """Scores one turn.

    Args:
      benchmark: whose rules apply.
      prompts: of the images.
      turn: with the images.
      sources: files or a judge.
      images: of each (key, sample), to be shown in a report.
      out: folder that the result is written to.
      allow_partial: whether images, answers or prompts may be missing; the overall then says of how many it is.

    Raises:
      UserError: something is missing and may not be; and what scorers raise.
      StorageError: a judge could not be reached for long.
    """
    found = benchmark.find_images(prompts, turn.layout, model=sources.model)
    if not allow_partial:
        _refuse(found.problems, turn.layout)
    evidence = SCORERS[benchmark.NAME](prompts, found, sources)
    problems = (*found.problems, *evidence.problems)
    scored, expected = _count(prompts, evidence)
    # A prompt file of one's own is never the benchmark, however many of its prompts are scored.
    complete = scored == expected and prompts.version != "custom"
    if not allow_partial:
        _refuse([problem for problem in problems if problem.kind not in _HARMLESS], turn.layout)
        if not complete:
            raise UserError(
                f"{turn.layout}: {scored} of {expected} prompts of {benchmark.TITLE} ({prompts.version}) are scored; "
                "an overall of them is not the benchmark's; --allow_partial gives it under that name"
            )
    log_problems(problems)
    if not evidence.rows:
        raise UserError(f"{turn.layout}: no image could be scored; the lines above say why")
    figures, intervals = benchmark.summarise(evidence.rows), statistics.intervals(evidence.rows, benchmark.summarise)
    return Result(
        benchmark=benchmark.NAME,
        version=prompts.version,
        run=turn.run.model,
        checkpoint=turn.run.checkpoint,
        step=turn.run.step,
        turn=turn.number,
        seed=turn.run.seed,
        protocol={"prompts digest": prompts.digest, "weights": turn.run.weights} | evidence.protocol,
        comparable=evidence.comparable,
        figures={name: Figure(value, *intervals[name]) for name, value in figures.items()},
        expected_items=expected,
        scored_items=scored,
        rows=tuple(evidence.rows),
        complete=complete,
        problems=tuple(problems),
        prompts={item.key: item.prompt for item in prompts.items},
        images={place: os.path.relpath(path, out) for place, path in images.items()},
    )


def other_run(result: Result, turn: Turn) -> str:
    """What tells a result from one of this turn of this run, such as ``step 5, not 7``; empty where nothing does."""
    run = turn.run
    found = {name: getattr(result, name) for name in ("benchmark", "version", "run", "step", "seed", "turn")}
    found |= {name: result.protocol.get(name) for name in ("prompts digest", "weights")}
    wanted = {
        "benchmark": run.benchmark,
        "version": run.version,
        "run": run.model,
        "step": run.step,
        "seed": run.seed,
        "turn": turn.number,
        "prompts digest": run.prompts_digest,
        "weights": run.weights,
    }
    return ", ".join(f"{name} {found[name]!r}, not {value!r}" for name, value in wanted.items() if found[name] != value)


def check_output(folder: Path, turn: Turn) -> None:
    """Checks that a folder has no scores of another run or turn, which would be lost.

    Raises:
      UserError: it has.
    """
    if not (folder / FILE).exists():
        return
    try:
        result = read_result(folder)
    except UserError:
        return  # a damaged file is written anew
    if different := other_run(result, turn):
        raise UserError(f"--out: {folder / FILE} is of another run ({different}); choose another folder")


def _count(prompts: PromptSet, evidence: Evidence) -> tuple[int, int]:
    """Prompts whose images are all scored, and how many there have to be for an overall of the benchmark."""
    scored = {(row.key, row.sample) for row in evidence.rows}.difference(evidence.half_scored)
    owed: dict[str, list[Place]] = {}
    for place in evidence.owed:
        owed.setdefault(place[0], []).append(place)
    done = sum(all(place in scored for place in own) for own in owed.values())
    return done, prompts.official_items if prompts.version == "custom" else len(owed)


def _refuse(problems: Sequence[Problem], layout: Path) -> None:
    if problems:
        shown = "; ".join(f"{problem.kind}: {problem.where}: {problem.reason}" for problem in problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UserError(f"{layout}: {shown}{more}. --allow_partial scores what is there, and says so")
