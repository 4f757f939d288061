"""From placed samples to a row: read the records, check them against the plan, lay them out. Runs in workers too."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from irg_jax.core.errors import UserError
from irg_jax.core.geometry import TokenGeometry
from irg_jax.data.conversation import Record, Source
from irg_jax.data.packing.layout import Row, RowBuilder
from irg_jax.data.packing.segment import Segment
from irg_jax.data.processor import Processor


class PlacedSample(NamedTuple):
    """A sample in its place in a row, with all that is needed to read it.

    Attributes:
      component: index of its mode in the mixture.
      record: index of its record in the mode's source.
      variant: which of the record's conversations it is.
      crc: of the record, from the index.
      dropped: bit mask of the segments that are dropped.
      segments: as planned, all of them.
    """

    component: int
    record: int
    variant: int
    crc: int
    dropped: int
    segments: list[Segment]


class DamagedSampleError(UserError):
    """A sample that cannot be read, or that is not what was planned.

    Attributes:
      place: its index in the row.
      message: what is wrong with it.
    """

    def __init__(self, place: int, message: str):
        super().__init__(message)
        self.place, self.message = place, message

    def __reduce__(self) -> tuple:
        return DamagedSampleError, (self.place, self.message)


@dataclasses.dataclass(frozen=True)
class RowReader:
    """Reads the records of a row and builds it; picklable.

    Attributes:
      sources: of each mode of the mixture.
      processor: tokenizer and image transforms.
      geometry: of the model, for the position tables.
    """

    sources: Sequence[Source]
    processor: Processor
    geometry: TokenGeometry

    def __call__(self, placed: Sequence[PlacedSample]) -> Row:
        """The row of these samples.

        Raises:
          DamagedSampleError: a record cannot be read, or has changed since it was indexed.
          StorageError: the storage went on answering with errors.
        """
        builder = RowBuilder(self.processor, self.geometry)
        for place, sample in enumerate(placed):
            try:
                record = self._read(sample)
                if record.crc != sample.crc:
                    raise UserError(
                        f"record {record.conversations[0].key}: has changed since the data set was indexed; start the "
                        "run again, or remove the data set's folder .index to have it indexed anew"
                    )
                conversation = record.conversations[sample.variant]
                builder.add(conversation, sample.segments, sample.dropped, sample.component)
            except UserError as error:
                raise DamagedSampleError(place, str(error)) from error
        return builder.row()

    def _read(self, sample: PlacedSample) -> Record:
        return self.sources[sample.component].read(sample.record)
