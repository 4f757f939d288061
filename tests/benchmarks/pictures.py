"""Small images for the tests of layouts."""

import numpy as np

from irg_jax.data.images import encode_png


def png(level=0, size=4):
    """A grey PNG."""
    return encode_png(np.full((size, size, 3), level, np.uint8))


def kinds(found):
    """The problems of a layout, as (kind, name of the file)."""
    return sorted((problem.kind, problem.where.rpartition("/")[2]) for problem in found.problems)
