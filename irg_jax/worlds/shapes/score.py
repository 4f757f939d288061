"""Scores an image against its scene, from an exact reading: by GenEval's criteria (arXiv 2310.11513), or by checks."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from irg_jax.worlds.shapes.detail import detail
from irg_jax.worlds.shapes.faults import Fault, compare
from irg_jax.worlds.shapes.objects import with_article
from irg_jax.worlds.shapes.picture import Content
from irg_jax.worlds.shapes.questions import failed_checks
from irg_jax.worlds.shapes.reader import SeenObject, SeenPicture, read_picture
from irg_jax.worlds.shapes.relations import relative_position
from irg_jax.worlds.shapes.scene import Scene, Wanted


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

    In GenEval's manner the decision follows GenEval (shapes are its classes) and is stricter in one point: every kind
    requires exact counts and no other shape, so that an image full of objects never passes. In any other manner every
    check of the scene has to be answered as expected.

    Args:
      image: uint8 [S, S, 3], S a multiple of 16 from 32 up.
      scene: what the prompt asks for.

    Raises:
      UserError: the array is not such an image.
    """
    return score_seen(image, read_picture(image), scene)


def score_seen(image: np.ndarray, seen: SeenPicture, scene: Scene) -> Score:
    """``score_image`` of an image that has been read already."""
    wrong = _unmet(scene, seen.objects) if scene.manner == "geneval" else _failed(scene, seen)
    return Score(not wrong, tuple(wrong), detail(image, seen), seen)


def _failed(scene: Scene, seen: SeenPicture) -> list[str]:
    checks = failed_checks(scene.checks, seen)
    return [f"{check.question} should be answered {'yes' if check.expected else 'no'}" for check in checks]


def _unmet(scene: Scene, objects: Sequence[SeenObject]) -> list[str]:
    by_shape = {item.shape: [thing for thing in objects if thing.shape == item.shape] for item in scene.wanted}
    reasons = [reason for item in scene.wanted for reason in _unmet_count(item, by_shape[item.shape])]
    for shape in sorted({thing.shape for thing in objects} - set(by_shape)):
        reasons.append(f"{with_article(shape)} is there that the prompt does not ask for")
    if scene.relation and all(by_shape.values()):
        first, second = (by_shape[item.shape] for item in scene.wanted)
        if not all(scene.relation in relative_position(a.box, b.box) for a in first for b in second):
            reasons.append(f"the {scene.wanted[0].shape} is not {scene.relation} the {scene.wanted[1].shape}")
    return reasons


def _unmet_count(wanted: Wanted, seen: Sequence[SeenObject]) -> list[str]:
    if len(seen) != wanted.count:
        return [f"wanted {wanted.count} of shape {wanted.shape}, saw {len(seen)}"]
    if wanted.colour and any(thing.colour != wanted.colour for thing in seen):
        colours = ", ".join(thing.colour for thing in seen)
        return [f"wanted the {wanted.shape} {wanted.colour}, saw {colours}"]
    return []


def compare_with_plan(seen: SeenPicture, planned: Content) -> tuple[Fault, ...]:
    """The faults of what was read from an image against a plan, see ``faults.compare``."""
    return compare(planned, seen.content(planned.style))
