"""Several processes as one run: joining them, work that only the primary one does, and decisions of all of them."""

import logging
import os
from collections.abc import Callable

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from irg_jax.core.errors import ConfigError, UserError

_NAMED = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def initialize() -> None:
    """Joins the other processes of this run, if the environment names them. Call it before anything else of JAX.

    ``JAX_COORDINATOR_ADDRESS`` (host:port), ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` name them;
    ``IRG_DISTRIBUTED=auto`` lets JAX find them, which it can on Cloud TPU, Slurm and GKE.

    Raises:
      UserError: only some of the three are set, or the numbers are not valid.
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
    if not is_primary():
        logging.getLogger().setLevel(logging.WARNING)


def is_primary() -> bool:
    """Whether this process is the one that writes files and logs."""
    return jax.process_index() == 0


def run_on_primary(work: Callable[[], object], name: str) -> None:
    """Runs ``work`` on the primary process; the others wait for it. A timeout of the barrier mentions ``name``."""
    if is_primary():
        work()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is true on any process; the same result on all of them."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(flag).any())


def check_rows_are_local(mesh: Mesh) -> None:
    """Checks that all devices that share a row of the batch (axes ``context`` and ``tensor``) belong to one process.

    Every process builds the rows of its own devices; two processes that share a row would build different rows for it.

    Raises:
      ConfigError: a row is shared by several processes.
    """
    for devices in mesh.devices.reshape(mesh.shape["data"] * mesh.shape["fsdp"], -1):
        owners = len({device.process_index for device in devices})
        if owners > 1:
            raise ConfigError(
                "mesh",
                f"context {mesh.shape['context']} x tensor {mesh.shape['tensor']} puts a row on {owners} processes; "
                "that is not supported yet: take a product that divides the devices of one process",
            )
