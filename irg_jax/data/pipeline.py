"""From a mixture of sources to batches: index, plan, build packed rows, batch, prefetch (Grain, random access)."""

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from typing import NamedTuple

import grain
import jax
import numpy as np

from irg_jax.core.geometry import TokenGeometry
from irg_jax.data.config import DropoutConfig
from irg_jax.data.conversation import Conversation, Image, Source, Text
from irg_jax.data.packing import layout, plan
from irg_jax.data.packing.layout import Budgets, RowBuilder
from irg_jax.data.processor import Processor


@dataclasses.dataclass(frozen=True)
class MixtureSource:
    """One learning mode of a mixture: its weight, whether every pack must hold it, and the source of its samples."""

    mode: str
    weight: float
    mandatory: bool
    source: Source[Conversation]


class Index(NamedTuple):
    """What has to be known of all samples of a mode before training.

    Attributes:
      samples: the segments of every conversation: all that planning needs to know.
      fingerprint: number of samples, and a digest of their keys and contents in order.
    """

    samples: list[list[layout.Segment]]
    fingerprint: str


def index(source: Source[Conversation], processor: Processor) -> Index:
    """Reads all conversations of a mode.

    Raises:
      UserError: a bad record; the message names its key.
    """
    samples, digest = [], hashlib.blake2b(digest_size=8)
    for conversation in (source[i] for i in range(len(source))):
        samples.append(layout.segments(conversation, processor))
        digest.update(repr([(type(part).__name__, *_flags(part)) for part in conversation.parts]).encode())
        for part in conversation.parts:
            content = part.content if isinstance(part.content, bytes) else part.content.encode()
            digest.update(len(content).to_bytes(8) + content)
    return Index(samples, f"{len(samples)} samples, {digest.hexdigest()}")


def _flags(part: Text | Image) -> list[bool]:
    return [value for value in dataclasses.astuple(part) if isinstance(value, bool)]


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
      length: number of rows that a run reads.
      geometry: of the model, for the position tables.

    Attributes:
      oversize: keys of the samples that fit no row, by mode; they are left out of the plan and logged.
      fingerprint: of all samples that were read, by mode: a run that resumes on other data would see some samples
        twice and others never.
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
        length: int,
        geometry: TokenGeometry,
    ):
        self._mixture = mixture
        self._processor = processor
        self._budgets = budgets
        self._length = length
        self._geometry = geometry
        self.oversize: dict[str, list[str]] = {}
        self.fingerprint: dict[str, str] = {}
        components = []
        for entry in mixture:
            samples, self.fingerprint[entry.mode] = index(entry.source, processor)
            fitting, oversize = plan.split_oversize(samples, budgets.cost, max_sample_tokens)
            if oversize:
                self.oversize[entry.mode] = [entry.source[i].key for i in oversize]
                logging.warning(
                    "%s: %d of %d samples are larger than a row and are left out, first %s",
                    entry.mode, len(oversize), len(samples), ", ".join(self.oversize[entry.mode][:3]),
                )  # fmt: skip
            kept = [samples[i] for i in fitting]
            components.append(plan.Component(entry.mode, entry.weight, entry.mandatory, kept, fitting))
        self._components = components
        self.plan = plan.Plan(components, budgets.cost, dropout=dropout, rows_per_pack=rows_per_pack, seed=seed)

    @property
    def modes(self) -> list[str]:
        """Names of the modes; the ``mode`` column of a row holds indices into this list."""
        return [entry.mode for entry in self._mixture]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: int) -> dict:
        """Row ``i`` as arrays without a batch axis; see ``layout.batch_spec``.

        Raises:
          UserError: a record that cannot be read; the message names its key.
        """
        builder = RowBuilder(self._processor, self._geometry)
        for sample in self.plan.row(i):
            component = self._components[sample.component]
            conversation = self._mixture[sample.component].source[component.records[sample.index]]
            builder.add(conversation, component.samples[sample.index], sample.dropped, sample.component)
        return builder.build(self._budgets)

    def keys(self, i: int) -> list[str]:
        """The records packed into row ``i``, as ``mode:key``."""
        names = []
        for sample in self.plan.row(i):
            record = self._components[sample.component].records[sample.index]
            names.append(f"{self.modes[sample.component]}:{self._mixture[sample.component].source[record].key}")
        return names


class LocalBatches:
    """Random access to a process's rows of every global batch: batch i holds the rows [i·B, (i + 1)·B) of the run.

    Args:
      rows: the packed rows of the run.
      batch_size: B, rows of a global batch.
      offsets: which of a batch's rows the process builds.
    """

    def __init__(self, rows: PackedRows, batch_size: int, offsets: Sequence[int]):
        self._rows, self._batch_size, self._offsets = rows, batch_size, offsets

    def __len__(self) -> int:
        return len(self._rows) // self._batch_size

    def __getitem__(self, i: int) -> dict:
        rows = [self._rows[i * self._batch_size + offset] for offset in self._offsets]
        return jax.tree.map(lambda *arrays: np.stack(arrays), *rows)


def batches(rows: PackedRows, *, batch_size: int, offsets: Sequence[int], threads: int) -> grain.DatasetIterator:
    """An iterator over a process's rows of every global batch; its state is one integer, the same on every process.

    Args:
      rows: the packed rows of the run.
      batch_size: rows in a global batch.
      offsets: which of a batch's rows this process builds, see ``sharding.batches.local_rows``.
      threads: threads that read and build rows.
    """
    dataset = grain.MapDataset.source(LocalBatches(rows, batch_size, offsets))
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)))
