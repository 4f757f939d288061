"""From a mixture of sources to batches: index, plan, build packed rows, prefetch, batch (Grain, random access)."""

import dataclasses
import functools
import hashlib
import logging
import math
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import grain
import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.core.geometry import TokenGeometry
from irg_jax.data.config import DropoutConfig
from irg_jax.data.conversation import Source
from irg_jax.data.index.samples import Samples, fingerprint
from irg_jax.data.packing import layout, plan
from irg_jax.data.packing.component import Component, PackedSample
from irg_jax.data.packing.layout import Budgets, Row
from irg_jax.data.packing.planner import Snapshot
from irg_jax.data.processor import Processor
from irg_jax.data.rejected import MAX_REPLACED
from irg_jax.data.rows import DamagedSampleError, PlacedSample, RowReader
from irg_jax.data.workers import Workers


@dataclasses.dataclass(frozen=True)
class MixtureSource:
    """One learning mode of a mixture.

    Attributes:
      name: of the mode, for logs and metrics.
      weight: its share of the samples, relative to the others.
      mandatory: whether every pack must hold it.
      source: of its records.
      samples: of its index.
    """

    name: str
    weight: float
    mandatory: bool
    source: Source
    samples: Samples


class PackedRows:
    """Random access to packed rows: row i is the same on every process and in every order of access.

    Args:
      mixture: modes with their sources.
      processor: tokenizer and image transforms.
      budgets: the fixed size of a row.
      max_sample_tokens: maximum tokens in one sample.
      dropout: condition dropout.
      rows_per_pack: see ``plan.Plan``.
      seed: of the order of the samples and of condition dropout.
      geometry: of the model, for the position tables.
      latents: identifies the latents that images come as, if they are computed ahead.
      replaces: whether a sample that cannot be read is replaced by another one; else it is an error.

    Attributes:
      budgets: as given; likewise ``rows_per_pack``.
      oversize: number of records that fit no row, by mode; they are left out of the plan and logged.
      fingerprint: of the samples of each mode, and of the plan: a run that resumes on other data would see some samples
        twice and others never.
      reader: what builds a row, here or in another process.

    Raises:
      ConfigError: a mode without samples that fit a row, or mandatory modes that contradict the weights.
    """

    def __init__(
        self,
        mixture: Sequence[MixtureSource],
        *,
        processor: Processor,
        budgets: Budgets,
        max_sample_tokens: int,
        dropout: DropoutConfig,
        rows_per_pack: int,
        seed: int,
        geometry: TokenGeometry,
        latents: str = "",
        replaces: bool = False,
    ):
        self._mixture, self._replaces = mixture, replaces
        self.rows_per_pack = rows_per_pack
        self.budgets = budgets
        self.reader = RowReader([entry.source for entry in mixture], processor, geometry)
        self.oversize: dict[str, int] = {}
        self.fingerprint: dict[str, str] = {}
        self._components = []
        for entry in mixture:
            component = Component(
                entry.name, entry.weight, entry.mandatory, entry.samples, budgets.cost, max_sample_tokens
            )
            self._components.append(component)
            self.fingerprint[entry.name] = fingerprint(entry.samples)
            if len(component.oversize):
                self.oversize[entry.name] = len(component.oversize)
                self._warn_oversize(entry, component.oversize)
        weights = [(entry.name, entry.weight, entry.mandatory) for entry in mixture]
        planned = repr([plan.VERSION, weights, budgets.cost, max_sample_tokens, dropout, rows_per_pack, seed])
        self.fingerprint["plan"] = hashlib.blake2b(planned.encode(), digest_size=8).hexdigest()
        if latents:
            self.fingerprint["latents"] = latents
        self._plan = functools.partial(
            plan.Plan, self._components, budgets.cost, dropout=dropout, rows_per_pack=rows_per_pack, seed=seed
        )
        self.plan = self._plan()
        shares = self.plan.check_shares()
        listed = ", ".join(f"{entry.name} {share:.3f}" for entry, share in zip(mixture, shares, strict=True))
        logging.info("shares of the samples: %s", listed)
        self._replaced: dict[tuple[int, int], int | None] = {}
        self._lock = threading.Lock()

    def state(self, row: int) -> dict[str, Any]:
        """What a checkpoint holds of the data, JSON-serialisable: the next row, and the planner's state before it."""
        return {"row": row, "plan": list(self.plan.snapshot(row))}

    def resume(self, state: Mapping[str, Any]) -> int:
        """Goes on from ``state``, with the same rows; returns the next one."""
        self.plan = self._plan(start=Snapshot.from_json(state["plan"]))
        return state["row"]

    def begin_anew(self, state: Mapping[str, Any]) -> int:
        """Begins a new plan at the row of ``state``, for data that have changed since; returns that row."""
        row = -(-state["row"] // self.rows_per_pack) * self.rows_per_pack  # the first of a pack
        self.plan = self._plan(start=Snapshot.begin(len(self._components), row))
        return row

    @property
    def modes(self) -> list[str]:
        """Names of the modes; the ``mode`` column of a row holds indices into this list."""
        return [entry.name for entry in self._mixture]

    def __getitem__(self, i: int) -> Row:
        """Row ``i``, built in this process; see ``build``."""
        return self.build(i, self.reader)

    def build(self, i: int, read: Callable[[Sequence[PlacedSample]], Row]) -> Row:
        """Row ``i``.

        Args:
          i: its number.
          read: what reads the samples and lays them out.

        Raises:
          UserError: a record that cannot be read; the message names its key.
          StorageError: the storage went on answering with errors.
        """
        packed = list(self.plan.row(i))
        damaged: set[tuple[int, int]] = set()  # of this row alone, so that the same ones replace them after a restart
        while True:
            try:
                return read([self._placed(sample) for sample in packed])
            except DamagedSampleError as error:
                if not self._replaces:
                    raise UserError(error.message) from error
                sample = packed[error.place]
                damaged.add((sample.component, sample.sample))
                packed[error.place : error.place + 1] = self._replacement(sample, damaged, error.message, i)

    def keys(self, i: int) -> list[str]:
        """The records packed into row ``i``, as ``mode:key``."""
        names = []
        for sample in self.plan.row(i):
            record = int(self._components[sample.component].samples.records[sample.sample])
            names.append(f"{self.modes[sample.component]}:{self._mixture[sample.component].source.key(record)}")
        return names

    def _placed(self, sample: PackedSample) -> PlacedSample:
        samples, index = self._components[sample.component].samples, sample.sample
        return PlacedSample(
            sample.component,
            int(samples.records[index]),
            int(samples.variants[index]),
            int(samples.crcs[index]),
            sample.dropped,
            samples.segments(index),
        )

    def _replacement(
        self, sample: PackedSample, damaged: Collection[tuple[int, int]], message: str, row: int
    ) -> list[PackedSample]:
        """Another sample of the mode that fits into the place of a damaged one: the next in the index, or none.

        Args:
          sample: the damaged one.
          damaged: (mode, sample) of all that were found to be damaged in this row.
          message: what is wrong with it.
          row: that it is in.
        """
        component = self._components[sample.component]
        fits = np.all(component.samples.costs <= np.array(sample.cost), axis=1)
        fits[[other for which, other in damaged if which == sample.component]] = False
        after = np.flatnonzero(np.roll(fits, -sample.sample))
        found = int(after[0] + sample.sample) % len(fits) if len(after) else None
        with self._lock:
            self._replaced[sample.component, sample.sample] = found
            replaced = sum(which == sample.component for which, _ in self._replaced)
        if replaced > max(MAX_REPLACED * component.records, 1):
            raise UserError(
                f"{component.name}: {replaced} samples of {component.records} could not be read, more than "
                f"{MAX_REPLACED:.0%}; the last one: {message}"
            )
        where = "left out" if found is None else f"replaced by sample {found} of {component.name}"
        logging.warning("row %d: %s; %s, as data.on_error says", row, message, where)
        return [] if found is None else [sample._replace(sample=found, dropped=0)]

    def _warn_oversize(self, entry: MixtureSource, oversize: np.ndarray) -> None:
        first = ", ".join(entry.source.key(int(record)) for record in oversize[:3])
        logging.warning(
            "%s: %d of %d records are larger than a row and are left out, first %s",
            entry.name, len(oversize), len(np.unique(entry.samples.records)), first,
        )  # fmt: skip


class _LocalRows:
    """Numbers of the rows that one process builds, from the first batch on, one batch after another."""

    def __init__(self, first: int, count: int, batch_size: int, offsets: Sequence[int]):
        self._first, self._count, self._batch_size, self._offsets = first, count, batch_size, offsets

    def __len__(self) -> int:
        return self._count * len(self._offsets)

    def __getitem__(self, i: int) -> int:
        batch, offset = divmod(i, len(self._offsets))
        return self._first + batch * self._batch_size + self._offsets[offset]


class Batches(Iterator[dict]):
    """A process's rows of every global batch, see ``layout.batch_spec``; a context manager that ends its workers.

    Batch i holds the rows [first + i·B, first + (i + 1)·B) of the run, of which this process builds some. So the state
    of the data is one integer, the next row, and a run may go on with another number of processes, workers or rows in
    a batch.

    Args:
      rows: the packed rows of the run.
      count: of the batches.
      batch_size: B, rows of a global batch.
      offsets: which of a batch's rows this process builds, see ``sharding.batches.local_rows``.
      first: the row to begin at.
      workers: processes that read and build rows; 0 for none.
      threads: threads that do it where there are no processes.
      buffer_gb: GB (1e9 bytes) of rows that are built ahead.
    """

    def __init__(
        self,
        rows: PackedRows,
        count: int,
        *,
        batch_size: int,
        offsets: Sequence[int],
        first: int = 0,
        workers: int = 0,
        threads: int = 1,
        buffer_gb: float = 1.0,
    ):
        self._workers = Workers(rows.reader, workers) if workers else None
        read = self._workers or rows.reader
        # With processes, twice as many threads, so that a row can be received while the next one is built.
        threads = 2 * workers if workers else threads
        ahead = max(int(buffer_gb * 1e9 / _row_bytes(rows.budgets)), threads)
        dataset = (
            grain.MapDataset.source(_LocalRows(first, count, batch_size, offsets))
            .map(lambda i: rows.build(i, read))
            .to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead))
            .batch(len(offsets), drop_remainder=True, batch_fn=lambda built: layout.stack(built, rows.budgets))
        )
        self._iterator = iter(dataset)

    def __next__(self) -> dict:
        return next(self._iterator)

    def __enter__(self) -> "Batches":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def worker_memory(self) -> list[int]:
        """Resident bytes of each worker process."""
        return [] if self._workers is None else self._workers.memory()

    def close(self) -> None:
        """Ends the worker processes."""
        if self._workers is not None:
            self._workers.close()


def _row_bytes(budgets: Budgets) -> int:
    """Bytes of a whole row; one without padding has about half of them."""
    spec = layout.batch_spec(1, budgets)
    streams = ("und", "gen", "vit")
    leaves = [leaf for name in streams for leaf in spec[name].values()]
    leaves += [leaf for name, leaf in spec.items() if name not in streams]
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in leaves)
