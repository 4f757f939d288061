"""Scores the held-out samples of a run: the first turn against the second, kind by kind."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from irg_jax.data.shapes.scene import KINDS, Scene
from irg_jax.data.shapes.score import Score, compare_with_plan, score_picture
from irg_jax.data.shapes.thinking import has_four_parts, parse_faults, parse_plan
from irg_jax.errors import UserError
from irg_jax.reporting.load import Run, Sample


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the scorer says about one sample.

    Attributes:
      kind: one of the six GenEval kinds.
      turns: the scores of both pictures.
      has_fault: whether picture 1 differs from the model's own plan; None where thinking 1 is no plan.
      diagnosed: whether thinking 2 names exactly those differences, or says that there are none.
    """

    kind: str
    turns: tuple[Score, Score]
    has_fault: bool | None
    diagnosed: bool


def wilson(correct: int, count: int) -> tuple[float, float]:
    """The Wilson 95 % interval of a share."""
    z = 1.959963984540054
    share, spread = correct / count, z * z / count
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    # Rounding may push the ends a hair over what a share can be.
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def sign_test(fixed: int, broken: int) -> float:
    """The two-sided exact p-value of as uneven a split, were a change for the better as likely as one for the worse."""
    changed = fixed + broken
    tail = sum(math.comb(changed, k) for k in range(min(fixed, broken) + 1))
    return min(1.0, 2 * tail / 2**changed)


def judge(sample: Sample) -> Verdict | None:
    """Scores both pictures of a sample; None for a free prompt, whose pictures nothing here can check."""
    if not sample.scene:
        return None
    first, second = (np.asarray(turn.picture) for turn in sample.turns)
    try:
        scene = Scene.from_json(sample.scene)
        scores = score_picture(first, scene), score_picture(second, scene)
        plan = parse_plan(sample.turns[0].thinking)
        # Against the plan the model wrote: the prompt leaves places and some colours open.
        faults = None if plan is None else compare_with_plan(first, dataclasses.replace(scene, objects=tuple(plan)))
    except UserError as error:
        raise UserError(f"{sample.path}: {error}") from None
    named = parse_faults(sample.turns[1].thinking)
    diagnosed = faults is not None and named is not None and set(named) == set(faults)
    return Verdict(scene.kind, scores, None if faults is None else bool(faults), diagnosed)


def summarise_run(run: Run, verdicts: Sequence[Verdict | None]) -> dict[str, Any]:
    """The numbers of the report, as they stand in scores.json; `verdicts` go with `run.samples` one by one."""
    scored = [verdict for verdict in verdicts if verdict is not None]
    reflections = [sample.turns[1] for sample in run.samples]
    four = [has_four_parts(turn.thinking) for turn in reflections]
    return {
        "samples": len(run.samples),
        "scored": len(scored),
        "checkpoints": sorted({sample.checkpoint for sample in run.samples}),
        "steps": sorted({sample.step for sample in run.samples}),
        "initial_target": run.initial_target,
        "turn1": _turn_summary(scored, 0),
        "turn2": _turn_summary(scored, 1),
        "change": _change(scored),
        "reflection": {
            "faulty": _diagnosed([verdict for verdict in scored if verdict.has_fault]),
            "faultless": _diagnosed([verdict for verdict in scored if verdict.has_fault is False]),
        },
        "four_parts": _share(sum(four), len(four)),
        "complete": _share(sum(turn.complete for turn in reflections), len(reflections)),
        "items": [_item(sample, verdict) for sample, verdict in zip(run.samples, verdicts, strict=True)],
    }


def _share(correct: int, count: int) -> dict[str, Any]:
    if not count:
        return {"correct": 0, "count": 0, "share": None, "interval": None}
    return {"correct": correct, "count": count, "share": correct / count, "interval": list(wilson(correct, count))}


def _diagnosed(scored: Sequence[Verdict]) -> dict[str, Any]:
    return _share(sum(verdict.diagnosed for verdict in scored), len(scored))


def _turn_summary(scored: Sequence[Verdict], turn: int) -> dict[str, Any]:
    groups = {kind: [verdict.turns[turn].correct for verdict in scored if verdict.kind == kind] for kind in KINDS}
    kinds = {kind: _share(sum(hits), len(hits)) for kind, hits in groups.items() if hits}
    details = [verdict.turns[turn].detail for verdict in scored]
    return {
        "kinds": kinds,
        "overall": sum(kind["share"] for kind in kinds.values()) / len(kinds) if kinds else None,
        "pooled": _share(sum(verdict.turns[turn].correct for verdict in scored), len(scored)),
        "detail": sum(details) / len(details) if details else None,
    }


def _change(scored: Sequence[Verdict]) -> dict[str, Any]:
    pairs = [(first.correct, second.correct) for first, second in (verdict.turns for verdict in scored)]
    fixed, broken = pairs.count((False, True)), pairs.count((True, False))
    return {
        "both_correct": pairs.count((True, True)),
        "fixed": fixed,
        "broken": broken,
        "both_wrong": pairs.count((False, False)),
        "sign_test_p": sign_test(fixed, broken),
    }


def _item(sample: Sample, verdict: Verdict | None) -> dict[str, Any]:
    item: dict[str, Any] = {"sample": sample.path.parent.name, "prompt": sample.prompt, "seed": sample.seed}
    if verdict is not None:
        item |= {"kind": verdict.kind, "has_fault": verdict.has_fault, "diagnosed": verdict.diagnosed}
        for name, score in zip(("turn1", "turn2"), verdict.turns, strict=True):
            item[name] = {"correct": score.correct, "reasons": list(score.reasons), "detail": score.detail}
    return item
