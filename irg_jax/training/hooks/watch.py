"""A watch over the pace of a run: says which process stands still when no step ends for a long time."""

import logging
import socket
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable

import jax

from irg_jax.sharding import processes
from irg_jax.training.loop import Hook, StepReport

_POLL_SECONDS = 1.0
_RECENT = 64  # steps whose median counts
_LEAST_SECONDS = 5.0  # the median of a tiny model's steps is no measure


class Watch(Hook):
    """Logs a warning when no step has ended for ``factor`` times the median step, once per stall.

    Every process publishes the step that it has reached, with a count that a stopped process no longer raises. All
    processes wait for each other in every step, so the one that stands still is the one that has started fewest steps,
    or is no longer heard of.

    Args:
      factor: how many medians are too many.
      poll: seconds between two looks.
      clock: in seconds.
    """

    def __init__(self, factor: float, poll: float = _POLL_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._factor, self._poll, self._clock = factor, poll, clock
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._step, self._count = 0, 0
        self._ended_at: float | None = clock()  # None while hooks have the state
        self._heard: dict[int, tuple[int, float]] = {}  # count and time of the last change, by process
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def before_step(self, step: int) -> None:
        """Publishes the step that this process has reached, at the next look."""
        self._step = step
        if self._ended_at is None:
            self._ended_at = self._clock()

    def after_metrics(self, report: StepReport) -> None:
        """Takes the step's seconds into the median."""
        self._seconds.append(report.seconds)
        self._ended_at = self._clock()

    def before_states(self) -> None:
        """Pauses the watch until the next step."""
        self._ended_at = None  # a validation may take as long as it takes

    def close(self) -> None:
        """Ends the watch."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        reported_at = 0.0
        while not self._closed.wait(self._poll):
            states = self._exchange()
            ended_at = self._ended_at
            # The first steps compile.
            if len(self._seconds) < 3 or ended_at is None or ended_at == reported_at:
                continue
            median, since = statistics.median(self._seconds), self._clock() - ended_at
            if since > max(self._factor * median, _LEAST_SECONDS):
                reported_at = ended_at
                logging.warning(
                    "no step has ended for %.0f s (median %.2g s): %s", since, median, describe(states, self._step)
                )

    def _exchange(self) -> dict[int, tuple[str, int, float]]:
        """Host, step, and seconds since it was last heard of, by process."""
        if jax.process_count() == 1:
            return {}
        self._count += 1
        try:
            processes.post("steps", (socket.gethostname(), self._step, self._count))
            posted = processes.posted("steps")
        except RuntimeError:  # the coordinator is gone, and this process will be
            return {}
        now, found = self._clock(), {}
        for index, (host, step, count) in posted.items():
            known = self._heard.get(index)
            if known is None or known[0] != count:
                self._heard[index] = (count, now)
            found[index] = (host, step, now - self._heard[index][1])
        return found


def describe(states: dict[int, tuple[str, int, float]], own_step: int) -> str:
    """Which process stands still, from host, step, and seconds of silence by process."""
    if not states:
        return f"step {own_step} is computing, or waits for data"
    silent = {index: state for index, state in states.items() if state[2] > 5 * _POLL_SECONDS}
    if silent:
        return "; ".join(
            f"process {index} on {host} has been silent for {silence:.0f} s, at step {step}"
            for index, (host, step, silence) in silent.items()
        )
    last = max(step for _, step, _ in states.values())
    behind = {index: state for index, state in states.items() if state[1] < last}
    if behind:
        return "; ".join(
            f"process {index} on {host} is at step {step}, others at {last}"
            for index, (host, step, _) in behind.items()
        )
    return f"all processes are at step {last}, waiting for their devices"
