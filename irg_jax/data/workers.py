"""Processes that call a function for this one, whose interpreter lock they leave to training."""

import contextlib
import fcntl
import os
import pathlib
import queue
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from irg_jax.core.errors import StorageError
from irg_jax.data import messages

A = TypeVar("A")
B = TypeVar("B")

_PACKAGE = pathlib.Path(__file__).parents[2]
_PIPE_BYTES = 1 << 20  # the most that an unprivileged process may ask for


class Workers(Generic[A, B]):
    """Calls a function in one of several processes. Threads may call it at the same time, each waits for its answer.

    Args:
      function: what the processes call, picklable.
      count: of the processes.
    """

    def __init__(self, function: Callable[[A], B], count: int):
        self._idle: queue.Queue[subprocess.Popen] = queue.Queue()
        self._all = [_start(function) for _ in range(count)]
        for process in self._all:
            self._idle.put(process)

    def __call__(self, argument: A) -> B:
        """The function's value.

        Raises:
          StorageError: the process was killed.
          Exception: what the function raises.
        """
        process = self._idle.get()
        try:
            messages.send(process.stdin, argument)  # type: ignore[arg-type]
            answer: Any = messages.receive(process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError) as error:
            raise StorageError(
                f"a data worker has ended with status {process.wait()}; if the machine ran out of memory, lower "
                "data.workers or data.buffer_gb"
            ) from error
        finally:
            self._idle.put(process)
        if answer.error is not None:
            raise answer.error
        return answer.value

    def memory(self) -> list[int]:
        """Resident bytes of each process, where the system tells (Linux)."""
        found = []
        for process in self._all:
            with contextlib.suppress(OSError):
                pages = int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                found.append(pages * os.sysconf("SC_PAGE_SIZE"))
        return found

    def close(self) -> None:
        """Ends the processes; a call that waits for one raises."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]


def _start(function: Callable[[A], B]) -> subprocess.Popen:
    paths = [str(_PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "irg_jax.data.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdin and process.stdout
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux; fewer switches between the two processes
        with contextlib.suppress(OSError):
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    messages.send(process.stdin, function)
    return process
