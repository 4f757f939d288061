"""Scores the held-out samples of a run: the first turn against the second, kind by kind."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.reporting.load import Run, Sample
from irg_jax.worlds.shapes.draw import split_of
from irg_jax.worlds.shapes.scene import KINDS, Scene
from irg_jax.worlds.shapes.score import Score, compare_with_plan, score_image
from irg_jax.worlds.shapes.thinking import has_four_parts, parse_faults, parse_plan


@dataclasses.dataclass(frozen=True)
class SampleScore:
    """What the scorer says about one sample.

    Attributes:
      kind: one of the six GenEval kinds (arXiv 2310.11513).
      turns: the scores of both images.
      has_fault: whether image 1 differs from the model's own plan; None where thinking 1 is not a plan.
      diagnosed: whether thinking 2 names exactly those differences, or says that there are none.
      held_out: whether this combination of objects is in the held-out split of the shapes world.
    """

    kind: str
    turns: tuple[Score, Score]
    has_fault: bool | None
    diagnosed: bool
    held_out: bool


def wilson(correct: int, count: int) -> tuple[float, float]:
    """The Wilson 95 % interval of a share."""
    z = 1.959963984540054
    share, spread = correct / count, z * z / count
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    # Rounding may push the ends slightly outside [0, 1].
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def sign_test(fixed: int, broken: int) -> float:
    """The two-sided p-value of the exact sign test of ``fixed`` against ``broken`` samples; 1.0 for 0 and 0."""
    changed = fixed + broken
    tail = sum(math.comb(changed, k) for k in range(min(fixed, broken) + 1))
    return min(1.0, 2 * tail / 2**changed)


def score_sample(sample: Sample) -> SampleScore | None:
    """Scores both images of a sample; None for a free prompt, whose images cannot be checked."""
    if not sample.scene:
        return None
    first, second = (np.asarray(turn.image) for turn in sample.turns)
    try:
        scene = Scene.from_json(sample.scene)
        scores = score_image(first, scene), score_image(second, scene)
        plan = parse_plan(sample.turns[0].thinking)
        # Against the plan that the model wrote: the prompt leaves positions and some colours open.
        faults = None if plan is None else compare_with_plan(first, dataclasses.replace(scene, objects=tuple(plan)))
    except UserError as error:
        raise UserError(f"{sample.path}: {error}") from None
    named = parse_faults(sample.turns[1].thinking)
    diagnosed = faults is not None and named is not None and set(named) == set(faults)
    held_out = split_of(scene.objects) == "held_out"
    return SampleScore(scene.kind, scores, None if faults is None else bool(faults), diagnosed, held_out)


def summarise_run(run: Run, scores: Sequence[SampleScore | None]) -> dict[str, Any]:
    """The numbers of the report, as written to scores.json; `scores` holds one entry per entry of `run.samples`."""
    scored = [score for score in scores if score is not None]
    reflections = [sample.turns[1] for sample in run.samples]
    four = [has_four_parts(turn.thinking) for turn in reflections]
    return {
        "samples": len(run.samples),
        "scored": len(scored),
        "held_out": sum(score.held_out for score in scored),
        "checkpoints": sorted({sample.checkpoint for sample in run.samples}),
        "steps": sorted({sample.step for sample in run.samples}),
        "initial_target": run.initial_target,
        "turn1": _turn_summary(scored, 0),
        "turn2": _turn_summary(scored, 1),
        "change": _change(scored),
        "reflection": {
            "faulty": _diagnosed([score for score in scored if score.has_fault]),
            "faultless": _diagnosed([score for score in scored if score.has_fault is False]),
        },
        "four_parts": _share(sum(four), len(four)),
        "complete": _share(sum(turn.complete for turn in reflections), len(reflections)),
        "items": [_item(sample, score) for sample, score in zip(run.samples, scores, strict=True)],
    }


def _share(correct: int, count: int) -> dict[str, Any]:
    if not count:
        return {"correct": 0, "count": 0, "share": None, "interval": None}
    return {"correct": correct, "count": count, "share": correct / count, "interval": list(wilson(correct, count))}


def _diagnosed(scored: Sequence[SampleScore]) -> dict[str, Any]:
    return _share(sum(score.diagnosed for score in scored), len(scored))


def _turn_summary(scored: Sequence[SampleScore], turn: int) -> dict[str, Any]:
    groups = {kind: [score.turns[turn].correct for score in scored if score.kind == kind] for kind in KINDS}
    kinds = {kind: _share(sum(hits), len(hits)) for kind, hits in groups.items() if hits}
    details = [score.turns[turn].detail for score in scored]
    return {
        "kinds": kinds,
        "overall": sum(kind["share"] for kind in kinds.values()) / len(kinds) if kinds else None,
        "pooled": _share(sum(score.turns[turn].correct for score in scored), len(scored)),
        "detail": sum(details) / len(details) if details else None,
    }


def _change(scored: Sequence[SampleScore]) -> dict[str, Any]:
    pairs = [(first.correct, second.correct) for first, second in (score.turns for score in scored)]
    fixed, broken = pairs.count((False, True)), pairs.count((True, False))
    return {
        "both_correct": pairs.count((True, True)),
        "fixed": fixed,
        "broken": broken,
        "both_wrong": pairs.count((False, False)),
        "sign_test_p": sign_test(fixed, broken),
    }


def _item(sample: Sample, score: SampleScore | None) -> dict[str, Any]:
    item: dict[str, Any] = {"sample": sample.path.parent.name, "prompt": sample.prompt, "seed": sample.seed}
    if score is not None:
        item |= {"kind": score.kind, "has_fault": score.has_fault, "diagnosed": score.diagnosed}
        for name, turn in zip(("turn1", "turn2"), score.turns, strict=True):
            item[name] = {"correct": turn.correct, "reasons": list(turn.reasons), "detail": turn.detail}
    return item
