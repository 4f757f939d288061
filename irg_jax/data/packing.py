"""Which samples share a row: planned ahead, because every length is known once a data set is indexed.

The plan is a pure function of the lengths, the mixture, the budgets and the seed. It is made row by row as rows are
asked for, so the whole state of the data is one integer, the next row, and a run resumes exactly.
"""

import dataclasses
import math
import threading
from collections.abc import Sequence

import numpy as np

from irg_jax.data.layout import Kind, Segment
from irg_jax.errors import UserError

WINDOW = 64  # samples that compete for a place; more fills rows better, fewer keeps closer to the drawn order
PATIENCE = 4 * WINDOW  # a sample older than this opens the next row, whatever else wants to


@dataclasses.dataclass(frozen=True)
class Component:
    """One learning mode of a mixture, indexed.

    Attributes:
      name: the mode's name.
      weight: its share of the samples, relative to the others.
      mandatory: every pack holds at least one sample of it.
      samples: the segments of each record, in the order of its source.
      records: for each of ``samples``, its index in the source.
    """

    name: str
    weight: float
    mandatory: bool
    samples: Sequence[Sequence[Segment]]
    records: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Dropout:
    """Probabilities of dropping a condition (a part without loss), so that guidance has something to compare with."""

    text: float = 0.0
    vit: float = 0.0
    vae: float = 0.0

    def __post_init__(self) -> None:
        for name, rate in dataclasses.asdict(self).items():
            if not 0 <= rate <= 1:
                raise UserError(f"data.dropout.{name}: {rate} must be a probability, from 0 to 1")

    def of(self, kind: Kind) -> float:
        """The probability for a segment of this kind."""
        return {Kind.TEXT: self.text, Kind.VIT: self.vit, Kind.CLEAN: self.vae}.get(kind, 0.0)


@dataclasses.dataclass(frozen=True)
class Placed:
    """A sample's place in a plan.

    Attributes:
      component: index of its mode in the mixture.
      sample: index into the component's samples.
      dropped: bit i set drops segment i.
      cost: tokens taken from each budget (und, gen, vit, images).
      draw: when it was drawn; its age decides who waits.
    """

    component: int
    sample: int
    dropped: int
    cost: tuple[int, ...]
    draw: int


def split_oversize(
    samples: Sequence[Sequence[Segment]], budgets: tuple[int, ...], max_tokens: int
) -> tuple[list[int], list[int]]:
    """Indices of the samples that fit a row, and of those that never will.

    Args:
      samples: segments of each sample.
      budgets: (und, gen, vit, images) of a row.
      max_tokens: most tokens in one sample, both streams together.
    """
    fitting: list[int] = []
    oversize: list[int] = []
    for i, sample in enumerate(samples):
        cost = np.sum([segment.cost for segment in sample], axis=0)
        fits = (cost <= budgets).all() and cost[0] + cost[1] <= max_tokens
        (fitting if fits else oversize).append(i)
    return fitting, oversize


