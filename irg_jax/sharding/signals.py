"""Requests of any process that all processes have to answer at the same step."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


class Signals:
    """Whether any process requests something, found out by a program on the devices that no host waits for.

    Every process calls ``exchange`` at every step, and reads the answer a step later, when it is there anyway.
    """

    def __init__(self, mesh: Mesh):
        self._one_per_device = NamedSharding(mesh, P(mesh.axis_names))
        self._size = mesh.size
        self._any = jax.jit(lambda requests: jnp.any(requests, axis=0), out_shardings=NamedSharding(mesh, P()))

    def exchange(self, *requests: bool) -> jax.Array | np.ndarray:
        """For each request, whether any process has it: bool [len(requests)], the same on all processes."""
        mine = np.array(requests)
        if jax.process_count() == 1:
            return mine
        shape = (self._size, len(requests))
        # A device has one row of the whole.
        return self._any(jax.make_array_from_callback(shape, self._one_per_device, lambda _: mine[None]))
