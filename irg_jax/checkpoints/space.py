"""Is there room for a run's checkpoints?"""

import os
import shutil
from typing import Any

import jax

from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path, is_url

# The latest one, the next one, which is complete before an earlier one goes, and one that is kept for being the best.
_CHECKPOINTS = 3


def require_space(folder: str | os.PathLike[str], tree: Any, saved: int) -> None:
    """Checks that a disk has room for three checkpoints, before the first step rather than at the first save.

    Args:
      folder: exists; of a URL nothing is known.
      tree: what is saved: arrays or shapes.
      saved: how many checkpoints are there already.

    Raises:
      UserError: there is less room.
    """
    if is_url(folder):
        return
    one = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    needed, (total, _, free) = max(_CHECKPOINTS - saved, 1) * one, shutil.disk_usage(as_path(folder))
    # Some mounts of buckets have no size to tell.
    if total and free < needed:
        raise UserError(
            f"{folder}: has {free / 1e9:.3g} GB of free space, and checkpoints of {one / 1e9:.3g} GB need "
            f"{needed / 1e9:.3g} GB; free the disk or choose another --workdir"
        )
