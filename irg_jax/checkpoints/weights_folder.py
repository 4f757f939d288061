"""Writes weights alone as a folder that training and sampling can start from, like that of a converted checkpoint."""

import os
from typing import Any

import jax

from irg_jax.checkpoints.bagel import assets
from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core.small_files import make_folder
from irg_jax.core.storage import as_path
from irg_jax.data import tokenizer


def write_weights(
    target: str | os.PathLike[str],
    weights: Any,
    config: str,
    *,
    tokenizer_folder: str | os.PathLike[str],
    assets_of: str | os.PathLike[str] = "",
) -> None:
    """Writes ``checkpoints/00000000`` with the item ``ema`` alone, ``tokenizer``, and ``bagel`` where there is one.

    Called by one process. A folder whose writing was cut off is completed by the same call.

    Args:
      target: the folder, made if it is missing; or its URL.
      weights: tree of arrays of this process's devices, saved in their dtypes.
      config: JSON of ``core.config.files.to_json`` with every section that sampling reads.
      tokenizer_folder: is copied.
      assets_of: the run whose folder ``bagel`` is copied; empty for none.

    Raises:
      UserError: a file cannot be read, or the target not be written.
      StorageError: the storage went on answering with errors.
    """
    folder = as_path(target)
    make_folder(folder)
    assets.copy(assets_of, folder)
    tokenizer.copy(tokenizer_folder, folder / "tokenizer")
    with Checkpointer(folder / "checkpoints", alone=True) as checkpoints:
        # From the host's memory: Orbax refuses arrays on the devices of one process of several, and splits others.
        checkpoints.save_weights(jax.device_get(weights), meta={"config": config})
