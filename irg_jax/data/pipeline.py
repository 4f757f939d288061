"""From a data set and a mixture to batches: index, plan, build rows, batch, prefetch (Grain, random access)."""

import dataclasses
import logging
from collections.abc import Sequence

import grain
import jax
import numpy as np

from irg_jax.data import layout, packing
from irg_jax.data.conversation import Conversation, Source
from irg_jax.data.layout import Budgets, RowBuilder, Vocabulary
from irg_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class MixtureRow:
    """One line of a mixture: a mode, its weight, whether every pack must hold it, and where its samples come from."""

    mode: str
    weight: float
    mandatory: bool
    source: Source[Conversation]


def index(source: Source[Conversation], vocabulary: Vocabulary) -> list[list[layout.Segment]]:
    """The segments of every conversation: all that planning needs to know.

    Raises:
      UserError: a bad record, by its key.
    """
    return [layout.segments(source[i], vocabulary) for i in range(len(source))]


class PackedRows:
    """Random access to rows: row i is the same on every machine, whenever it is asked for.

    Args:
      mixture: modes with their sources.
      vocabulary: tokenizer and image transforms.
      budgets: the size of a row.
      max_sample_tokens: most tokens in one sample.
      dropout: condition dropout.
      rows_per_pack: see ``packing.Plan``.
      seed: of order and dropout.
      length: rows that a run will read.
      max_latent_size: side of the latent position table, in patches.
      vit_patches_per_side: side of the ViT position table, in patches.

    Attributes:
      oversize: keys of the samples that no row can hold, by mode; they are left out of the plan and reported.
    """

    def __init__(
        self,
        mixture: Sequence[MixtureRow],
        *,
        vocabulary: Vocabulary,
        budgets: Budgets,
        max_sample_tokens: int,
        dropout: packing.Dropout,
        rows_per_pack: int,
        seed: int,
        length: int,
        max_latent_size: int,
        vit_patches_per_side: int,
    ):
        self._mixture = mixture
        self._vocabulary = vocabulary
        self._budgets = budgets
        self._length = length
        self._sides = (max_latent_size, vit_patches_per_side)
        self.oversize: dict[str, list[str]] = {}
        components = []
        for row in mixture:
            samples = index(row.source, vocabulary)
            fitting, oversize = packing.split_oversize(samples, budgets.cost, max_sample_tokens)
            if oversize:
                self.oversize[row.mode] = [row.source[i].key for i in oversize]
                logging.warning(
                    "%s: %d of %d samples are larger than a row and are left out, first %s",
                    row.mode, len(oversize), len(samples), ", ".join(self.oversize[row.mode][:3]),
                )  # fmt: skip
            kept = [samples[i] for i in fitting]
            components.append(packing.Component(row.mode, row.weight, row.mandatory, kept, fitting))
        self._components = components
        self.plan = packing.Plan(components, budgets.cost, dropout=dropout, rows_per_pack=rows_per_pack, seed=seed)

    @property
    def modes(self) -> list[str]:
        """Names of the modes, in the order of the ``mode`` column of a row."""
        return [row.mode for row in self._mixture]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: int) -> dict:
        """Row ``i`` as arrays without a batch axis; see ``layout.batch_spec``.

        Raises:
          UserError: a record that cannot be read, by its key.
        """
        builder = RowBuilder(self._vocabulary, *self._sides)
        for placed in self.plan.row(i):
            component = self._components[placed.component]
            conversation = self._mixture[placed.component].source[component.records[placed.sample]]
            builder.add(conversation, component.samples[placed.sample], placed.dropped, placed.component)
        return builder.build(self._budgets)

    def keys(self, i: int) -> list[str]:
        """The records in row ``i``, as ``mode:key``."""
        names = []
        for placed in self.plan.row(i):
            record = self._components[placed.component].records[placed.sample]
            names.append(f"{self.modes[placed.component]}:{self._mixture[placed.component].source[record].key}")
        return names

    def fill(self, rows: range) -> dict[str, float]:
        """Share of the und and gen budgets that these rows use."""
        used = self.plan.used(rows).mean(0)
        return {"und": used[0] / self._budgets.und, "gen": used[1] / self._budgets.gen}


def batches(
    rows: PackedRows, *, batch_size: int, process_index: int, process_count: int, threads: int
) -> grain.DatasetIterator:
    """An iterator over this process's share of every global batch; its state is one integer.

    A process takes neighbouring rows, so the shares of all processes, one after another, are the global batch in order.

    Args:
      rows: where the rows come from.
      batch_size: rows in a global batch.
      process_index: which process this is.
      process_count: how many there are.
      threads: threads that read and build rows.

    Raises:
      UserError: a batch that does not divide over the processes.
    """
    if batch_size % process_count:
        raise UserError(f"data.batch_size: {batch_size} rows do not divide over {process_count} processes")
    dataset = grain.MapDataset.source(rows).batch(batch_size // process_count, drop_remainder=True, batch_fn=_stack)
    dataset = dataset[process_index::process_count]
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)))


def _stack(rows: Sequence[dict]) -> dict:
    return jax.tree.map(lambda *arrays: np.stack(arrays), *rows)
