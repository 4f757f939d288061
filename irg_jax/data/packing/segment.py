"""Segments: the texts and image blocks of a conversation, the unit of packing and of condition dropout."""

import dataclasses
import enum

import numpy as np


class Kind(enum.IntEnum):
    """What a segment of a sequence holds: text, ViT features, clean VAE latents or noised VAE latents."""

    TEXT = 0
    VIT = 1
    CLEAN = 2
    NOISED = 3


@dataclasses.dataclass(frozen=True)
class Segment:
    """A text or one image block of a conversation; the unit of packing and of condition dropout.

    Attributes:
      kind: see ``Kind``.
      learned: it has a loss, so it is never dropped as a condition.
      part: its index in ``Conversation.parts``.
      length: tokens of a text without bos and eos, 0 for images.
      grid: (rows, columns) of patches, (0, 0) for text.
    """

    kind: Kind
    learned: bool
    part: int
    length: int = 0
    grid: tuple[int, int] = (0, 0)

    @property
    def cost(self) -> tuple[int, int, int, int]:
        """Tokens taken from each budget: (und, gen, vit, images)."""
        size = self.length or self.grid[0] * self.grid[1]
        und, gen, vit, images = (slope * size + offset for slope, offset in _COSTS[self.kind])
        return und, gen, vit, images


# For each budget, what a token of the segment takes, and what its ends take: a text has bos and eos, a block of an
# image vision_start and vision_end.
_COSTS = {
    Kind.TEXT: ((1, 2), (0, 0), (0, 0), (0, 0)),
    Kind.VIT: ((1, 2), (0, 0), (1, 0), (0, 0)),
    Kind.CLEAN: ((0, 2), (1, 0), (0, 0), (0, 1)),
    Kind.NOISED: ((0, 2), (1, 0), (0, 0), (0, 1)),
}


def segment_costs(kind: Kind, sizes: np.ndarray) -> np.ndarray:
    """Tokens that segments of one kind take from each budget (und, gen, vit, images).

    Args:
      kind: of all of them.
      sizes: int [...], tokens of a text without bos and eos, or patches of an image.

    Returns:
      int32 [..., 4].
    """
    slope, offset = np.array(_COSTS[kind], np.int32).T
    return sizes.astype(np.int32)[..., None] * slope + offset


def block_kinds(need_loss: bool, need_vae: bool, need_vit: bool) -> list[Kind]:
    """The blocks that an image with these flags becomes, in order."""
    flags = ((need_loss, Kind.NOISED), (need_vae, Kind.CLEAN), (need_vit, Kind.VIT))
    return [kind for flag, kind in flags if flag]
