"""What every benchmark has: prompts in official files, an official layout of images, questions, and a summary."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from irg_jax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Item:
    """One prompt of a benchmark.

    Attributes:
      key: its name in the benchmark, such as ``00012`` or ``color+2d/short/3``; no two items have the same.
      prompt: what the model is asked to paint.
      category: for tables, such as ``two_object``.
      samples: how many images are made for it.
      entry: the official entry, as in the file.
    """

    key: str
    prompt: str
    category: str
    samples: int
    entry: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class PromptSet:
    """The prompts of one version of a benchmark.

    Attributes:
      benchmark: its name, such as ``geneval``.
      version: such as ``short``; ``custom`` for a file that is none of the official ones.
      items: in the order of the files.
      digest: SHA-256 over the files that were read, hexadecimal.
      official_items: how many items the official version has.
    """

    benchmark: str
    version: str
    items: tuple[Item, ...]
    digest: str
    official_items: int

    @property
    def images(self) -> int:
        """The number of images of one turn."""
        return sum(item.samples for item in self.items)


# The key of an item and the number of the sample: one image of a turn.
Place = tuple[str, int]


class Row(NamedTuple):
    """What was found in one image.

    Attributes:
      key: of the item.
      sample: 0 to ``item.samples`` - 1.
      category: of the item.
      values: by name, such as ``{"correct": 1.0}``.
    """

    key: str
    sample: int
    category: str
    values: Mapping[str, float]


class Problem(NamedTuple):
    """Something wrong with the images of a benchmark.

    Attributes:
      kind: ``missing``, ``extra``, ``duplicate``, ``unreadable`` or ``wrong grid``.
      where: the file or the place where it should be.
      reason: in words, with what to do.
    """

    kind: str
    where: str
    reason: str


def log_problems(problems: Sequence[Problem]) -> None:
    """Warns of each."""
    for problem in problems:
        logging.warning("%s: %s: %s", problem.kind, problem.where, problem.reason)


@dataclasses.dataclass(frozen=True)
class FoundImages:
    """The images in an official layout.

    Attributes:
      images: for each (key, sample) that is there, a function that gives the encoded image (PNG, JPEG or WebP).
      problems: everything else; () where each item has all of its images and nothing else lies in between.
    """

    images: Mapping[Place, Callable[[], bytes]]
    problems: tuple[Problem, ...]


class Benchmark(Protocol):
    """One of the five. Each is a module that has these functions.

    ``summarise`` gives the figures of the official tables by name, in their order, as fractions (not per cent): first
    those that an overall is made of, then the overall. A name ends in ``overall`` only for an overall. It takes rows in
    any order, also the same several times, as a bootstrap draws them.
    """

    NAME: str
    TITLE: str

    def read_prompts(self, path: Path) -> PromptSet:
        """Reads the official files as they are. Raises UserError for a file that is none of its versions."""

    def write_layout(
        self, prompts: PromptSet, image: Callable[[Item, int], bytes], folder: Path, *, model: str
    ) -> None:
        """Writes the images (``image`` gives a PNG) as the official scorer wants to find them."""

    def find_images(self, prompts: PromptSet, folder: Path, *, model: str) -> FoundImages:
        """Looks at every place of the official layout, and at everything that should not be there."""

    def summarise(self, rows: Sequence[Row]) -> dict[str, float]:
        """The figures of the official tables."""


class UnreadableAnswer(UserError):
    """An answer of a judge in which the official rule finds no score."""
