"""Sequence packing: which samples share a row, decided from the lengths of the indexed samples alone.

The plan is a pure function of the lengths, the mixture, the budgets and the seed. It is extended pack by pack on
demand, so the whole state of the data is one integer, the next row, and a run resumes exactly.
"""

import dataclasses
import threading
from collections.abc import Sequence

import numpy as np

from irg_jax.core.errors import ConfigError
from irg_jax.data.config import DropoutConfig
from irg_jax.data.packing.layout import Kind, Segment

WINDOW = 64  # drawn samples to choose from; more fills rows better, fewer keeps closer to the drawn order
PATIENCE = 4 * WINDOW  # a sample that has waited for more draws than this is the first of the next pack


@dataclasses.dataclass(frozen=True)
class Component:
    """One learning mode of a mixture, indexed.

    Attributes:
      name: the mode's name.
      weight: its share of the samples, relative to the others.
      mandatory: every pack holds at least one sample of it.
      samples: the segments of each record, in the order of its source.
      records: the index in the source of each of ``samples``.
    """

    name: str
    weight: float
    mandatory: bool
    samples: Sequence[Sequence[Segment]]
    records: Sequence[int]


@dataclasses.dataclass(frozen=True)
class PackedSample:
    """A drawn sample, as packed into a row.

    Attributes:
      component: index of its mode in the mixture.
      index: index into the component's samples.
      dropped: bit mask; bit i set drops segment i (condition dropout).
      cost: tokens taken from each budget (und, gen, vit, images).
      draw: number of the draw, from 1; the difference to the latest draw is its age.
    """

    component: int
    index: int
    dropped: int
    cost: tuple[int, ...]
    draw: int


def split_oversize(
    samples: Sequence[Sequence[Segment]], budgets: tuple[int, ...], max_tokens: int
) -> tuple[list[int], list[int]]:
    """Indices of the samples that fit an empty row, and of those that do not.

    Args:
      samples: segments of each sample.
      budgets: (und, gen, vit, images) of a row.
      max_tokens: maximum tokens in one sample, both streams together.
    """
    fitting: list[int] = []
    oversize: list[int] = []
    for i, sample in enumerate(samples):
        cost = np.sum([segment.cost for segment in sample], axis=0)
        fits = (cost <= budgets).all() and cost[0] + cost[1] <= max_tokens
        (fitting if fits else oversize).append(i)
    return fitting, oversize


class Plan:
    """Rows of packed samples, planned on demand. Thread-safe.

    Greedy packing: from ``WINDOW`` drawn samples a row takes the one whose cost aligns best with what is left of its
    budgets, until none fits. The modes are drawn by their weights, the samples of a mode in a new order every epoch.

    Args:
      components: the modes of the mixture.
      budgets: (und, gen, vit, images) of a row.
      dropout: condition dropout.
      rows_per_pack: rows that hold every mandatory mode together: what one device takes per step.
      seed: of the order of the samples and of condition dropout.

    Raises:
      ConfigError: a mode without samples that fit a row.
    """

    def __init__(
        self,
        components: Sequence[Component],
        budgets: tuple[int, ...],
        *,
        dropout: DropoutConfig,
        rows_per_pack: int,
        seed: int,
    ):
        for component in components:
            if not component.samples:
                raise ConfigError(
                    "data.mixture",
                    f"{component.name} has no sample that fits a row; raise data.budgets or data.max_sample_tokens, "
                    "or give more data",
                )
        self._components = components
        self._budgets = np.array(budgets)
        self._scale = np.maximum(self._budgets, 1)  # a budget may be 0, such as images in a mixture of texts
        self._dropout = {Kind.TEXT: dropout.text, Kind.VIT: dropout.vit, Kind.CLEAN: dropout.vae, Kind.NOISED: 0.0}
        self._rows_per_pack = rows_per_pack
        self._seed = seed
        self._rows: list[tuple[PackedSample, ...]] = []
        self._lock = threading.Lock()
        self._drawn = np.zeros(len(components), np.int64)
        self._weights = np.array([c.weight for c in components]) / sum(c.weight for c in components)
        self._orders: list[tuple[int, np.ndarray]] = [(-1, np.array([])) for _ in components]
        self._pending: list[PackedSample] = []

    def row(self, index: int) -> tuple[PackedSample, ...]:
        """The samples of row ``index``; the rows before it are planned first."""
        with self._lock:
            while len(self._rows) <= index:
                self._rows.extend(self._next_pack())
            return self._rows[index]

    def _next_pack(self) -> list[tuple[PackedSample, ...]]:
        rows: list[list[PackedSample]] = [[] for _ in range(self._rows_per_pack)]
        left = np.tile(self._budgets, (self._rows_per_pack, 1))

        def assign(row: int, sample: PackedSample) -> None:
            rows[row].append(sample)
            left[row] -= sample.cost

        self._refill()
        oldest = min(self._pending, key=lambda sample: sample.draw)
        if self._drawn.sum() - oldest.draw > PATIENCE:
            self._pending.remove(oldest)
            assign(0, oldest)
        for index, component in enumerate(self._components):
            if component.mandatory:
                sample = self._take(index)
                fits = (left >= sample.cost).all(1)
                if fits.any():
                    assign(int(np.argmax(fits * left[:, 0])), sample)
                else:
                    self._pending.append(sample)
        for row in range(self._rows_per_pack):
            while True:
                self._refill()
                costs = np.array([sample.cost for sample in self._pending])
                fits = (costs <= left[row]).all(1)
                if not fits.any():
                    break
                # The sample whose cost aligns best with what is left, so that both budgets fill at the same rate.
                alignment = (costs / self._scale) @ (left[row] / self._scale)
                best = int(np.argmax(np.where(fits, alignment, -1.0)))
                assign(row, self._pending[best])
                del self._pending[best]
        return [tuple(row) for row in rows]

    def _refill(self) -> None:
        while len(self._pending) < WINDOW:
            # The mode that is furthest behind its weight: the mixture is exact at any length.
            deficit = self._weights * (self._drawn.sum() + 1) - self._drawn
            self._pending.append(self._draw(int(np.argmax(deficit))))

    def _take(self, component: int) -> PackedSample:
        for i, sample in enumerate(self._pending):
            if sample.component == component:
                del self._pending[i]
                return sample
        return self._draw(component)

    def _draw(self, component: int) -> PackedSample:
        samples = self._components[component].samples
        epoch, offset = divmod(int(self._drawn[component]), len(samples))
        if self._orders[component][0] != epoch:
            order = self._generator(1, component, epoch).permutation(len(samples))
            self._orders[component] = (epoch, order)
        index = int(self._orders[component][1][offset])
        rng = self._generator(2, component, int(self._drawn[component]))
        dropped, cost = 0, np.zeros(4, np.int64)
        for i, segment in enumerate(samples[index]):
            if not segment.learned and rng.random() < self._dropout[segment.kind]:
                dropped |= 1 << i
            else:
                cost += segment.cost
        self._drawn[component] += 1
        return PackedSample(component, index, dropped, tuple(int(c) for c in cost), int(self._drawn.sum()))

    def _generator(self, *stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, *stream])))
