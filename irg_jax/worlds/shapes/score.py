"""Scores an image against its scene by GenEval's criteria (arXiv 2310.11513), from an exact reading of the image."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.detail import detail
from irg_jax.worlds.shapes.faults import Fault, compare
from irg_jax.worlds.shapes.objects import PlacedObject, with_article
from irg_jax.worlds.shapes.reader import SeenObject, SeenPicture, read_picture
from irg_jax.worlds.shapes.scene import Scene, Wanted

Box = tuple[int, int, int, int]
TOLERANCE = 0.1  # fraction of the boxes' summed sides that an offset must exceed to count as a relation


@dataclasses.dataclass(frozen=True)
class Score:
    """The score of one image.

    Attributes:
      correct: whether it shows what the prompt asks for, and nothing else.
      reasons: one sentence for each thing that is wrong; () if ``correct``.
      detail: how detailed its objects are, in [0, 1]; 1.0 for a good rendering.
      seen: what was found in the image.
    """

    correct: bool
    reasons: tuple[str, ...]
    detail: float
    seen: SeenPicture


def score_image(image: np.ndarray, scene: Scene) -> Score:
    """Scores an image against what the prompt of ``scene`` asks for; the plan is not used.

    The decision follows GenEval (shapes are its classes) and is stricter in one point: every kind requires exact counts
    and no other shape, so that an image full of objects never passes.

    Args:
      image: uint8 [S, S, 3], S a multiple of 16 from 32 up.
      scene: what the prompt asks for.

    Raises:
      UserError: the array is not such an image.
    """
    seen = read_picture(image)
    objects = seen.objects
    by_shape = {item.shape: [thing for thing in objects if thing.shape == item.shape] for item in scene.wanted}
    reasons = [reason for item in scene.wanted for reason in _unmet(item, by_shape[item.shape])]
    for shape in sorted({thing.shape for thing in objects} - set(by_shape)):
        reasons.append(f"{with_article(shape)} is there that the prompt does not ask for")
    if scene.relation and all(by_shape.values()):
        first, second = (by_shape[item.shape] for item in scene.wanted)
        if not all(scene.relation in relative_position(a.box, b.box) for a in first for b in second):
            reasons.append(f"the {scene.wanted[0].shape} is not {scene.relation} the {scene.wanted[1].shape}")
    return Score(not reasons, tuple(reasons), detail(image, seen), seen)


def _unmet(wanted: Wanted, seen: Sequence[SeenObject]) -> list[str]:
    if len(seen) != wanted.count:
        return [f"wanted {wanted.count} of shape {wanted.shape}, saw {len(seen)}"]
    if wanted.colour and any(thing.colour != wanted.colour for thing in seen):
        colours = ", ".join(thing.colour for thing in seen)
        return [f"wanted the {wanted.shape} {wanted.colour}, saw {colours}"]
    return []


def relative_position(a: Box, b: Box) -> set[str]:
    """Where box ``a`` is relative to box ``b`` by GenEval's rule: up to two of ``RELATIONS``, none on much overlap.

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


def compare_with_plan(seen: SeenPicture, planned: Sequence[PlacedObject]) -> tuple[Fault, ...]:
    """The faults of what was read from an image against a plan, see ``faults.compare``."""
    return compare(planned, seen.things, seen.flaws)