class Plan:
    """A table of rows, each a tuple of ``Placed`` samples, grown as it is read. Safe to read from many threads.

    Args:
      components: the mixture.
      budgets: (und, gen, vit, images) of a row.
      dropout: condition dropout.
      rows_per_pack: rows that hold every mandatory mode together: what one device takes in one step.
      seed: everything random comes from it.

    Raises:
      UserError: an empty mixture, a weight that is not positive, a mode without samples.
    """

    def __init__(
        self,
        components: Sequence[Component],
        budgets: tuple[int, ...],
        *,
        dropout: Dropout,
        rows_per_pack: int,
        seed: int,
    ):
        if not components:
            raise UserError("data.mixture: no learning mode is listed; list at least one (mode, weight)")
        for component in components:
            if not 0 < component.weight < math.inf:
                raise UserError(
                    f"data.mixture: the weight of {component.name} is {component.weight}; it must be finite and > 0"
                )
            if not component.samples:
                raise UserError(
                    f"data.mixture: {component.name} has no sample that fits a row; raise data.budgets or "
                    "data.max_sample_tokens, or give more data"
                )
        self._components = components
        self._budgets = np.array(budgets)
        self._scale = np.maximum(self._budgets, 1)  # a budget may be 0, such as that of images where all is text
        self._dropout = dropout
        self._rows_per_pack = rows_per_pack
        self._seed = seed
        self._rows: list[tuple[Placed, ...]] = []
        self._lock = threading.Lock()
        self._drawn = np.zeros(len(components), np.int64)
        self._weights = np.array([c.weight for c in components]) / sum(c.weight for c in components)
        self._orders: list[tuple[int, np.ndarray]] = [(-1, np.array([])) for _ in components]
        self._pending: list[Placed] = []

    def row(self, index: int) -> tuple[Placed, ...]:
        """Row ``index``; rows before it are planned first."""
        with self._lock:
            while len(self._rows) <= index:
                self._rows.extend(self._next_pack())
            return self._rows[index]

    def used(self, rows: range) -> np.ndarray:
        """Tokens used in each budget by these rows, [len(rows), 4]."""
        return np.array([np.sum([placed.cost for placed in self.row(i)], axis=0) for i in rows])

    def _next_pack(self) -> list[tuple[Placed, ...]]:
        rows: list[list[Placed]] = [[] for _ in range(self._rows_per_pack)]
        left = np.tile(self._budgets, (self._rows_per_pack, 1))

        def place(row: int, sample: Placed) -> None:
            rows[row].append(sample)
            left[row] -= sample.cost

        self._refill()
        oldest = min(self._pending, key=lambda sample: sample.draw)
        if self._drawn.sum() - oldest.draw > PATIENCE:
            self._pending.remove(oldest)
            place(0, oldest)
        for index, component in enumerate(self._components):
            if component.mandatory:
                sample = self._take(index)
                fits = (left >= sample.cost).all(1)
                if fits.any():
                    place(int(np.argmax(fits * left[:, 0])), sample)
                else:
                    self._pending.append(sample)
        for row in range(self._rows_per_pack):
            while True:
                self._refill()
                costs = np.array([sample.cost for sample in self._pending])
                fits = (costs <= left[row]).all(1)
                if not fits.any():
                    break
                # The sample that points most along what is left keeps both budgets filling at one pace.
                pull = (costs / self._scale) @ (left[row] / self._scale)
                best = int(np.argmax(np.where(fits, pull, -1.0)))
                place(row, self._pending[best])
                del self._pending[best]
        return [tuple(row) for row in rows]

    def _refill(self) -> None:
        while len(self._pending) < WINDOW:
            # The mode that is furthest behind its share: exact weights at any length.
            behind = self._weights * (self._drawn.sum() + 1) - self._drawn
            self._pending.append(self._draw(int(np.argmax(behind))))

    def _take(self, component: int) -> Placed:
        for i, sample in enumerate(self._pending):
            if sample.component == component:
                del self._pending[i]
                return sample
        return self._draw(component)

    def _draw(self, component: int) -> Placed:
        samples = self._components[component].samples
        turn, place = divmod(int(self._drawn[component]), len(samples))
        if self._orders[component][0] != turn:
            order = self._generator(1, component, turn).permutation(len(samples))
            self._orders[component] = (turn, order)
        sample = int(self._orders[component][1][place])
        chances = self._generator(2, component, int(self._drawn[component]))
        dropped, cost = 0, np.zeros(4, np.int64)
        for i, segment in enumerate(samples[sample]):
            if not segment.learned and chances.random() < self._dropout.of(segment.kind):
                dropped |= 1 << i
            else:
                cost += segment.cost
        self._drawn[component] += 1
        return Placed(component, sample, dropped, tuple(int(c) for c in cost), int(self._drawn.sum()))

    def _generator(self, *stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, *stream])))
