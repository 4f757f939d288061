"""WISE's figures: scores of images, means of categories, and two ways to an overall (PKU-YuanGroup/WISE@eb51174)."""

import math
from collections.abc import Sequence

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.wise.prompts import CATEGORIES
from irg_jax.core.errors import UserError

# In the order of CATEGORIES; those of the legacy version are the shares of its 1,000 prompts.
LEGACY_WEIGHTS = (0.4, 0.167, 0.133, 0.1, 0.1, 0.1)
VERIFIED_WEIGHTS = (0.4, 0.12, 0.12, 0.12, 0.12, 0.12)
PLAIN_MEAN = "plain mean of categories overall"


def wiscore(consistency: float, realism: float, aesthetic_quality: float) -> float:
    """The score of an image in the legacy version, 0 to 1, from three marks of 0 to 2."""
    return (0.7 * consistency + 0.2 * realism + 0.1 * aesthetic_quality) / 2


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """The means of the six categories, then the overall; nan for a category without rows and what is made of it.

    Rows of the legacy version have the values ``consistency``, ``realism`` and ``aesthetic_quality``; its ``overall``
    has the official weights. BAGEL and IRG print the plain mean of the categories instead (``cal_score.py`` of
    ByteDance-Seed/Bagel@056b5fd), which is given under its own name. Rows of WISE_Verified have ``score``; its weights
    are other ones.

    Raises:
      UserError: rows of both versions, or of a category that WISE does not have.
    """
    scores: dict[str, list[float]] = {name: [] for name in CATEGORIES}
    for row in rows:
        if row.category not in scores:
            raise UserError(f"row {row.key}: category {row.category!r}; it has to be one of {', '.join(CATEGORIES)}")
        scores[row.category].append(score(row))
    verified = {"score" in row.values for row in rows}
    if len(verified) > 1:
        raise UserError(f"row {rows[0].key}: rows of legacy and of verified together; summarise them apart")
    figures = {name: math.fsum(of) / len(of) if of else math.nan for name, of in scores.items()}
    means = list(figures.values())
    if verified == {True}:
        return figures | {"overall": _weighted(VERIFIED_WEIGHTS, means)}
    return figures | {"overall": _weighted(LEGACY_WEIGHTS, means), PLAIN_MEAN: sum(means) / len(means)}


def score(row: Row) -> float:
    """The score of one image: its WiScore, or in WISE_Verified 0 or 1. Raises UserError where a value is missing."""
    try:
        if "score" in row.values:
            return row.values["score"]
        return wiscore(*(row.values[name] for name in ("consistency", "realism", "aesthetic_quality")))
    except KeyError as error:
        raise UserError(f"row {row.key}: has no value {error}; judge its image again") from error


def _weighted(weights: Sequence[float], means: Sequence[float]) -> float:
    return sum(weight * mean for weight, mean in zip(weights, means, strict=True))
