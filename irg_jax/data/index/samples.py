"""The samples of one learning mode as the planner sees them: arrays with an entry per sample, no object."""

import hashlib
from typing import Protocol

import numpy as np

from irg_jax.data.packing.segment import Kind, Segment


class Samples(Protocol):
    """What a source's index says of the samples of one mode.

    A record may have several samples (variants), of which every visit draws one; they are neighbours.

    Attributes:
      records: unsigned [N], index of each sample's record in its source, ascending.
      variants: unsigned [N], which of the record's conversations it is.
      costs: int32 [N, 4], tokens that it takes from each budget (und, gen, vit, images), nothing dropped.
      crcs: uint32 [N], checksum of its record.
      conditions: kinds of the segments that may be dropped, in any sample.
    """

    records: np.ndarray
    variants: np.ndarray
    costs: np.ndarray
    crcs: np.ndarray
    conditions: frozenset[Kind]

    def segments(self, index: int) -> list[Segment]:
        """The segments of a sample, in order."""
        ...


def fingerprint(samples: Samples) -> str:
    """Number of samples, and a digest of their lengths, sizes and checksums in order.

    Two machines, or a run and the run that it resumes, read the same data if and only if theirs are equal.
    """
    digest = hashlib.blake2b(digest_size=8)
    for column in (samples.records, samples.variants, samples.costs, samples.crcs):
        digest.update(np.ascontiguousarray(column).astype("<i8").tobytes())
    return f"{len(samples.records)} samples, {digest.hexdigest()}"
