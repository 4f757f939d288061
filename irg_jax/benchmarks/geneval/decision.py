"""Is the image what the prompt asks for? The rules of GenEval, on detected objects.

They are those of ``evaluation/evaluate_images.py`` of djghosh13/geneval@af4902f, with its default thresholds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from irg_jax.benchmarks.geneval.classes import COLORS
from irg_jax.core.errors import UserError

THRESHOLD = 0.3
COUNTING_THRESHOLD = 0.9
MAX_OBJECTS = 16
MAX_OVERLAP = 1.0
POSITION_THRESHOLD = 0.1


class Object(NamedTuple):
    """A detected object.

    Attributes:
      box: (left, top, right, bottom) in pixels of the image.
      score: of the detector, 0 to 1.
      color: one of ``COLORS``; empty where it has not been classified.
    """

    box: tuple[float, float, float, float]
    score: float
    color: str = ""


class Decision(NamedTuple):
    """Whether an image is correct, and why not: one text for each part of the prompt that fails."""

    correct: bool
    reasons: tuple[str, ...]


# Gives the colour of each of some objects of a class.
ColorRule = Callable[[Sequence[Object], str], Sequence[str]]


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes; a box from 0 to 9 is 10 pixels wide."""
    common = _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = _area(a) + _area(b) - common
    return common / union if union else 0.0


def keep_objects(
    detected: Mapping[str, Sequence[Object]], tag: str, max_overlap: float = MAX_OVERLAP
) -> dict[str, list[Object]]:
    """The objects that count: by class, the highest scores first.

    Args:
      detected: by class, in any order.
      tag: the task; ``counting`` has a higher threshold.
      max_overlap: objects that overlap a better one of their class by this much are left out; 1 keeps all.

    Returns:
      only classes that have an object.
    """
    threshold = COUNTING_THRESHOLD if tag == "counting" else THRESHOLD
    kept: dict[str, list[Object]] = {}
    for name, objects in detected.items():
        scores = np.array([found.score for found in objects], np.float64)
        # Of equal scores the later object comes first, as where the official script sorts and then reverses.
        order = np.argsort(scores, kind="stable")[::-1]
        order = order[scores[order] > threshold][:MAX_OBJECTS]
        rest = [objects[i] for i in order]
        while rest:
            best = rest.pop(0)
            kept.setdefault(name, []).append(best)
            rest = [found for found in rest if max_overlap == 1 or overlap(best.box, found.box) < max_overlap]
    return kept


def relative_position(a: Sequence[float], b: Sequence[float]) -> set[str]:
    """Where box ``a`` is, seen from box ``b``: none, one or two of ``RELATIONS``."""
    boxes = np.array([a[:4], b[:4]], np.float64).reshape(2, 2, 2)
    centers = boxes.mean(axis=1)
    sizes = np.abs(boxes[:, 1] - boxes[:, 0])
    offset = centers[0] - centers[1]
    revised = np.maximum(np.abs(offset) - POSITION_THRESHOLD * (sizes[0] + sizes[1]), 0) * np.sign(offset)
    if np.all(np.abs(revised) < 1e-3):
        return set()
    dx, dy = revised / np.linalg.norm(offset)
    holds = {"left of": dx < -0.5, "right of": dx > 0.5, "above": dy < -0.5, "below": dy > 0.5}
    return {relation for relation, is_so in holds.items() if is_so}


def decide(objects: Mapping[str, Sequence[Object]], entry: Mapping[str, Any], colors: ColorRule) -> Decision:
    """Whether an image is correct.

    Each clause of ``include`` looks only at the ``count`` best objects of its class. Their colours are checked first,
    then, if those are right, that each of them stands so to each object of the clause that ``position`` names.

    Args:
      objects: that count, from ``keep_objects``.
      entry: the line of the prompt file.
      colors: gives the colours of objects; asked only where a clause has a colour and enough objects.

    Raises:
      UserError: ``position`` names a clause that does not come before.
    """
    reasons: list[str] = []
    matched: list[Sequence[Object] | None] = []
    for clause in entry.get("include", ()):
        found = objects.get(clause["class"], ())[: clause["count"]]
        fault = _fault(found, clause, matched, colors)
        if fault:
            reasons.append(fault)
        matched.append(None if fault else found)
    for clause in entry.get("exclude", ()):
        found = objects.get(clause["class"], ())
        if len(found) >= clause["count"]:
            reasons.append(f"expected {clause['class']}<{clause['count']}, found {len(found)}")
    return Decision(not reasons, tuple(reasons))


def stated_colors(objects: Sequence[Object], name: str) -> list[str]:
    """A ``ColorRule``: the colours that stand in the detections. Raises UserError where one is missing."""
    for found in objects:
        if not found.color:
            raise UserError(f"the {name} at {list(found.box)} has no color, but its prompt asks for one; classify it")
    return [found.color for found in objects]


def _fault(
    found: Sequence[Object],
    clause: Mapping[str, Any],
    matched: Sequence[Sequence[Object] | None],
    colors: ColorRule,
) -> str:
    name, count = clause["class"], clause["count"]
    if len(found) < count:
        return f"expected {name}>={count}, found {len(found)}"
    if "color" in clause:
        seen, color = list(colors(found, name)), clause["color"]
        if seen.count(color) < count:
            counts = ", ".join(f"{seen.count(other)} {other}" for other in COLORS if other in seen)
            return f"expected {color} {name}>={count}, found {seen.count(color)} {color}; and {counts}"
    return _misplaced(found, clause, matched) if "position" in clause else ""


def _misplaced(found: Sequence[Object], clause: Mapping[str, Any], matched: Sequence[Sequence[Object] | None]) -> str:
    relation, index = clause["position"]
    if not 0 <= index < len(matched):
        raise UserError(f"include: position {clause['position']} names no clause before it; count clauses from 0")
    targets = matched[index]
    if targets is None:
        return f"no target for {clause['class']} to be {relation}"
    for one in found:
        for target in targets:
            relations = relative_position(one.box, target.box)
            if relation not in relations:
                return f"expected {clause['class']} {relation} target, found {' and '.join(sorted(relations))} target"
    return ""


def _area(box: Sequence[float]) -> float:
    return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)
