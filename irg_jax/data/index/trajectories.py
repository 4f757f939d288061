"""The index of trajectories: 26 bytes per record, from which the samples of every mode follow as array expressions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.data import images, modes
from irg_jax.data.modes import Mode
from irg_jax.data.packing.segment import Kind, Segment, block_kinds, segment_costs
from irg_jax.data.processor import Processor
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.data.trajectory import IMAGES, Trajectory

MAX_TOKENS = 65535  # that a column can hold; longer texts fit no row

TEXTS = ("prompt", "thinking1", "thinking2", *modes.QUESTIONS)
# Sizes are (width, height) in pixels, not grids, so that strides and size bounds may change without a new index.
DTYPE = np.dtype(
    [("record", "<u4"), *((name, "<u2") for name in TEXTS), *((name, "<u2", (2,)) for name in IMAGES), ("crc", "<u4")]
)


def describe(records: Sequence[tuple[int, Trajectory, int]], tokenizer: Tokenizer) -> tuple[np.ndarray, list[tuple]]:
    """Index rows of some records: (index in the source, trajectory, checksum).

    Returns:
      rows of ``DTYPE``; and (index, key, reason) of the records that cannot be used.
    """
    rows, kept, texts, rejected = np.zeros(len(records), DTYPE), [], [], []
    for place, (index, trajectory, crc) in enumerate(records):
        row = rows[place]
        row["record"], row["crc"] = index, crc
        try:
            if not trajectory.prompt.strip():
                raise UserError(f"record {trajectory.key}: the prompt is empty; write one or remove the record")
            for name in IMAGES:
                if content := getattr(trajectory, name):
                    row[name] = pixels(content, trajectory.key)
        except UserError as error:
            rejected.append((index, trajectory.key, str(error)))
            continue
        kept.append(place)
        known = modes.texts(trajectory)
        texts += [known[name] for name in TEXTS]
    rows = rows[kept]
    counts = np.array(tokenizer.count(texts), np.int64).reshape(len(kept), len(TEXTS))
    for column, name in enumerate(TEXTS):
        rows[name] = np.minimum(counts[:, column], MAX_TOKENS)
    return rows, rejected


def pixels(content: bytes, key: str) -> tuple[int, int]:
    """(width, height) of an image. Raises UserError if it is damaged, or larger than a column can hold."""
    width, height = images.encoded_size(content, key)
    if max(width, height) > MAX_TOKENS:
        raise UserError(f"record {key}: an image of {width} x {height} pixels is too large; shrink it")
    return width, height


class ModeSamples:
    """The samples of one mode: one of every record that has its fields; see ``Samples``.

    Args:
      rows: of ``DTYPE``, may be memory-mapped.
      mode: of ``modes.learning_mode``.
      processor: its image transforms turn sizes into grids, its tokenizer has made the counts.
    """

    def __init__(self, rows: np.ndarray, mode: Mode, processor: Processor):
        present = np.ones(len(rows), bool)
        for name in modes.required_fields(mode):
            present &= (rows[name][:, 0] if name in IMAGES else rows[name]) > 0
        if not present.all():  # else they stay memory-mapped
            rows = rows[present]
        self.records = np.asarray(rows["record"])
        self.variants = np.broadcast_to(np.uint16(0), len(rows))
        self.conditions = frozenset(
            kind
            for part in mode
            for kind in (
                block_kinds(False, part.need_vae, part.need_vit)
                if part.field in IMAGES
                else [Kind.TEXT] * (not part.need_loss)
            )
        )
        self.crcs = np.asarray(rows["crc"])
        constants = dict(zip(modes.CONSTANTS, processor.tokenizer.count(list(modes.CONSTANTS.values())), strict=True))
        # For each segment of the mode its kind and so on, the same for all records, and its length or grid.
        self._segments: list[tuple[Kind, bool, int]] = []
        self._lengths: list[Any] = []
        self.costs = np.zeros((len(rows), 4), np.int32)
        for place, part in enumerate(mode):
            if part.field not in IMAGES:
                length = np.full(len(rows), constants[part.field]) if part.field in constants else rows[part.field]
                self._segments.append((Kind.TEXT, part.need_loss, place))
                self._lengths.append(np.asarray(length))
                self.costs += segment_costs(Kind.TEXT, np.asarray(length))
                self.costs[:, 0] += np.where(length >= MAX_TOKENS, 1 << 30, 0)  # nobody knows how long it is
                continue
            for kind in block_kinds(part.need_loss, part.need_vae, part.need_vit):
                transform = processor.vit_transform if kind == Kind.VIT else processor.vae_transform
                grids = transform.grids(rows[part.field])
                self._segments.append((kind, kind == Kind.NOISED, place))
                self._lengths.append(grids.astype(np.uint16))
                self.costs += segment_costs(kind, grids.prod(1))

    def segments(self, index: int) -> list[Segment]:
        """The segments of a sample, in order."""
        made = []
        for (kind, learned, part), lengths in zip(self._segments, self._lengths, strict=True):
            if kind == Kind.TEXT:
                made.append(Segment(kind, learned, part, length=int(lengths[index])))
            else:
                rows, columns = lengths[index].tolist()
                made.append(Segment(kind, learned, part, grid=(rows, columns)))
        return made
