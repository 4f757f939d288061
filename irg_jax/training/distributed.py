"""Several processes as one run: how they find each other, what one does for all, what all agree on."""

import logging
import os
from collections.abc import Callable

import jax
from jax.experimental import multihost_utils

from irg_jax.errors import UserError

_NAMED = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def start() -> None:
    """Joins the other processes of this run, where the environment says that there are any. Before anything of jax.

    ``JAX_COORDINATOR_ADDRESS`` (host:port), ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` name them;
    ``IRG_DISTRIBUTED=auto`` leaves finding them to jax, which knows Cloud TPU, Slurm and GKE.

    Raises:
      UserError: only some of the three are set, or they are no numbers.
    """
    given = {name: os.environ[name] for name in _NAMED if name in os.environ}
    if given and len(given) < len(_NAMED):
        missing = ", ".join(name for name in _NAMED if name not in given)
        raise UserError(f"{', '.join(given)}: set, but {missing} not; set all three or none")
    if given:
        address, count, index = given.values()
        if not (count.isdigit() and index.isdigit() and int(index) < int(count)):
            raise UserError(
                f"JAX_PROCESS_ID: {index} of JAX_NUM_PROCESSES {count}; must be 0 to one less than the count"
            )
        jax.distributed.initialize(address, int(count), int(index))
    elif os.environ.get("IRG_DISTRIBUTED") == "auto":
        jax.distributed.initialize()
    if not is_first():
        logging.getLogger().setLevel(logging.WARNING)


def is_first() -> bool:
    """Whether this process is the one that writes and reports."""
    return jax.process_index() == 0


def once(what: Callable[[], object], name: str) -> None:
    """The first process does it; the others wait until it is done. ``name`` is told where one of them never comes."""
    if is_first():
        what()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def anyone(asked: bool) -> bool:
    """Whether any process says so; every process gets the same answer."""
    if jax.process_count() == 1:
        return asked
    return bool(multihost_utils.process_allgather(asked).any())
