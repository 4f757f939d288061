"""Scores the held-out samples of a run: the first turn against the second, kind by kind, and what thinking 2 sees."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from irg_jax.core.errors import UserError
from irg_jax.reporting.controls import OF_BENCHMARK, difference, figures, rows
from irg_jax.reporting.controls import summarise as summarise_controls
from irg_jax.reporting.load import Run, Sample
from irg_jax.reporting.perception import Reading, judge, summarise
from irg_jax.reporting.shares import share
from irg_jax.worlds.shapes.draw import split_of
from irg_jax.worlds.shapes.kept import kept
from irg_jax.worlds.shapes.manners import MANNERS, kinds_of
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.score import Score, score_image
from irg_jax.worlds.shapes.thinking import has_four_parts, parse_plan


@dataclasses.dataclass(frozen=True)
class SampleScore:
    """What the scorer says about one sample.

    Attributes:
      kind: of the prompt: one of GenEval's six (arXiv 2310.11513), or the name of another benchmark and one of its
        kinds, such as "wise: colour".
      turns: the scores of both images.
      reading: of image 1 by thinking 2, against the plan that the model wrote, where thinking 1 is one.
      kept: how well image 2 keeps what image 1 has right, in [0, 1]; None where thinking 1 is not a plan.
      held_out: whether this combination of objects is in the held-out split of the shapes world.
      controls: the scores of the controls of its second turn, by name.
    """

    kind: str
    turns: tuple[Score, Score]
    reading: Reading
    kept: float | None
    held_out: bool
    controls: Mapping[str, Score]


def sign_test(fixed: int, broken: int) -> float:
    """The two-sided p-value of the exact sign test of ``fixed`` against ``broken`` samples; 1.0 for 0 and 0."""
    changed = fixed + broken
    tail = sum(math.comb(changed, k) for k in range(min(fixed, broken) + 1))
    return min(1.0, 2 * tail / 2**changed)


def score_sample(sample: Sample, controls: Mapping[str, Image.Image] = MappingProxyType({})) -> SampleScore | None:
    """Scores the images of a sample and of its controls; None for a free prompt, whose images cannot be checked."""
    if not sample.scene:
        return None
    first, second = (np.asarray(turn.image) for turn in sample.turns)
    try:
        scene = Scene.from_json(sample.scene)
        scores = score_image(first, scene), score_image(second, scene)
    except UserError as error:
        raise UserError(f"{sample.path}: {error}") from None
    # Against the plan that the model wrote: the prompt leaves positions and some colours open.
    plan = parse_plan(sample.turns[0].thinking)
    return SampleScore(
        _kind(scene.manner, scene.kind),
        scores,
        judge(scores[0].seen, plan, sample.turns[1].thinking),
        None if plan is None else kept(scores[0].seen, scores[1].seen, plan.things),
        split_of(scene.objects) == "held_out",
        {name: score_image(np.asarray(picture), scene) for name, picture in controls.items()},
    )


def score_run(run: Run) -> list[SampleScore | None]:
    """One entry per sample of a run, see ``score_sample``."""
    own = ((sample, sample.path.parent.name) for sample in run.samples)
    return [
        score_sample(sample, {control: images[name] for control, images in run.controls.items() if name in images})
        for sample, name in own
    ]


def summarise_run(run: Run, scores: Sequence[SampleScore | None]) -> dict[str, Any]:
    """The numbers of the report, as written to scores.json; `scores` holds one entry per entry of `run.samples`."""
    scored = [score for score in scores if score is not None]
    reflections = [sample.turns[1] for sample in run.samples]
    four = [has_four_parts(turn.thinking) for turn in reflections]
    items = [_item(sample, score) for sample, score in zip(run.samples, scores, strict=True)]
    return {
        "samples": len(run.samples),
        "scored": len(scored),
        "held_out": sum(score.held_out for score in scored),
        "checkpoints": sorted({sample.checkpoint for sample in run.samples}),
        "steps": sorted({sample.step for sample in run.samples}),
        "initial_target": run.initial_target,
        "turn1": _turn_summary(scored, 0) | _figures(items, "turn1"),
        "turn2": _turn_summary(scored, 1) | _figures(items, "turn2"),
        "change": _change(scored) | {"overall": difference(rows(items, "turn1"), rows(items, "turn2"))},
        "controls": summarise_controls(items),
        "kept": _mean([score.kept for score in scored if score.kept is not None]),
        "perception": summarise(run.perception.readings) | {"step": run.perception.step} if run.perception else None,
        "reflection": summarise([score.reading for score in scored]),
        "four_parts": share(sum(four), len(four)),
        "complete": share(sum(turn.complete for turn in reflections), len(reflections)),
        "items": items,
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _kind(manner: str, kind: str) -> str:
    """GenEval's kinds are known by their names alone; those of other benchmarks could be anything's."""
    return kind if manner == MANNERS[0] else f"{manner}{OF_BENCHMARK}{kind}"


def _turn_summary(scored: Sequence[SampleScore], turn: int) -> dict[str, Any]:
    by_manner: dict[str, dict[str, Any]] = {}
    for manner in MANNERS:
        names = [_kind(manner, kind) for kind in kinds_of(manner)]
        groups = {name: [score.turns[turn].correct for score in scored if score.kind == name] for name in names}
        by_manner[manner] = {name: share(sum(hits), len(hits)) for name, hits in groups.items() if hits}
    kinds = {name: hits for found in by_manner.values() for name, hits in found.items()}
    return {
        "kinds": kinds,
        # Of each benchmark in whose manner the prompts are.
        "manners": {
            manner: _mean([x["share"] for x in found.values()]) for manner, found in by_manner.items() if found
        },
        "pooled": share(sum(score.turns[turn].correct for score in scored), len(scored)),
    }


def _figures(items: Sequence[Mapping[str, Any]], turn: str) -> dict[str, float | None]:
    own = rows(items, turn)
    return dict(figures(own)) if own else {"overall": None, "detail": None}


def _change(scored: Sequence[SampleScore]) -> dict[str, Any]:
    pairs = [(first.correct, second.correct) for first, second in (score.turns for score in scored)]
    fixed, broken = pairs.count((False, True)), pairs.count((True, False))
    return {
        "both_correct": pairs.count((True, True)),
        "fixed": fixed,
        "broken": broken,
        "both_wrong": pairs.count((False, False)),
        "repaired": share(fixed, fixed + pairs.count((False, False))),
        "damaged": share(broken, broken + pairs.count((True, True))),
        "sign_test_p": sign_test(fixed, broken),
    }


def _item(sample: Sample, score: SampleScore | None) -> dict[str, Any]:
    item: dict[str, Any] = {"sample": sample.path.parent.name, "prompt": sample.prompt, "seed": sample.seed}
    if score is not None:
        item |= {"kind": score.kind, "diagnosed": score.reading.exact, "seen": score.reading.seen, "kept": score.kept}
        faults = score.reading.faults
        item["faults"] = None if faults is None else [fault.kind for fault in faults]
        for name, turn in zip(("turn1", "turn2"), score.turns, strict=True):
            item[name] = {"correct": turn.correct, "reasons": list(turn.reasons), "detail": turn.detail}
        if score.controls:
            item["controls"] = {
                name: {"correct": control.correct, "detail": control.detail} for name, control in score.controls.items()
            }
    return item
