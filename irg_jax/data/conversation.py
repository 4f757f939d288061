"""What a model reads and writes: a conversation of text parts and image parts."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Text:
    """A piece of text. With ``need_loss`` the model learns to write it (cross entropy), else it is a condition."""

    content: str
    need_loss: bool = False


@dataclasses.dataclass(frozen=True)
class Image:
    """An encoded image. Its flags say, in this order, which blocks of tokens it yields.

    Attributes:
      content: encoded bytes (PNG, JPEG or WebP).
      need_loss: a noised VAE block, whose velocity the model learns (mean squared error).
      need_vae: a clean VAE block.
      need_vit: a ViT block.
    """

    content: bytes
    need_loss: bool = False
    need_vae: bool = False
    need_vit: bool = False


@dataclasses.dataclass(frozen=True)
class Conversation:
    """The parts in reading order, and the key of the record that they come from (errors name it)."""

    key: str
    parts: tuple[Text | Image, ...]


class ConversationSource(Protocol):
    """Random access to conversations: what a learning mode offers to the packer."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Conversation: ...


class MappedSource:
    """A source of trajectories seen through one learning mode.

    Args:
      trajectories: random access to ``Trajectory`` records.
      mode: a function from a trajectory to a conversation (see ``modes``).
    """

    def __init__(self, trajectories: Sequence, mode):
        self._trajectories = trajectories
        self._mode = mode

    def __len__(self) -> int:
        return len(self._trajectories)

    def __getitem__(self, index: int) -> Conversation:
        return self._mode(self._trajectories[index])
