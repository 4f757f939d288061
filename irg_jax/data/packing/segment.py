"""Segments: the texts and image blocks of a conversation, the unit of packing and of condition dropout."""

import dataclasses
import enum


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
        patches = self.grid[0] * self.grid[1]
        if self.kind == Kind.TEXT:
            return self.length + 2, 0, 0, 0
        if self.kind == Kind.VIT:
            return patches + 2, 0, patches, 0
        return 2, patches, 0, 1


def block_kinds(need_loss: bool, need_vae: bool, need_vit: bool) -> list[Kind]:
    """The blocks that an image with these flags becomes, in order."""
    flags = ((need_loss, Kind.NOISED), (need_vae, Kind.CLEAN), (need_vit, Kind.VIT))
    return [kind for flag, kind in flags if flag]
