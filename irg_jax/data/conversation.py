"""The input and output of the model: a conversation of text parts and image parts."""

import dataclasses
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

A = TypeVar("A")
B = TypeVar("B")
T_co = TypeVar("T_co", covariant=True)


@dataclasses.dataclass(frozen=True)
class Text:
    """A piece of text. With ``need_loss`` the model learns to generate it (cross entropy), else it is a condition."""

    content: str
    need_loss: bool = False


@dataclasses.dataclass(frozen=True)
class Image:
    """An encoded image. Its flags say which blocks of tokens it becomes, in this order.

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
    """The parts in order, and the key of the record that they come from (errors name it)."""

    key: str
    parts: tuple[Text | Image, ...]


class Source(Protocol[T_co]):
    """Random access to records: trajectories from a data set, conversations from a learning mode."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> T_co: ...


class MappedSource(Generic[A, B]):
    """A source with a function applied to each of its records.

    Args:
      source: random access to the records.
      function: such as a learning mode, from a trajectory to a conversation (see ``modes``).
    """

    def __init__(self, source: Source[A], function: Callable[[A], B]):
        self._source = source
        self._function = function

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> B:
        return self._function(self._source[index])
