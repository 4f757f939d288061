"""Several processes as one run: joining them, work that only the primary one does, and failures that end all of them.

What is said here goes through the key-value store of jax's coordinator, which process 0 serves. No device takes part,
so a process may wait for hours, and hears of another one's failure while it waits for a device.
"""

import atexit
import collections
import contextlib
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
from jax._src import distributed

from irg_jax.core.errors import UserError

_NAMED = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_DONE, _FAILED, _HEARD, _POSTED = (f"irg_jax/{name}" for name in ("done", "failed", "heard", "posted"))
_POLL_SECONDS = 0.5
_ECHO_SECONDS = 3.0
_FAREWELL_SECONDS = 10.0  # that a failed process 0 goes on serving the store, so that the others hear of it
_calls: collections.Counter[str] = collections.Counter()


def initialize() -> None:
    """Joins the other processes of this run, if the environment names them. Call it before anything else of JAX.

    ``JAX_COORDINATOR_ADDRESS`` (host:port), ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` name them;
    ``IRG_DISTRIBUTED=auto`` lets JAX find them, which it can on Cloud TPU, Slurm and GKE.

    Raises:
      UserError: only some of the three are set, or the numbers are not valid.
    """
    # It would swallow a SIGTERM that comes outside the training loop, which handles signals itself.
    jax.config.update("jax_enable_preemption_service", False)
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
    if jax.process_count() > 1:
        _watch_the_others()


def is_primary() -> bool:
    """Whether this process is the one that writes files and logs."""
    return jax.process_index() == 0


def run_on_primary(work: Callable[[], object], name: str) -> None:
    """Runs ``work`` on the primary process; the others wait for it, however long it takes."""
    if jax.process_count() == 1:
        work()
        return
    _calls[name] += 1
    key = f"{_DONE}/{name}/{_calls[name]}"
    if is_primary():
        work()
        _store().key_value_set(key, "")
        return
    # In short waits, so that Ctrl-C is handled between them.
    while _wait_for(key, seconds=_POLL_SECONDS) is None:
        pass


def wait_for_all(name: str) -> None:
    """Waits until all processes have called this, however long it takes."""
    if jax.process_count() == 1:
        return
    _calls[name] += 1
    folder = f"{_DONE}/{name}/{_calls[name]}"
    _store().key_value_set(f"{folder}/{jax.process_index()}", "")
    while len(_read(folder)) < jax.process_count():
        time.sleep(_POLL_SECONDS)


def announce_failure(message: str, status: int) -> None:
    """Ends this process with ``status``, and all others of its run with it, which print ``message``.

    Returns if there are no others, or if all of them end by the same signal anyway (status 130).
    """
    if jax.process_count() == 1 or status == 130:
        return
    if status not in (2, 75):
        # Perhaps only a connection to a process that has failed; its own message ends this one meanwhile.
        time.sleep(_ECHO_SECONDS)
    store, others = _store(), jax.process_count() - 1
    record = {"message": message, "status": status, "host": socket.gethostname()}
    try:
        store.key_value_set(f"{_FAILED}/{jax.process_index()}", json.dumps(record))
        end = time.monotonic() + _FAREWELL_SECONDS * is_primary()
        while time.monotonic() < end and len(_read(_HEARD) | _read(_FAILED)) <= others:
            time.sleep(_POLL_SECONDS / 5)
    except RuntimeError as error:  # the coordinator is gone, and with it all others
        logging.warning("the other processes could not be told: %s", error)
    _exit(status)


def post(name: str, value: Any) -> None:
    """Publishes a JSON value of this process under ``name``, in place of its earlier one."""
    _store().key_value_set(f"{_POSTED}/{name}/{jax.process_index()}", json.dumps(value), allow_overwrite=True)


def posted(name: str) -> dict[int, Any]:
    """The latest values of all processes under ``name``, by process."""
    return {index: json.loads(value) for index, value in _read(f"{_POSTED}/{name}").items()}


def check_same(name: str, value: Any) -> None:
    """Waits until all processes have given their value under a name, a JSON value, and compares them.

    Raises:
      UserError: this process has another one than process 0.
    """
    if jax.process_count() == 1:
        return
    post(name, value)
    wait_for_all(name)
    first = posted(name)[0]
    if first != value:
        raise UserError(
            f"process {jax.process_index()} on {socket.gethostname()} has another {name} than process 0: {value} here, "
            f"{first} there; give all machines the same files"
        )


def _watch_the_others() -> None:
    ended = threading.Event()
    thread = threading.Thread(
        target=_end_with_the_others, args=(ended,), name="failures of other processes", daemon=True
    )
    thread.start()

    def stop() -> None:
        ended.set()
        thread.join()

    # A thread inside of the coordinator's client, when the interpreter ends, takes the whole process down with it.
    atexit.register(stop)


def _end_with_the_others(ended: threading.Event) -> None:
    """Ends this process when another one fails, whatever it is doing: a device may keep its main thread forever."""
    me = jax.process_index()
    while not ended.wait(_POLL_SECONDS):
        try:
            failed = _read(_FAILED)
            if me in failed or not failed:
                continue
            _store().key_value_set(f"{_HEARD}/{me}", "")
        except (RuntimeError, AttributeError):  # no coordinator any more: jax ends this process
            return
        index, text = min(failed.items())
        record = json.loads(text)
        with contextlib.suppress(OSError):  # a terminal that is gone
            print(f"error: process {index} on {record['host']} failed: {record['message']}", file=sys.stderr)
        _exit(record["status"])


def _exit(status: int) -> None:
    """Without jax's own farewell, which waits for all processes."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _store() -> Any:
    return distributed.global_state.client


def _read(folder: str) -> dict[int, str]:
    """Values by process."""
    return {int(key.rpartition("/")[2]): value for key, value in _store().key_value_dir_get(folder)}


def _wait_for(key: str, seconds: float) -> str | None:
    try:
        return _store().blocking_key_value_get(key, round(1000 * seconds))
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE_EXCEEDED" not in str(error):
            raise
        return None
