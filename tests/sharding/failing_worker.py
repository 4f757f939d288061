"""One of several processes, of which one fails while the others wait for it in a program on the devices.

usage: python -m tests.sharding.failing_worker INDEX
"""

import sys
import time

import jax

from irg_jax.core.config.command_line import run_command
from irg_jax.core.errors import StorageError
from irg_jax.sharding import processes
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.signals import Signals


def main() -> None:
    processes.initialize()
    signals = Signals(make_mesh(MeshConfig()))
    requests = jax.device_get(signals.exchange(jax.process_index() == 1, False))
    assert requests.tolist() == [True, False]
    order = []
    processes.run_on_primary(lambda: order.append(time.sleep(1)), "work")
    processes.post("order", len(order))
    processes.wait_for_all("order")
    assert sorted(processes.posted("order").values()) == [0, 1]
    if jax.process_index() == int(sys.argv[1]):
        raise StorageError("data/17.parquet: Input/output error")
    jax.device_get(signals.exchange(False, False))


if __name__ == "__main__":
    run_command(main, argv=sys.argv[:1], on_failure=processes.announce_failure)
