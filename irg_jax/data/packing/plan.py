"""Sequence packing: which samples share a row, decided from the lengths in the index alone.

The plan is a pure function of the lengths, the mixture, the budgets and the seed. It is extended pack by pack on
demand, so the state of the data is one integer, the next row; snapshots of the planner let any row be reached without
planning all rows before it.
"""

import collections
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from irg_jax.core.errors import ConfigError
from irg_jax.data.config import DropoutConfig
from irg_jax.data.packing.component import Component, PackedSample
from irg_jax.data.packing.planner import Planner, Snapshot

VERSION = 2  # of the planner: another one packs the same data into other rows
SNAPSHOT_ROWS = 500  # between two snapshots: half a second of planning
_MAX_SNAPSHOTS = 4096  # then every other one goes, and the distance doubles
_CACHED_ROWS = 4096
_SHARE_WINDOWS = 4  # of samples, planned twice to find the shares of the modes


class Plan:
    """Rows of packed samples, planned on demand, in memory that does not grow with the run. Thread-safe.

    Args:
      components: the modes of the mixture.
      budgets: (und, gen, vit, images) of a row.
      dropout: condition dropout.
      rows_per_pack: rows that hold every mandatory mode together.
      seed: of the order of the samples and of condition dropout.
      start: where to begin, from a checkpoint; rows before it are planned from the beginning if they are asked for.

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
        start: Snapshot | None = None,
    ):
        for component in components:
            if not component.records:
                raise ConfigError(
                    "data.mixture",
                    f"{component.name} has no sample that fits a row; raise data.budgets or data.max_sample_tokens, "
                    "or give more data",
                )
        self._components = components
        self._arguments: dict[str, Any] = dict(
            components=components, budgets=budgets, dropout=dropout, rows_per_pack=rows_per_pack, seed=seed
        )
        begin = Snapshot.begin(len(components))
        self._snapshots = {begin.row: begin}
        if start is not None:
            if start.fresh:
                self._snapshots.clear()  # a new plan begins there: there is none before it
            self._snapshots[start.row] = start
        self._spacing = SNAPSHOT_ROWS
        self._rows: collections.OrderedDict[int, tuple[PackedSample, ...]] = collections.OrderedDict()
        # One planner plans ahead; another one goes again through rows that are cached no more.
        self._head = Planner(start=start or begin, **self._arguments)
        self._behind: Planner | None = None
        self._lock = threading.Lock()

    def row(self, index: int) -> tuple[PackedSample, ...]:
        """The samples of row ``index``; at most a few thousand rows before it are planned first, once each."""
        with self._lock:
            if index in self._rows:
                return self._rows[index]
            snapshot = self._snapshots[max(row for row in self._snapshots if row <= index)]
            planner = self._planner_before(index, snapshot)
            while planner.next_row <= index:
                self._extend(planner)
            if planner.next_row > self._head.next_row:
                self._head = planner
            elif planner is not self._head:
                self._behind = planner
            return self._rows[index]

    def _planner_before(self, index: int, snapshot: Snapshot) -> Planner:
        """The planner that has the fewest rows to plan up to one that is not cached."""
        for planner in (self._head, self._behind):
            if planner is not None and snapshot.row <= planner.next_row <= index:
                return planner
        return Planner(start=snapshot, **self._arguments)

    def snapshot(self, row: int) -> Snapshot:
        """The latest snapshot at or before a row, for a checkpoint."""
        with self._lock:
            return self._snapshots[max(start for start in self._snapshots if start <= row)]

    def shares(self) -> np.ndarray:
        """The share of the samples that each mode gets, float64 [modes].

        At first the modes whose samples fit best are ahead, by what is in the window: so the shares are those of the
        samples after the first few windows. The rows that are planned for it are kept for the run.
        """
        row, placed = min(self._snapshots), np.zeros(len(self._components), np.int64)

        def pack(windows: int) -> np.ndarray:
            nonlocal row
            end = placed.sum() + windows * self._head.window
            while placed.sum() < end:
                for _ in range(self._head.rows_per_pack):
                    np.add.at(placed, [sample.component for sample in self.row(row)], 1)
                    row += 1
            return placed.copy()

        first, last = pack(_SHARE_WINDOWS), pack(_SHARE_WINDOWS)
        return (last - first) / (last - first).sum()

    def check_shares(self) -> np.ndarray:
        """``shares``, unless mandatory modes make them other than the weights say.

        Raises:
          ConfigError: a mandatory mode gets more than its weight, because a pack holds too few samples.
        """
        shares = self.shares()
        weights = np.array([component.weight for component in self._components])
        wanted = weights / weights.sum()
        mandatory = np.array([component.mandatory for component in self._components])
        excess = (shares - wanted) * mandatory
        if (excess > 0.1 * wanted + 0.01).any():
            listed = ", ".join(
                f"{component.name} {share:.3f} instead of {want:.3f}"
                for component, share, want in zip(self._components, shares, wanted, strict=True)
            )
            raise ConfigError(
                "data.mixture",
                "one sample of every mandatory mode in a pack contradicts the weights where a pack is "
                f"{self._arguments['rows_per_pack']} row(s); the shares would be {listed}. Raise data.rows_per_pack "
                "(to at most data.batch_size) or the budgets, make fewer modes mandatory, or give these weights",
            )
        return shares

    def _extend(self, planner: Planner) -> None:
        first = planner.next_row
        if first // self._spacing != (first - planner.rows_per_pack) // self._spacing and first not in self._snapshots:
            self._snapshots[first] = planner.snapshot()
            if len(self._snapshots) > _MAX_SNAPSHOTS:
                self._spacing *= 2
                kept = sorted(self._snapshots)[::2]
                self._snapshots = {row: self._snapshots[row] for row in kept}
        for offset, samples in enumerate(planner.next_pack()):
            self._rows[first + offset] = samples
            self._rows.move_to_end(first + offset)
        while len(self._rows) > max(_CACHED_ROWS, planner.rows_per_pack):
            self._rows.popitem(last=False)
