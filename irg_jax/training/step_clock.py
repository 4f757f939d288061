"""When steps are done, and how long the devices waited for data."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T")


class StepClock:
    """Times steps that are computed while the host does other things.

    A thread waits for the devices, so that the end of a step is known though nobody on the main thread waits for it.
    """

    def __init__(self) -> None:
        self._steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._idle_since: float | None = None  # None while a step is running
        self._lock = threading.Lock()
        self._started = 0
        self._lap_start = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="end of steps", daemon=True)
        self._thread.start()

    def started(self, outputs: Any) -> None:
        """Says that a step has been started whose outputs are these arrays, none of them donated later."""
        with self._lock:
            self._started += 1
            self._idle_since = None
        self._steps.put((self._started, outputs))

    def wait_for(self, next_batch: Callable[[], T]) -> tuple[T, float]:
        """The next batch, and the seconds in which the devices had nothing to do because it was not there yet."""
        start = time.monotonic()
        batch = next_batch()
        end = time.monotonic()
        with self._lock:
            idle_since = end if self._idle_since is None and self._started else self._idle_since or start
        return batch, end - max(start, idle_since)

    def lap(self) -> float:
        """Seconds since the last call."""
        start, self._lap_start = self._lap_start, time.monotonic()
        return self._lap_start - start

    def close(self) -> None:
        """Waits for the steps that have been started.

        A thread inside of the runtime, when the interpreter ends, takes the whole process down with it.
        """
        self._steps.put(None)
        self._thread.join()

    def _watch(self) -> None:
        while (item := self._steps.get()) is not None:
            number, outputs = item
            try:
                jax.block_until_ready(outputs)
            except Exception:  # noqa: BLE001  (the main thread gets the same error where it reads them)
                return
            with self._lock:
                if number == self._started:
                    self._idle_since = time.monotonic()
