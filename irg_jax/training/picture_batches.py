"""Batches of pictures that are all in memory, for encoders that are trained alone."""

from collections.abc import Iterator

import numpy as np


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
