"""Shares as they stand in scores.json: so many of so many, with an interval."""

import math
from typing import Any


def share(correct: int, count: int) -> dict[str, Any]:
    """``correct`` of ``count`` as correct, count, share and interval; the last two are None for a count of 0."""
    if not count:
        return {"correct": 0, "count": 0, "share": None, "interval": None}
    return {"correct": correct, "count": count, "share": correct / count, "interval": list(wilson(correct, count))}


def wilson(correct: int, count: int) -> tuple[float, float]:
    """The Wilson 95 % interval of a share."""
    z = 1.959963984540054
    share, spread = correct / count, z * z / count
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    # Rounding may push the ends slightly outside [0, 1].
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))
