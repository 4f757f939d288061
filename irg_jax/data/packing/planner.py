"""The greedy planner: packs drawn samples into rows, one pack after another, and can be saved between two packs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from irg_jax.data.config import DropoutConfig
from irg_jax.data.packing.component import Component, PackedSample

# Drawn samples to choose from: more fill rows better, fewer keep closer to the drawn order. Of a small data set an
# eighth at most, or some records would be seen several epochs later than others.
WINDOW, MIN_WINDOW = 256, 32
PATIENCE = 4  # a sample that has waited for more windows of draws than this is the first of the next pack
MAX_LAG = 1.5  # samples by which a mode may be behind its share of the packed ones before it goes first


class Snapshot(NamedTuple):
    """The state of a planner between two packs; JSON-serialisable.

    Attributes:
      row: the next row.
      drawn: samples drawn of each mode.
      placed: samples packed of each mode.
      pending: (mode, number, draw) of each sample that is drawn and not packed yet, see ``PackedSample``.
      fresh: whether a new plan begins at this row, after the data have changed.
    """

    row: int
    drawn: tuple[int, ...]
    placed: tuple[int, ...]
    pending: tuple[tuple[int, int, int], ...]
    fresh: bool = False

    @classmethod
    def begin(cls, modes: int, row: int = 0) -> "Snapshot":
        """Nothing drawn yet; at another row than the first it is the beginning of a new plan."""
        return cls(row, (0,) * modes, (0,) * modes, (), fresh=row > 0)

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> "Snapshot":
        """From the lists that JSON makes of one."""
        row, drawn, placed, pending, fresh = values
        return cls(row, tuple(drawn), tuple(placed), tuple(map(tuple, pending)), fresh)


class Planner:
    """Packs samples into rows.

    From a window of drawn samples a row takes the one whose cost aligns best with what is left of its budgets, until
    none fits. The modes are drawn by their weights; a mode that has fallen behind them among the packed samples goes
    first, so that none has to wait.

    Args:
      components: the modes of the mixture.
      budgets: (und, gen, vit, images) of a row.
      dropout: condition dropout.
      rows_per_pack: rows that hold every mandatory mode together.
      seed: of the order of the samples and of condition dropout.
      start: where to begin.

    Attributes:
      window: drawn samples to choose from.
      next_row: the first row of the next pack.
      placed: samples packed of each mode, int64 [modes].
    """

    def __init__(
        self,
        components: Sequence[Component],
        budgets: tuple[int, ...],
        dropout: DropoutConfig,
        rows_per_pack: int,
        seed: int,
        start: Snapshot,
    ):
        self._components, self.rows_per_pack = components, rows_per_pack
        self._budgets = np.array(budgets)
        self._scale = np.maximum(self._budgets, 1)  # a budget may be 0, such as images in a mixture of texts
        self._seed, self._dropout = seed, dropout
        weights = np.array([component.weight for component in components])
        self._weights = weights / weights.sum()
        self.next_row = start.row
        self.placed = np.array(start.placed, np.int64)
        self._drawn = np.array(start.drawn, np.int64)
        # The samples that are drawn and not packed yet, and as arrays what choosing among them needs. One more than the
        # window fits, for a mandatory one that found no place.
        self._pending: list[PackedSample] = []
        self.window = min(WINDOW, max(MIN_WINDOW, sum(component.records for component in components) // 8))
        room = self.window + len(components)
        self._costs = np.zeros((room, len(budgets)), np.int64)
        self._modes, self._ages = np.zeros(room, np.int64), np.zeros(room, np.int64)
        for drawn in start.pending:
            self._append(self._sample(*drawn))

    def snapshot(self) -> Snapshot:
        """The state, from which another planner goes on with the same rows."""
        pending = tuple((sample.component, sample.number, sample.draw) for sample in self._pending)
        return Snapshot(self.next_row, tuple(self._drawn.tolist()), tuple(self.placed.tolist()), pending)

    def next_pack(self) -> list[tuple[PackedSample, ...]]:
        """The samples of the next ``rows_per_pack`` rows."""
        rows: list[list[PackedSample]] = [[] for _ in range(self.rows_per_pack)]
        left = np.tile(self._budgets, (self.rows_per_pack, 1))

        def assign(row: int, sample: PackedSample) -> None:
            rows[row].append(sample)
            left[row] -= sample.cost
            self.placed[sample.component] += 1

        self._refill()
        oldest = int(np.argmin(self._ages[: len(self._pending)]))
        if self._drawn.sum() - self._ages[oldest] > PATIENCE * self.window:
            assign(0, self._pop(oldest))
        for index, component in enumerate(self._components):
            if component.mandatory:
                sample = self._take(index)
                fits = (left >= sample.cost).all(1)
                if fits.any():
                    assign(int(np.argmax(fits * left[:, 0])), sample)
                else:
                    self._append(sample)
        for row in range(self.rows_per_pack):
            self._refill()
            while (best := self._best(left[row])) is not None:
                assign(row, self._pop(best))
                self._refill()
        self.next_row += self.rows_per_pack
        return [tuple(row) for row in rows]

    def _best(self, left: np.ndarray) -> int | None:
        """The pending sample to pack next into what is left of a row."""
        costs, modes = self._costs[: len(self._pending)], self._modes[: len(self._pending)]
        fits = (costs <= left).all(1)
        if not fits.any():
            return None
        lag = self._weights * self.placed.sum() - self.placed
        if lag.max() > MAX_LAG:
            behind = np.where(fits, lag[modes], 0.0)
            if behind.max() > MAX_LAG:
                fits &= modes == modes[int(np.argmax(behind))]
        # The sample whose cost aligns best with what is left, so that both budgets fill at the same rate.
        alignment = costs @ (left / (self._scale * self._scale))
        return int(np.argmax(np.where(fits, alignment, -1.0)))

    def _refill(self) -> None:
        while len(self._pending) < self.window:
            # The mode that is furthest behind its weight: the mixture is exact at any length.
            deficit = self._weights * (self._drawn.sum() + 1) - self._drawn
            self._append(self._draw(int(np.argmax(deficit))))

    def _append(self, sample: PackedSample) -> None:
        place = len(self._pending)
        self._pending.append(sample)
        self._costs[place], self._modes[place], self._ages[place] = sample.cost, sample.component, sample.draw

    def _pop(self, index: int) -> PackedSample:
        """Takes a pending sample; the last one gets its place."""
        sample, last = self._pending[index], self._pending.pop()
        if index < len(self._pending):
            self._pending[index] = last
            self._costs[index], self._modes[index], self._ages[index] = last.cost, last.component, last.draw
        return sample

    def _take(self, component: int) -> PackedSample:
        """The oldest pending sample of a mode, or a new one."""
        own = np.flatnonzero(self._modes[: len(self._pending)] == component)
        return self._pop(int(own[np.argmin(self._ages[own])])) if len(own) else self._draw(component)

    def _draw(self, component: int) -> PackedSample:
        number = int(self._drawn[component])
        self._drawn[component] += 1
        return self._sample(component, number, int(self._drawn.sum()))

    def _sample(self, component: int, number: int, draw: int) -> PackedSample:
        return self._components[component].draw(component, number, draw, self._seed, self._dropout)
