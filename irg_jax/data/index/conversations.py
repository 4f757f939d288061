"""The index of conversations: for each sample its parts with their lengths, in flat arrays."""

from typing import NamedTuple

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.data.conversation import Conversation, Record, Text
from irg_jax.data.index.trajectories import MAX_TOKENS, pixels
from irg_jax.data.packing.segment import Kind, Segment, block_kinds, segment_costs
from irg_jax.data.processor import Processor
from irg_jax.data.tokenizer import Tokenizer

_IMAGE, _LOSS, _VAE, _VIT = 1, 2, 4, 8
SAMPLE = np.dtype([("record", "<u4"), ("variant", "<u2"), ("parts", "<u2"), ("crc", "<u4")])
# Of a text: its number of ids and 0; of an image: (width, height) in pixels.
PART = np.dtype([("flags", "u1"), ("size", "<u2", (2,))])


class Described(NamedTuple):
    """Index rows of some records.

    Attributes:
      samples: of ``SAMPLE``, one per conversation.
      parts: of ``PART``, those of all samples one after another.
      rejected: (index, key, reason) of the records that cannot be used.
    """

    samples: np.ndarray
    parts: np.ndarray
    rejected: list[tuple]


def describe(records: list[tuple[int, Record]], tokenizer: Tokenizer) -> Described:
    """Index rows of some records: (index in the source, record)."""
    samples: list[tuple] = []
    parts: list[tuple] = []
    texts: list[str] = []
    rejected = []
    for index, record in records:
        try:
            described = [_parts(conversation) for conversation in record.conversations]
        except UserError as error:
            rejected.append((index, record.conversations[0].key, str(error)))
            continue
        for variant, ((found, found_texts), conversation) in enumerate(
            zip(described, record.conversations, strict=True)
        ):
            samples.append((index, variant, len(conversation.parts), record.crc))
            parts += found
            texts += found_texts
    table = np.array(parts, PART) if parts else np.zeros(0, PART)
    is_text = (table["flags"] & _IMAGE) == 0
    table["size"][is_text, 0] = np.minimum(tokenizer.count(texts), MAX_TOKENS)
    return Described(np.array(samples, SAMPLE) if samples else np.zeros(0, SAMPLE), table, rejected)


def _parts(conversation: Conversation) -> tuple[list[tuple], list[str]]:
    """(flags, size) of each part, and the texts."""
    found, texts = [], []
    learned = False
    for place, part in enumerate(conversation.parts):
        learned |= part.need_loss
        flags = _LOSS * part.need_loss
        if isinstance(part, Text):
            texts.append(part.content)
            found.append((flags, (0, 0)))
            continue
        flags |= _IMAGE | _VAE * part.need_vae | _VIT * part.need_vit
        if flags == _IMAGE:
            raise UserError(
                f"record {conversation.key}: part {place} is an image without need_loss, need_vae or need_vit; set one"
            )
        found.append((flags, pixels(part.content, conversation.key)))
    if not learned:
        raise UserError(f"record {conversation.key}: no part has need_loss, so nothing can be learned from it")
    return found, texts


class ConversationSamples:
    """The samples of a source of conversations; see ``Samples``.

    Args:
      samples: of ``SAMPLE``; may be memory-mapped, like ``parts``.
      parts: of ``PART``.
      processor: its image transforms turn sizes into grids.
    """

    def __init__(self, samples: np.ndarray, parts: np.ndarray, processor: Processor):
        self.records = np.asarray(samples["record"])
        self.variants = np.asarray(samples["variant"])
        self.crcs = np.asarray(samples["crc"])
        self._parts = parts
        self._starts = np.concatenate([[0], np.cumsum(samples["parts"], dtype=np.int64)])
        flags, sizes = parts["flags"], parts["size"].astype(np.int64)
        is_image = (flags & _IMAGE) > 0
        self._grids = {
            Kind.VIT: np.zeros((len(parts), 2), np.uint16),
            Kind.NOISED: np.zeros((len(parts), 2), np.uint16),
        }
        self._grids[Kind.VIT][is_image] = processor.vit_transform.grids(sizes[is_image])
        self._grids[Kind.NOISED][is_image] = processor.vae_transform.grids(sizes[is_image])
        self._grids[Kind.CLEAN] = self._grids[Kind.NOISED]
        too_long = np.where(sizes[:, 0] >= MAX_TOKENS, 1 << 30, 0)  # nobody knows how long it is
        costs = np.where(is_image[:, None], 0, segment_costs(Kind.TEXT, sizes[:, 0]).astype(np.int64))
        costs[:, 0] += np.where(is_image, 0, too_long)
        for flag, kind in ((_LOSS, Kind.NOISED), (_VAE, Kind.CLEAN), (_VIT, Kind.VIT)):
            block = is_image & ((flags & flag) > 0)
            costs += np.where(block[:, None], segment_costs(kind, self._grids[kind].astype(np.int64).prod(1)), 0)
        sums = np.concatenate([np.zeros((1, 4), np.int64), np.cumsum(costs, axis=0)])
        self.costs = (sums[self._starts[1:]] - sums[self._starts[:-1]]).astype(np.int32)
        conditions = {Kind.TEXT: ~is_image & ((flags & _LOSS) == 0)}
        conditions |= {kind: is_image & ((flags & flag) > 0) for flag, kind in ((_VAE, Kind.CLEAN), (_VIT, Kind.VIT))}
        self.conditions = frozenset(kind for kind, which in conditions.items() if which.any())

    def segments(self, index: int) -> list[Segment]:
        """The segments of a sample, in order."""
        first, end = self._starts[index : index + 2].tolist()
        made = []
        for place, row in enumerate(range(first, end)):
            flags, size = self._parts[row]
            if not flags & _IMAGE:
                made.append(Segment(Kind.TEXT, bool(flags & _LOSS), place, length=int(size[0])))
                continue
            for kind in block_kinds(bool(flags & _LOSS), bool(flags & _VAE), bool(flags & _VIT)):
                rows, columns = self._grids[kind][row].tolist()
                made.append(Segment(kind, kind == Kind.NOISED, place, grid=(rows, columns)))
        return made
