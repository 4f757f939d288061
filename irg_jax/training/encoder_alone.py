"""Encoders that are trained alone: what their configs share, and batches of pictures that are all in memory."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from irg_jax.core.config.ranges import above, at_least, within
from irg_jax.core.errors import check


@dataclasses.dataclass(frozen=True)
class EncoderAloneConfig:
    """How an encoder is trained alone on pictures.

    Attributes:
      pictures: .npz files of labelled pictures to learn from, see ``data.labelled``.
      held_out: one more, to measure what it has learned.
      steps: optimizer steps.
      batch_size: pictures in each.
      lr: peak learning rate of Adam, which falls to 0 along a cosine.
      warmup_steps: of linear warm-up.
      seed: of all that is random.
    """

    pictures: tuple[str, ...]
    held_out: str
    steps: int
    batch_size: int
    lr: float
    warmup_steps: int
    seed: int

    def __post_init__(self) -> None:
        for name, paths in (("pictures", self.pictures), ("held_out", (self.held_out,))):
            check(paths and all(paths), name, "is empty; give an .npz file of labelled pictures")
        at_least(self, 1, "steps", "batch_size")
        above(self, 0, "lr")
        within(self, 0, 2**32 - 1, "seed")
        inside = 0 <= self.warmup_steps < self.steps
        check(inside, "warmup_steps", f"{self.warmup_steps} must be at least 0 and less than the {self.steps} steps")


def random_batches(count: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of batches without end, int64 [size]: all pictures in one order after another.

    Args:
      count: of pictures.
      size: of a batch; may be more than ``count``.
      seed: of the orders.
    """
    random, left = np.random.default_rng(seed), np.zeros(0, np.int64)
    while True:
        while len(left) < size:
            left = np.concatenate([left, random.permutation(count)])
        yield left[:size]
        left = left[size:]


def all_in_batches(count: int, size: int) -> Iterator[np.ndarray]:
    """Indices of every picture once in order, int64 [size]; the last batch goes on with the first pictures.

    So that one size is compiled: what is computed of the batches is cut to ``count`` rows.
    """
    for first in range(0, count, size):
        yield np.arange(first, first + size) % count
