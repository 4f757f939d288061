"""What an importer gives: the rows of a data set in another format, and those that cannot be used."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple, Protocol


@dataclasses.dataclass
class Row:
    """A row of the input: those fields of a trajectory that it has.

    Attributes:
      key: of the trajectory that it becomes.
      fields: by name, of ``trajectory.CONTENTS``: texts as str, images as encoded bytes.
      question: a text that holds the prompt and a question before or after it, where ``fields`` has no prompt.
      source: as in ``Trajectory``; likewise ``licence``, ``teachers`` and ``scene``.
      noted: what is unusual about it and accepted all the same; the build counts these.
    """

    key: str
    fields: dict[str, str | bytes]
    question: str = ""
    source: str = ""
    licence: str = ""
    teachers: str = ""
    scene: str = ""
    noted: tuple[str, ...] = ()


class Rejected(NamedTuple):
    """What cannot be used: a row of a file, or ``rows`` of them from ``row`` on; the whole file if ``row`` is None."""

    file: str
    row: int | None
    reason: str
    rows: int = 1


class Importer(Protocol):
    """A data set in another format; picklable, and used without jax.

    Attributes:
      merges: whether rows are views of trajectories, to be put together, rather than trajectories of their own.
    """

    merges: bool

    @property
    def pieces(self) -> Sequence[Any]:
        """Parts of the input that can be read on their own, in order; each at most some hundred MB."""
        ...

    def identity(self) -> Any:
        """What the input is, as values for JSON: files with their sizes and times, and options."""
        ...

    def rows(self, piece: int, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Row | Rejected]]:
        """Rows of a piece with their numbers, in order.

        Args:
          piece: index in ``pieces``.
          wanted: the numbers of the rows to give; all of them if None.

        Raises:
          UserError: the file is gone or has changed.
          StorageError: the storage went on answering with errors.
        """
        ...

    def rejected(self, piece: int, number: int, reason: str) -> Rejected:
        """Names the file and the row of a row that cannot be used."""
        ...
