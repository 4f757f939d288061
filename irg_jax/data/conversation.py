"""The input and output of the model, a conversation of text parts and image parts; and where they come from."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np


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
      moments: of its VAE's posterior, float32 [h, w, 2·channels]; None where its pixels go through the VAE.
    """

    content: bytes
    need_loss: bool = False
    need_vae: bool = False
    need_vit: bool = False
    moments: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Conversation:
    """The parts in order, and the key of the record that they come from (errors name it)."""

    key: str
    parts: tuple[Text | Image, ...]


class Record(NamedTuple):
    """A record as it was read.

    Attributes:
      conversations: what it becomes: one conversation, or several of which every visit draws one, such as one for each
        caption of an image. The list depends on the record alone.
      crc: checksum of everything that it was made from.
    """

    conversations: tuple[Conversation, ...]
    crc: int


class SourceFile(NamedTuple):
    """A file of a source: its path relative to the data set's folder, bytes, records, time of its last change in ns."""

    path: str
    size: int
    records: int
    changed: int


class Source(Protocol):
    """Random access to the records of a data set; picklable, thread-safe, and read without jax or TFDS.

    Attributes:
      kind: name and version of what makes conversations of the files: with another one, an index is made anew.
    """

    kind: str

    @property
    def files(self) -> Sequence[SourceFile]:
        """The files in the order of their records."""
        ...

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """Names a record in errors, such as ``folder/part-00000.parquet:17``."""
        ...

    def read(self, index: int) -> Record:
        """Reads a record.

        Raises:
          UserError: the record is damaged or not in the format; the message names its key.
          StorageError: the storage went on answering with errors.
        """
        ...
