"""TIIF-Bench's figures: accuracies of attributes, means of groups, and an overall for each length.

As in A113N-W3I/TIIF-Bench@3aae750. Published are 100 times these figures, rounded to two decimals; since accuracies
have four, means often lie in the middle between two of those, so they are added up in floats and in the official order.
"""

import functools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence

from irg_jax.benchmarks.benchmark import Row
from irg_jax.benchmarks.tiif.attributes import ADVANCED, ATTRIBUTES, BASIC, GROUPS, LENGTHS
from irg_jax.core.errors import UserError

BASIC_AVERAGE, ADVANCED_AVERAGE, OVERALL = "Basic avg", "Advanced avg", "overall"


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """For each length the nine groups, the averages of the basic and the advanced attributes, and the overall.

    Names are such as ``short/Attribute`` and ``long/overall``. Figures without rows are nan. The two averages are over
    attributes, not over groups, and are no part of the overall.

    Raises:
      UserError: a row of a category that TIIF-Bench does not have, or without ``correct`` or ``questions``.
    """
    counts: dict[str, list[float]] = {f"{length}/{name}": [0, 0] for length in LENGTHS for name in ATTRIBUTES}
    for row in rows:
        if row.category not in counts:
            raise UserError(f"row {row.key}: category {row.category!r} is none of TIIF-Bench's, such as short/text")
        if missing := {"correct", "questions"} - row.values.keys():
            raise UserError(f"row {row.key}: has no value {sorted(missing)[0]!r}; judge its image again")
        counts[row.category][0] += row.values["correct"]
        counts[row.category][1] += row.values["questions"]
    figures: dict[str, float] = {}
    for length in LENGTHS:
        accuracies = {name: accuracy(*counts[f"{length}/{name}"]) for name in ATTRIBUTES}
        figures |= {f"{length}/{name}": figure for name, figure in _of_length(accuracies).items()}
    return figures


def accuracy(correct: float, questions: float) -> float:
    """The accuracy of an attribute, pooled over the questions of its images; nan without questions.

    It is rounded to four decimals, since the official script writes it so into the table that the means are made of.
    """
    return float(f"{correct / questions:.4f}") if questions else math.nan


def _of_length(accuracies: Mapping[str, float]) -> dict[str, float]:
    figures = {group: _mean(accuracies[name] for name in names) for group, names in GROUPS.items()}
    overall = _mean(figures.values())
    for name, groups in ((BASIC_AVERAGE, BASIC), (ADVANCED_AVERAGE, ADVANCED)):
        figures[name] = _mean(accuracies[attribute] for of_group in groups.values() for attribute in of_group)
    return figures | {OVERALL: overall}


def _mean(values: Iterable[float]) -> float:
    """Of the values that are numbers; nan where there are none."""
    numbers = [value for value in values if not math.isnan(value)]
    # Not ``sum``, which is more exact than floats from Python 3.12 on.
    return functools.reduce(operator.add, numbers) / len(numbers) if numbers else math.nan
