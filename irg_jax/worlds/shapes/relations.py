"""Where one object is relative to another, by GenEval's rule (arXiv 2310.11513)."""

import numpy as np

Box = tuple[int, int, int, int]
RELATIONS = ("left of", "right of", "above", "below")
TOLERANCE = 0.1  # fraction of the boxes' summed sides that an offset must exceed to count as a relation


def relative_position(a: Box, b: Box) -> set[str]:
    """Where box ``a`` is relative to box ``b``: up to two of ``RELATIONS``, none on much overlap.

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
