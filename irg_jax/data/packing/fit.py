"""Finds the budgets of a row that a data set fills best, for a given number of tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.data.config import DropoutConfig
from irg_jax.data.index.samples import Samples
from irg_jax.data.packing.component import Component, drop_rates
from irg_jax.data.packing.planner import Planner, Snapshot

MULTIPLE = 512  # of tokens, which suits the blocks of every attention kernel
_ROWS = 240  # that are planned for each candidate
_REACH = 4  # multiples tried on either side of the mean demand


class Fit(NamedTuple):
    """Budgets of a row, and how full they get.

    Attributes:
      und: understanding tokens; likewise the others, see ``config.BudgetConfig``.
      fill: share of the und and of the gen tokens of a row that are used.
    """

    und: int
    gen: int
    vit: int
    images: int
    fill: tuple[float, float]


def fit_budgets(
    mixture: Sequence[tuple[str, float, bool, Samples]],
    tokens: int,
    *,
    dropout: DropoutConfig,
    rows_per_pack: int,
    max_sample_tokens: int,
) -> Fit:
    """The budgets with the highest fill of und and gen tokens together.

    Args:
      mixture: (name, weight, mandatory, samples) of each mode.
      tokens: und and gen tokens of a row together.
      dropout: condition dropout.
      rows_per_pack: see ``planner.Planner``.
      max_sample_tokens: maximum tokens in one sample.

    Raises:
      UserError: no candidate has room for a sample of every mode.
    """
    best: tuple[float, Fit] | None = None
    middle = round(_und_share(mixture, dropout) * tokens / MULTIPLE)
    for multiple in range(max(middle - _REACH, 1), middle + _REACH + 1):
        und = multiple * MULTIPLE
        gen = (tokens - und) // MULTIPLE * MULTIPLE
        if gen <= 0:
            continue
        # Room for all that the und tokens could be; what a row uses of it is the budget.
        budgets = (und, gen, und, gen)
        components = [
            Component(name, weight, mandatory, samples, budgets, max_sample_tokens)
            for name, weight, mandatory, samples in mixture
        ]
        if not all(component.records for component in components):
            continue
        used = _used(Planner(components, budgets, dropout, rows_per_pack, 0, Snapshot.begin(len(components))))
        mean, most = used.mean(0), used.max(0)
        vit = -(-int(most[2]) // MULTIPLE) * MULTIPLE
        fill = (float(mean[0] / und), float(mean[1] / gen))
        found = Fit(und, gen, vit, int(most[3]), fill)
        total = float((mean[0] + mean[1]) / (und + gen))
        if best is None or total > best[0]:
            best = total, found
    if best is None:
        raise UserError(f"{tokens} tokens have no room for a sample of every mode; give more")
    return best[1]


def _und_share(mixture: Sequence[tuple[str, float, bool, Samples]], dropout: DropoutConfig) -> float:
    """The share of und tokens among those of the mixture, as if each sample took the mean of its mode."""
    rng = np.random.default_rng(0)
    demand, rates = np.zeros(2), drop_rates(dropout)
    for _, weight, _, samples in mixture:
        chosen = rng.integers(0, len(samples.records), min(len(samples.records), 512))
        costs = np.zeros(2)
        for sample in chosen.tolist():
            for segment in samples.segments(sample):
                kept = 1.0 if segment.learned else 1 - rates[segment.kind]
                costs += kept * np.array(segment.cost[:2])
        demand += weight * costs / len(chosen)
    return float(demand[0] / demand.sum())


def _used(planner: Planner) -> np.ndarray:
    """Tokens used of each budget by the first rows, int64 [rows, 4]."""
    rows: list[np.ndarray] = []
    while len(rows) < _ROWS:
        rows += [np.sum([sample.cost for sample in samples], axis=0) for samples in planner.next_pack()]
    return np.array(rows)
