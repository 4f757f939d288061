"""Agreement between judges."""

import collections
import itertools
import math
from collections.abc import Iterable, Sequence


def raw_agreement(units: Iterable[Sequence[str]]) -> float:
    """The share of pairs of answers to the same question that are equal; NaN where no question has two answers."""
    pairs = [first == second for answers in units for first, second in itertools.combinations(answers, 2)]
    return sum(pairs) / len(pairs) if pairs else math.nan


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float:
    """Krippendorff's alpha for nominal answers: 1 for full agreement, 0 for that of chance.

    After K. Krippendorff, Computing Krippendorff's alpha-reliability (2011). Unlike Cohen's and Fleiss' kappa it takes
    any number of judges, of which some may lack some answers.

    Args:
      units: for each question the answers of the judges who gave one.

    Returns:
      Alpha; NaN where no question has two answers, or all answers are the same: then chance agrees always.
    """
    weights: dict[tuple[str, str], float] = collections.defaultdict(float)
    for answers in units:
        for pair in itertools.permutations(answers, 2):
            weights[pair] += 1 / (len(answers) - 1)
    totals: dict[str, float] = collections.defaultdict(float)
    for (answer, _), weight in weights.items():
        totals[answer] += weight
    count = math.fsum(totals.values())
    observed = math.fsum(weight for (one, other), weight in weights.items() if one != other)
    expected = math.fsum(total * (count - total) for total in totals.values())
    return 1 - (count - 1) * observed / expected if expected else math.nan
