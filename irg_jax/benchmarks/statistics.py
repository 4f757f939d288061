"""Confidence intervals of benchmark figures: a bootstrap over prompts, stratified by category.

The prompts of a benchmark are its sample of the prompts that people write, and the images of one prompt are alike, so
that prompts are drawn, and all images of a prompt move together (a cluster bootstrap; Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapters 8 and 13). How many prompts each category has was decided by the authors
of the benchmark, so that each draw has as many of it. Intervals are percentiles of the draws.

Categories of few prompts make intervals too narrow: n prompts vary in the draws by (n - 1) / n of their variance, and
one prompt not at all, since there is nothing else to draw. That is 7 % of the width for the overall of TIIF-Bench
testmini, whose attributes mostly have 4 or 8 prompts, and 2 % or less for the overall of the others.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from irg_jax.benchmarks.benchmark import Place, Row
from irg_jax.core.errors import UserError

Summarise = Callable[[Sequence[Row]], Mapping[str, float]]
Interval = tuple[float, float]

_NAMED = 5  # items that an error lists


@dataclasses.dataclass(frozen=True)
class Difference:
    """A figure of one set of images minus that of another, for the same prompts.

    Attributes:
      value: what it is for all prompts; NaN where either has none.
      low: lower end of its interval, likewise ``high``.
      high: see ``low``.
    """

    value: float
    low: float
    high: float


def intervals(
    rows: Sequence[Row], summarise: Summarise, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """The interval of each figure.

    Args:
      rows: of one set of images, in any order; the order does not change the result.
      summarise: gives the figures of any rows, also of the same row several times. A prompt that was drawn twice has to
        count twice in it.
      draws: number of bootstrap draws.
      seed: of the draws; the same seed gives the same intervals.
      level: share of the draws that lies inside.

    Returns:
      (low, high) for each name that ``summarise(rows)`` gives; NaN for a figure that is NaN.

    Raises:
      UserError: there are no rows, or a prompt is in two categories.
    """
    items = _items(rows)
    values = collections.defaultdict(list)
    for drawn in _draws(items, draws, seed):
        for name, value in summarise([row for key in drawn for row in items[key]]).items():
            values[name].append(value)
    return {name: _percentiles(values[name], level) for name in summarise(rows)}


def paired_differences(
    rows_a: Sequence[Row],
    rows_b: Sequence[Row],
    summarise: Summarise,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Each figure of ``rows_b`` minus that of ``rows_a``, such as turn 2 minus turn 1; other arguments as above.

    Each draw takes the same prompts from both, so that what makes a prompt hard for both cancels out.

    Returns:
      A difference for each name that both have.

    Raises:
      UserError: the two do not have the same prompts and samples, or as in ``intervals``.
    """
    items_a, items_b = _items(rows_a), _items(rows_b)
    _check_same_images(rows_a, rows_b)
    first, second = summarise(rows_a), summarise(rows_b)
    names = [name for name in first if name in second]
    values = collections.defaultdict(list)
    for drawn in _draws(items_a, draws, seed):
        figures_a, figures_b = (summarise([row for key in drawn for row in items[key]]) for items in (items_a, items_b))
        for name in names:
            values[name].append(figures_b.get(name, math.nan) - figures_a.get(name, math.nan))
    return {name: Difference(second[name] - first[name], *_percentiles(values[name], level)) for name in names}


def _items(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each item, items and samples sorted."""
    if not rows:
        raise UserError("no image was scored, so that no figure has an interval; score the images first")
    items: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.key, row.sample)):
        items.setdefault(row.key, []).append(row)
    for key, own in items.items():
        categories = sorted({row.category for row in own})
        if len(categories) > 1:
            raise UserError(f"item {key}: is in the categories {' and '.join(categories)}; score it again")
    return items


def _draws(items: Mapping[str, Sequence[Row]], draws: int, seed: int) -> Iterator[list[str]]:
    """Keys drawn with replacement, for each category as many as it has."""
    strata: dict[str, list[str]] = {}
    for key, own in items.items():
        strata.setdefault(own[0].category, []).append(key)
    random = np.random.default_rng(seed)
    for _ in range(draws):
        yield [
            keys[index]
            for _, keys in sorted(strata.items())
            for index in random.integers(len(keys), size=len(keys)).tolist()
        ]


def _percentiles(values: Sequence[float], level: float) -> Interval:
    finite = [value for value in values if not math.isnan(value)]
    if not finite:
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high


def _check_same_images(rows_a: Sequence[Row], rows_b: Sequence[Row]) -> None:
    for rows, name in ((rows_a, "first"), (rows_b, "second")):
        counts = collections.Counter((row.key, row.sample) for row in rows)
        if repeated := [image for image, count in counts.items() if count > 1]:
            raise UserError(f"the {name} results have {_listed(repeated)} more than once; score them again")
    images_a, images_b = ({(row.key, row.sample) for row in rows} for rows in (rows_a, rows_b))
    parts = [
        f"only the {name} have {_listed(only)}"
        for only, name in ((images_a - images_b, "first"), (images_b - images_a, "second"))
        if only
    ]
    if parts:
        raise UserError(
            f"two results are not of the same prompts: {'; '.join(parts)}; make and score the missing images, or "
            "compare results of the same prompts"
        )
    categories = {row.key: row.category for row in rows_a}
    if moved := sorted({row.key for row in rows_b if categories[row.key] != row.category}):
        raise UserError(f"two results do not have the same category for {', '.join(moved[:_NAMED])}; score both again")


def _listed(images: Sequence[Place] | set[Place]) -> str:
    named = [f"{key} sample {sample}" for key, sample in sorted(images)[:_NAMED]]
    more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
    return ", ".join(named) + more
