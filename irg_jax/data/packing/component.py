"""The modes of a mixture as the planner draws from them: which samples fit a row, in which order, with what dropped."""

import functools
from typing import NamedTuple

import numpy as np

from irg_jax.data.config import DropoutConfig
from irg_jax.data.index.samples import Samples
from irg_jax.data.packing.segment import Kind


class PackedSample(NamedTuple):
    """A drawn sample, as packed into a row.

    Attributes:
      component: index of its mode in the mixture.
      sample: index into the component's samples.
      dropped: bit mask; bit i set drops segment i (condition dropout).
      cost: tokens taken from each budget (und, gen, vit, images).
      number: of the draw among those of its mode, from 0.
      draw: number of the draw among those of all modes, from 1; the difference to the latest draw is its age.
    """

    component: int
    sample: int
    dropped: int
    cost: tuple[int, ...]
    number: int
    draw: int


class Component:
    """One learning mode of a mixture.

    Args:
      name: for errors and logs.
      weight: its share of the samples, relative to the others.
      mandatory: every pack holds at least one sample of it.
      samples: of its index.
      budgets: (und, gen, vit, images) of a row.
      max_tokens: maximum tokens in one sample, both streams together.

    Attributes:
      records: number of records with a sample that fits an empty row.
      oversize: indices of the records without one.
    """

    def __init__(
        self, name: str, weight: float, mandatory: bool, samples: Samples, budgets: tuple[int, ...], max_tokens: int
    ):
        self.name, self.weight, self.mandatory, self.samples = name, weight, mandatory, samples
        costs = samples.costs
        fits = (costs <= np.array(budgets)).all(1) & (costs[:, 0] + costs[:, 1] <= max_tokens)
        # The samples that fit, and where those of each record begin: a record with several draws one of them per visit.
        self._fitting = np.flatnonzero(fits)
        owners = samples.records[self._fitting].astype(np.int64)
        self._starts = np.flatnonzero(np.diff(owners, prepend=-1, append=-1)) if len(owners) else np.zeros(1, np.int64)
        self.records = len(self._starts) - 1
        distinct = samples.records[np.diff(samples.records.astype(np.int64), prepend=-1) > 0]  # they ascend
        placed = np.zeros(int(distinct[-1]) + 1 if len(distinct) else 0, bool)
        placed[owners] = True
        self.oversize = distinct[~placed[distinct]]
        self._has_variants = self.records < len(self._fitting)

    def draw(self, component: int, number: int, draw: int, seed: int, dropout: DropoutConfig) -> PackedSample:
        """The sample of draw ``number``: a function of the seed and that number alone.

        Args:
          component: index of this mode, which separates its random numbers from those of the other modes.
          number: of the draw, from 0. Every epoch has all records in a new order.
          draw: see ``PackedSample``.
          seed: of the run's data.
          dropout: condition dropout.
        """
        epoch, offset = divmod(number, self.records)
        record = int(_order(seed, component, epoch, self.records)[offset])
        first, end = int(self._starts[record]), int(self._starts[record + 1])
        rates = drop_rates(dropout)
        drops = any(rates[kind] for kind in self.samples.conditions)
        rng = _generator(seed, 2, component, number) if drops or self._has_variants else None
        if rng is not None and self._has_variants:
            first = int(rng.integers(first, end))
        sample = int(self._fitting[first])
        cost, dropped = self.samples.costs[sample], 0
        if rng is not None and drops:
            for i, segment in enumerate(self.samples.segments(sample)):
                if not segment.learned and rng.random() < rates[segment.kind]:
                    dropped |= 1 << i
                    cost = cost - np.array(segment.cost)
        return PackedSample(component, sample, dropped, tuple(cost.tolist()), number, draw)


def drop_rates(dropout: DropoutConfig) -> dict[Kind, float]:
    """The probability that a condition is dropped, by kind of segment."""
    return {Kind.TEXT: dropout.text, Kind.VIT: dropout.vit, Kind.CLEAN: dropout.vae, Kind.NOISED: 0.0}


@functools.lru_cache(maxsize=64)
def _order(seed: int, component: int, epoch: int, records: int) -> np.ndarray:
    """The records of a mode in the order of an epoch."""
    return _generator(seed, 1, component, epoch).permutation(records)


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *stream])))
