"""Which of two sets of images is preferred: A against B, by several judges, each in both orders of presentation.

A judge that names the same image in both orders prefers it. One that names the same place in both (say the first
image, whichever it is) has answered by position: that is a tie, counted apart. Everything else is a tie. So only a
preference that holds in both orders counts, as in L. Zheng et al., Judging LLM-as-a-judge (arXiv 2306.05685).
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from irg_jax.benchmarks import statistics
from irg_jax.benchmarks.agreement import krippendorff_alpha, raw_agreement
from irg_jax.benchmarks.benchmark import Place, Row
from irg_jax.benchmarks.preference_question import Choice
from irg_jax.core.errors import UserError

Order = Literal["ab", "ba"]
Outcome = Literal["a", "b", "tie", "position"]

ALL_JUDGES = "all judges"
ALL_CATEGORIES = "all"
EXACT = "exact scorer"

_PLACES: dict[str, dict[str, str]] = {"ab": {"first": "a", "second": "b"}, "ba": {"first": "b", "second": "a"}}
_CREDIT = {"a": 1.0, "b": 0.0, "tie": 0.5, "position": 0.5}


class Verdict(NamedTuple):
    """One answer of a judge.

    Attributes:
      key: of the item.
      sample: of the item.
      judge: its name.
      order: which of A and B was shown first.
      choice: the place of the image that it prefers, or ``tie``.
    """

    key: str
    sample: int
    judge: str
    order: Order
    choice: Choice


@dataclasses.dataclass(frozen=True)
class WinRate:
    """How often A was preferred.

    Attributes:
      wins: comparisons in which the judge preferred A in both orders.
      losses: likewise B.
      ties: neither, other than by position.
      position_ties: the judge chose the same place in both orders.
      value: (wins + half of all ties) / all, 0 to 1.
      low: lower end of its 95 % interval over prompts, likewise ``high``.
      high: see ``low``.
    """

    wins: int
    losses: int
    ties: int
    position_ties: int
    value: float
    low: float
    high: float

    @property
    def comparisons(self) -> int:
        """How many pairs of images were compared, each in both orders; for several judges, of all of them."""
        return self.wins + self.losses + self.ties + self.position_ties


@dataclasses.dataclass(frozen=True)
class PositionBias:
    """What the order of presentation does to a judge.

    Attributes:
      first_share: of its answers other than ties, those for the image shown first: 0.5 without bias; NaN without any.
      consistency: share of the comparisons with the same answer in both orders.
    """

    first_share: float
    consistency: float


@dataclasses.dataclass(frozen=True)
class Preference:
    """A against B.

    Attributes:
      win_rates: by (judge, category), also for ``ALL_JUDGES`` and ``ALL_CATEGORIES``.
      bias: by judge.
      alpha: Krippendorff's alpha over A, B and tie; NaN for one judge.
      agreement: share of pairs of judges that agree; NaN for one judge.
      half_judged: (key, sample, judge) with an answer in one order only; in none of the figures above.
    """

    win_rates: Mapping[tuple[str, str], WinRate]
    bias: Mapping[str, PositionBias]
    alpha: float
    agreement: float
    half_judged: tuple[tuple[str, int, str], ...]


def exact_verdicts(
    rows_a: Sequence[Row], rows_b: Sequence[Row], value: str = "correct", judge: str = EXACT
) -> list[Verdict]:
    """What an exact scorer prefers: of each pair of images the one with the higher ``value``. It has no position bias.

    Raises:
      UserError: the two do not have the same images, or a row lacks the value.
    """
    scores_a, scores_b = _scores(rows_a, value), _scores(rows_b, value)
    if missing := sorted(scores_a.keys() ^ scores_b.keys()):
        key, sample = missing[0]
        raise UserError(
            f"{key} sample {sample}: is scored in only one of the two sets of images, as are {len(missing) - 1} "
            "others; score the same images of both"
        )
    verdicts = []
    for (key, sample), score_a in scores_a.items():
        score_b = scores_b[key, sample]
        better = "a" if score_a > score_b else "b" if score_a < score_b else "tie"
        verdicts += [Verdict(key, sample, judge, order, _choice(order, better)) for order in ("ab", "ba")]
    return verdicts


def outcomes(verdicts: Iterable[Verdict]) -> dict[tuple[str, int, str], Outcome]:
    """What each judge prefers of each pair that it saw in both orders, by (key, sample, judge).

    Raises:
      UserError: a judge has two verdicts for the same pair in the same order.
    """
    found = {}
    for comparison, choices in _by_comparison(verdicts).items():
        if len(choices) == 2:
            found[comparison] = _outcome(choices)
    return found


def compare(verdicts: Sequence[Verdict], categories: Mapping[str, str], draws: int = 1000, seed: int = 0) -> Preference:
    """All figures of a comparison.

    Args:
      verdicts: of all judges, in any order.
      categories: of each item.
      draws: of the bootstrap over prompts; see ``statistics.intervals``.
      seed: of the draws.

    Raises:
      UserError: a judge has two verdicts for the same pair in the same order, an item has no category, or no pair was
        judged in both orders.
    """
    if unknown := sorted({verdict.key for verdict in verdicts} - categories.keys()):
        raise UserError(f"item {unknown[0]}: was judged but has no category, as {len(unknown) - 1} others; give it one")
    comparisons, decided = _by_comparison(verdicts), outcomes(verdicts)
    if not decided:
        raise UserError("no pair of images was judged in both orders; ask the judges for both")
    judges = list(dict.fromkeys(judge for _, _, judge in decided))
    groups: dict[tuple[str, str], dict[tuple[str, int, str], Outcome]] = {}
    for comparison, outcome in decided.items():
        key, _, judge = comparison
        for group_judge in (ALL_JUDGES, judge):
            for category in (ALL_CATEGORIES, categories[key]):
                groups.setdefault((group_judge, category), {})[comparison] = outcome
    units: dict[Place, list[str]] = {}
    for (key, sample, _), outcome in decided.items():
        units.setdefault((key, sample), []).append("tie" if outcome == "position" else outcome)
    return Preference(
        {name: _win_rate(group, categories, draws, seed) for name, group in groups.items()},
        {judge: _bias([own for (_, _, who), own in comparisons.items() if who == judge]) for judge in judges},
        krippendorff_alpha(units.values()),
        raw_agreement(units.values()),
        tuple(comparison for comparison, choices in comparisons.items() if len(choices) < 2),
    )


def _by_comparison(verdicts: Iterable[Verdict]) -> dict[tuple[str, int, str], dict[str, str]]:
    comparisons: dict[tuple[str, int, str], dict[str, str]] = {}
    for key, sample, judge, order, choice in verdicts:
        choices = comparisons.setdefault((key, sample, judge), {})
        if order in choices:
            raise UserError(
                f"{key} sample {sample}: {judge} has two verdicts for the order {order}; keep one of each order"
            )
        choices[order] = choice
    return comparisons


def _outcome(choices: Mapping[str, str]) -> Outcome:
    if choices["ab"] == "tie" or choices["ba"] == "tie":
        return "tie"
    if choices["ab"] == choices["ba"]:
        return "position"
    return "a" if choices["ab"] == "first" else "b"


def _choice(order: Order, better: str) -> Choice:
    if better == "tie":
        return "tie"
    return "first" if _PLACES[order]["first"] == better else "second"


def _scores(rows: Sequence[Row], value: str) -> dict[Place, float]:
    for row in rows:
        if value not in row.values:
            known = ", ".join(row.values)
            raise UserError(f"{row.key} sample {row.sample}: has no value {value!r} but {known}; name one of those")
    return {(row.key, row.sample): row.values[value] for row in rows}


def _win_rate(
    group: Mapping[tuple[str, int, str], Outcome], categories: Mapping[str, str], draws: int, seed: int
) -> WinRate:
    # All judges of a pair, as all samples of a prompt, move together.
    rows = [
        Row(key, sample, categories[key], {"credit": _CREDIT[outcome]}) for (key, sample, _), outcome in group.items()
    ]
    counts = collections.Counter(group.values())
    low, high = statistics.intervals(rows, _mean_credit, draws=draws, seed=seed)["value"]
    value = _mean_credit(rows)["value"]
    return WinRate(counts["a"], counts["b"], counts["tie"], counts["position"], value, low, high)


def _mean_credit(rows: Sequence[Row]) -> dict[str, float]:
    return {"value": math.fsum(row.values["credit"] for row in rows) / len(rows)}


def _bias(comparisons: Sequence[Mapping[str, str]]) -> PositionBias:
    complete = [choices for choices in comparisons if len(choices) == 2]
    answers = collections.Counter(choice for choices in complete for choice in choices.values())
    decided = answers["first"] + answers["second"]
    same = sum(_named(choices, "ab") == _named(choices, "ba") for choices in complete)
    return PositionBias(answers["first"] / decided if decided else math.nan, same / len(complete))


def _named(choices: Mapping[str, str], order: str) -> str:
    """The image, rather than the place, that was chosen in one order."""
    return _PLACES[order].get(choices[order], "tie")
