"""Scores a picture against its scene: GenEval's questions, answered exactly."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from irg_jax.data.shapes.detail import detail
from irg_jax.data.shapes.faults import Fault
from irg_jax.data.shapes.objects import PlacedObject, with_article
from irg_jax.data.shapes.reader import SeenObject, read_picture
from irg_jax.data.shapes.scene import Scene, Wanted
from irg_jax.errors import UserError

Box = tuple[int, int, int, int]
TOLERANCE = 0.1  # of the boxes' summed sides, that an offset must exceed to count


@dataclasses.dataclass(frozen=True)
class Score:
    """What one picture is worth.

    Attributes:
      correct: whether it shows what the prompt asks for, and nothing else.
      reasons: one sentence for each thing that is wrong; () where ``correct``.
      detail: how finely its objects are painted, in [0, 1]; 1.0 for a good rendering.
      objects: what was seen.
    """

    correct: bool
    reasons: tuple[str, ...]
    detail: float
    objects: tuple[SeenObject, ...]


def score_picture(image: np.ndarray, scene: Scene) -> Score:
    """Scores uint8 [S, S, 3] against what ``scene`` wants; the plan plays no part.

    The decision follows GenEval (shapes are its classes), with one thing more: every kind asks for exact counts and for
    no other shape, so that a picture full of objects passes nothing. UserError where the array is no picture.
    """
    objects = read_picture(image)
    by_shape = {item.shape: [seen for seen in objects if seen.shape == item.shape] for item in scene.wanted}
    reasons = [reason for item in scene.wanted for reason in _unmet(item, by_shape[item.shape])]
    for shape in sorted({seen.shape for seen in objects} - set(by_shape)):
        reasons.append(f"{with_article(shape)} is there that the prompt does not ask for")
    if scene.relation and all(by_shape.values()):
        first, second = (by_shape[item.shape] for item in scene.wanted)
        if not all(scene.relation in relative_position(a.box, b.box) for a in first for b in second):
            reasons.append(f"the {scene.wanted[0].shape} is not {scene.relation} the {scene.wanted[1].shape}")
    return Score(not reasons, tuple(reasons), detail(image, objects), objects)


def _unmet(wanted: Wanted, seen: Sequence[SeenObject]) -> list[str]:
    if len(seen) != wanted.count:
        return [f"wanted {wanted.count} of shape {wanted.shape}, saw {len(seen)}"]
    if wanted.colour and any(thing.colour != wanted.colour for thing in seen):
        colours = ", ".join(thing.colour for thing in seen)
        return [f"wanted the {wanted.shape} {wanted.colour}, saw {colours}"]
    return []


def relative_position(a: Box, b: Box) -> set[str]:
    """How box ``a`` stands to box ``b``, by GenEval's rule: up to two of ``RELATIONS``, none where they overlap much.

    Boxes are (left, top, right, bottom) in pixels.
    """
    corners_a, corners_b = np.array(a, np.float64).reshape(2, 2), np.array(b, np.float64).reshape(2, 2)
    offset = corners_a.mean(0) - corners_b.mean(0)
    slack = TOLERANCE * (np.ptp(corners_a, 0) + np.ptp(corners_b, 0))
    beyond = np.maximum(np.abs(offset) - slack, 0) * np.sign(offset)
    if np.all(np.abs(beyond) < 1e-3):
        return set()
    across, down = beyond / np.linalg.norm(offset)
    held = {"left of": across < -0.5, "right of": across > 0.5, "above": down < -0.5, "below": down > 0.5}
    return {relation for relation, holds in held.items() if holds}


def compare_with_plan(image: np.ndarray, scene: Scene) -> list[Fault]:
    """The faults of a picture against the plan of ``scene``, in the plan's order; [] where all stands as planned.

    An object that was not planned at all is no fault of this kind: ``score_picture`` reports it.
    """
    seen = {PlacedObject(thing.colour, thing.shape, thing.place) for thing in read_picture(image)}
    extra = sorted(seen - set(scene.objects), key=dataclasses.astuple)
    faults = []
    for planned in scene.objects:
        if planned not in seen:
            fault, culprit = _explain(planned, extra)
            faults.append(fault)
            extra = [thing for thing in extra if thing != culprit]
    return faults


def _explain(planned: PlacedObject, extra: Sequence[PlacedObject]) -> tuple[Fault, PlacedObject | None]:
    for thing in extra:
        if (thing.shape, thing.place) == (planned.shape, planned.place):
            return Fault("miscoloured", planned, thing.colour), thing
    for thing in extra:
        if (thing.colour, thing.shape) == (planned.colour, planned.shape):
            return Fault("misplaced", planned, thing.place), thing
    return Fault("missing", planned), None


def summarise(scores: Iterable[tuple[str, Score]]) -> dict[str, object]:
    """Sums up (kind, score) pairs.

    Returns:
      ``overall``: the plain mean of the kinds' correctness; ``detail``: the mean over all pictures; ``count``; and
      ``kinds``: for each kind present its ``correct`` (share of pictures) and ``count``.

    Raises:
      UserError: there is no pair.
    """
    by_kind: dict[str, list[Score]] = {}
    for kind, score in scores:
        by_kind.setdefault(kind, []).append(score)
    if not by_kind:
        raise UserError("shapes: there are no scores to sum up; score at least one picture")
    kinds = {
        kind: {"correct": sum(score.correct for score in some) / len(some), "count": len(some)}
        for kind, some in by_kind.items()
    }
    every = [score for some in by_kind.values() for score in some]
    return {
        "overall": sum(entry["correct"] for entry in kinds.values()) / len(kinds),
        "detail": sum(score.detail for score in every) / len(every),
        "count": len(every),
        "kinds": kinds,
    }
